//! `cairn.toml` to a resolved `Stack` and the graph between its images; no IO.
//!
//! Three steps, each a function from values to values:
//!
//! 1. [`parse`]: text to a [`SpecFile`], the file *as written*. Every value keeps its place, so
//!    that whatever is found wrong with it later can point at it.
//! 2. [`resolve`]: a [`SpecFile`] to a [`Stack`], the file *as meant*: defaults and variants are
//!    merged, names, platforms and numbers are checked; nothing is left to interpret.
//! 3. [`StackGraph::new`]: a [`Stack`] and the names its Dockerfiles use, to the edges between
//!    the images and an order to build them in.
//!
//! All three report everything they find at once, as [`cairn_diagnostic::Diagnostic`]s. Reading
//! files, and what `${...}` or the environment may mean, is the caller's business.

pub mod graph;
mod resolve;
mod schema;
mod settings;
pub mod stack;
mod suggest;
pub mod written;

use cairn_diagnostic::{Diagnostic, Source};

pub use graph::StackGraph;
pub use resolve::resolve;
pub use schema::schema;
pub use settings::{CaPolicy, LockPolicy, NetworkPolicy, PackageSet};
pub use stack::{Image, ImageId, ImageName, ImageSource, Stack};
pub use written::{SpecFile, parse};

/// The file name people give a spec.
pub const FILE_NAME: &str = "cairn.toml";

/// Reads a spec from its text: [`parse`], then [`resolve`].
pub fn read(source: &Source) -> Result<Stack, Vec<Diagnostic>> {
    resolve(source, &parse(source)?)
}
