//! `COPY` and `ADD`: which files they take, what those are, and where they go.
//!
//! # The interface
//!
//! ```text
//! select(&dyn SourceTree, &CopySources) -> Result<Selection, SelectError>
//!     a context:         the tree is a `Context`
//!     a stage or image:  the tree is a `LayerTree::new(LayeredView)`
//! selection.digest() -> &ContentDigest              what enters the key; nothing outside the selection does
//! apply(&CopySet, &CopyOptions, &CopyTarget) -> Result<CopyOutcome, CopyError>
//!     CopySet { tree, selection, given: Vec<GivenFile> }       given: heredocs, downloads
//!     CopyTarget { store, layers, active }                     layers: the base, bottom first
//! ```
//!
//! `select` reads names, metadata and (where the store does not know them) contents; `apply` reads
//! contents once more and writes them into the upper directory of an active snapshot, in overlay
//! form. Nothing is mounted. A file of a context that changed between the two is an error rather
//! than a layer that does not fit its key.
//!
//! # Rules, as BuildKit has them
//!
//! - A source that is a directory stands for its contents. The destination and what is missing
//!   above it are made with mode 0755, or an octal `--chmod`, and belong to the `--chown` owner or
//!   root, whatever the source's metadata.
//! - A source that is a symbolic link is followed, inside the tree; links further down are copied.
//! - Wildcards match one path component each, never follow links, and may match nothing.
//! - A directory inside the source that is at the destination already gets the source's mode, owner
//!   and times; the destination directory itself keeps its own.
//! - A directory never replaces a file or link, nor a file a directory.
//! - The destination's links are followed, inside the target's root; its last part too.
//! - `--exclude` patterns are relative to each source, with the syntax of `.dockerignore`.
//! - `--parents` copies what matches the part behind `/./` (or all of it) with the directories on
//!   the way, which are made only if something below them is copied.
//!
//! # What the digest of a selection holds
//!
//! | | |
//! | --- | --- |
//! | in | paths below each source, kind, permission bits, owner (layers only), content, link target, device numbers, extended attributes, which names are one file |
//! | in | the base name of a source that is no directory: it may become a name at the destination |
//! | out | times; name, mode and owner of a source directory itself: none of it is copied |

mod apply;
mod compare;
mod directory;
mod error;
mod files;
mod given;
mod hash;
mod list;
mod patterns;
mod resolve;
mod select;
mod selection;
mod unpack;
mod upper;

pub use apply::{CopyOptions, CopySet, CopyTarget, apply};
pub use compare::changed_files;
pub use directory::{NewDirectory, make_directory};
pub use error::{CopyError, SelectError};
pub use given::{GivenContent, GivenFile};
pub use list::listed;
pub(crate) use resolve::{ResolveError, clean, resolve};
pub use select::{CopySources, select};
pub use selection::Selection;
pub(crate) use unpack::{unpack_context, unpack_owned};

#[cfg(test)]
mod tests;
