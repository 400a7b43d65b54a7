//! Images in the store: named, opened, packed, loaded and exported.
//!
//! Layers are late (ARCHITECTURE.md): a build ends with *snapshots*, and the reference it sets
//! names a small image record (media type [`record::MEDIA_TYPE`]) that holds the settings and the
//! snapshot list. Only what leaves the store is *packed*: layers exported, OCI config and
//! manifest written as blobs, and the mapping remembered, so that it happens once.
//!
//! - [`record`]: [`ImageRecord`], its blob, `open(store, name)`.
//! - [`id`]: what people and scripts call an image by, equal in every store.
//! - [`named`]: what a name leads to: an image, for one platform or several; [`lost`]: names whose
//!   images are gone.
//! - `pack`: an [`ImageRecord`] to config + manifest blobs.
//! - [`push`]: an image to a registry; [`shelf`]: the store as one, with `stock`, what was
//!   pushed to it.
//! - `attested`: what is said of an image beside it, and how that is packed.
//! - [`squash`]: what a build put on its base, as one layer.
//! - `pull`, `obtain`, [`external`]: images from registries, and what names from outside a run mean.
//! - [`bases`]: what is known of images from registries before their files are here.
//! - [`dating`], [`annotated`], [`dialect`]: the times that an image leaves with, what is said of it
//!   there, and in which words.
//! - `load`, `export`: archives and layouts in and out. `load` ends by writing an
//!   [`ImageRecord`] whose `packed` manifest is the one that came in, so digests are kept.

pub mod annotated;
mod attested;
pub mod bases;
mod beside;
mod bundle;
pub mod dating;
pub mod dialect;
mod docker_archive;
pub mod export;
pub mod external;
#[cfg(test)]
mod format_tests;
pub mod id;
mod known_base;
mod layer_contents;
pub mod load;
pub mod lost;
pub mod named;
mod obtain;
mod oci_layout;
pub mod pack;
pub mod pull;
pub mod push;
pub mod record;
mod root_fs;
mod roots;
pub mod shelf;
pub mod source;
pub mod squash;
mod stock;
pub(crate) mod stoppable;
pub mod trust;

pub use attested::PackedAttestations;
pub use record::ImageRecord;
