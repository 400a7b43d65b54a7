//! Overlay file systems over changesets, by the new mount API.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;

/// Where an overlay's writes go: a directory that receives them, and an empty one beside it.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// Receives what changes.
    pub upper: &'a Path,
    /// Belongs to overlayfs; does not serve a second time.
    pub work: &'a Path,
}

/// Mounts `lowers` (bottom to top) as one tree, attached nowhere: the caller moves it, or reads
/// through the descriptor. Without an upper it is read-only.
pub fn mount(lowers: &[PathBuf], upper: Option<Upper<'_>>) -> Result<OwnedFd, SandboxError> {
    let _ = (lowers, upper);
    Err(SandboxError::Invalid(
        "overlay mounts are not built yet".to_owned(),
    ))
}
