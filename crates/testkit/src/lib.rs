//! What the tests of several crates share: images, contexts and stores made from a few lines.
//!
//! Not shipped. Everything panics on error: in a test that is the report.

mod docker_registry;
mod fixture;
mod layer;
mod layout;
mod needs;

pub use docker_registry::{DockerRegistry, Guard};
pub use fixture::{TempStore, tree};
pub use layer::{LayerTar, gzip};
pub use layout::OciLayout;
pub use needs::{ORDINARY_USER, needs, needs_of_root, needs_overlay, needs_root};
