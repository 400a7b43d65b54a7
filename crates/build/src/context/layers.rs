//! The merged layers of a stage or an image as a source tree.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cairn_store::{ContentDigest, Entry, EntryKind, LayeredView, StoreError};

use super::tree::{
    HiddenBy, Kind, LinkId, Listing, SourceEntry, SourceTree, Xattrs, empty_root, is_private_xattr,
};

/// The files of a stage or an image.
///
/// Committed layers never change. No digests of single files are kept: what an instruction takes
/// from a filesystem is remembered as a whole, by the filesystem's content.
#[derive(Debug)]
pub struct LayerTree {
    view: LayeredView,
}

impl LayerTree {
    /// Takes a view of committed layers.
    pub fn new(view: LayeredView) -> Self {
        Self { view }
    }
}

impl SourceTree for LayerTree {
    fn lookup(&self, path: &Path) -> io::Result<Option<SourceEntry>> {
        let found = self.view.lookup(path).map_err(to_io)?;
        match found {
            None if path.as_os_str().is_empty() => Ok(Some(empty_root())),
            found => Ok(found.filter(is_copied).map(entry)),
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        let listing = self.view.read_dir(path).map_err(to_io)?;
        let copied = listing.into_iter().filter(|(_, found)| is_copied(found));
        Ok(Arc::new(
            copied.map(|(name, found)| (name, entry(found))).collect(),
        ))
    }

    fn open(&self, path: &Path, entry: &SourceEntry) -> io::Result<File> {
        self.view.open(in_layer(path, entry)?).map_err(to_io)
    }

    fn read_link(&self, path: &Path, entry: &SourceEntry) -> io::Result<PathBuf> {
        self.view.read_link(in_layer(path, entry)?).map_err(to_io)
    }

    fn xattrs(&self, entry: &SourceEntry, _file: Option<&File>) -> io::Result<Xattrs> {
        let Some(layer) = &entry.layer else {
            return Ok(Vec::new());
        };
        let mut xattrs = self.view.xattrs(layer).map_err(to_io)?;
        xattrs.retain(|(name, _)| !is_private_xattr(name));
        Ok(xattrs)
    }

    fn known_digest(&self, _path: &Path, _entry: &SourceEntry) -> Option<ContentDigest> {
        None
    }

    fn learn_digest(
        &self,
        _path: &Path,
        _entry: &SourceEntry,
        _digest: ContentDigest,
        _read_began: SystemTime,
    ) {
    }

    fn keeps_owners(&self) -> bool {
        true
    }

    fn is_unchanged(&self, _entry: &SourceEntry, _file: &File) -> io::Result<bool> {
        Ok(true)
    }

    fn hidden_by(&self, _path: &Path) -> Option<HiddenBy> {
        None
    }
}

/// Image layers hold no sockets, so neither does a copy of one.
fn is_copied(found: &Entry) -> bool {
    found.kind != EntryKind::Socket
}

fn entry(found: Entry) -> SourceEntry {
    SourceEntry {
        kind: match found.kind {
            EntryKind::File => Kind::File,
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::CharDevice => Kind::CharDevice,
            EntryKind::BlockDevice => Kind::BlockDevice,
            EntryKind::Fifo => Kind::Fifo,
            EntryKind::Socket => Kind::Socket,
        },
        mode: found.mode & 0o7777,
        uid: found.uid,
        gid: found.gid,
        size: found.size,
        mtime: found.mtime,
        ctime: (0, 0),
        rdev: found.rdev,
        inode: (0, 0),
        link: found.hardlink.map(LinkId::Layer),
        layer: Some(Arc::new(found)),
    }
}

fn in_layer<'a>(path: &Path, entry: &'a SourceEntry) -> io::Result<&'a Entry> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, path.display().to_string());
    entry.layer.as_deref().ok_or_else(missing)
}

fn to_io(error: StoreError) -> io::Error {
    io::Error::other(error)
}
