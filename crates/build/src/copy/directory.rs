//! One directory that is to be there: what `WORKDIR` needs.

use std::path::Path;

use cairn_store::LayeredView;

use super::apply::CopyTarget;
use super::error::CopyError;
use super::upper::{Metadata, Upper};

/// A directory's attributes, where it has to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewDirectory {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Its time in seconds since 1970.
    pub time: i64,
}

/// Makes a directory and its missing parents, all with the same attributes. Links on the way are
/// followed inside the target's root; what is there already stays as it is.
pub fn make_directory(
    target: &CopyTarget<'_>,
    path: &Path,
    new: NewDirectory,
) -> Result<(), CopyError> {
    let below = LayeredView::new(target.store, target.layers)?;
    let mut upper = Upper::new(target.active, below, !target.layers.is_empty())?;
    let path = upper.resolve(Path::new(""), path)?;
    let metadata = Metadata {
        mode: new.mode,
        uid: new.owner.0,
        gid: new.owner.1,
        mtime: (new.time, 0),
        xattrs: Vec::new(),
    };
    upper.make_dirs(&path, &metadata)?;
    upper.finish()
}
