//! Turns snapshots and merged trees into tars.
//!
//! Order: parents first, siblings sorted by bytes, an opaque mark right behind its directory,
//! whiteouts where their name would stand. Times have no fractions, are at most the image's epoch,
//! and are the epoch itself where they say only when a file was made here: when a step ran must
//! not show, whatever the clock said and however old its cached result is. Sockets are left out. The root itself is written only if it is not what every
//! reader assumes (0755, root's, no attributes).

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::tar_write::{FileError, TarEntry, TarKind, TarWriter};
use crate::error::{At, StoreError};
use crate::layer_dir::{EntryKind, LayerDir, Node, open_plain, read_xattrs};
use crate::tree_digest::{Descend, walk_layer};
use crate::view::LayeredView;

pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
pub(crate) const OPAQUE_MARK: &[u8] = b".wh..wh..opq";

/// Writes one snapshot as a layer tar: its change, with whiteouts.
pub(crate) fn write_layer<W: Write>(
    layer: &LayerDir,
    epoch: i64,
    sink: W,
) -> Result<W, StoreError> {
    let mut tar = TreeTar::new(sink, Some(epoch));
    walk_layer(layer, |path, node| {
        if node.is_whiteout {
            return tar.whiteout(path, node);
        }
        let has_names = node.nlink > 1 && node.kind == EntryKind::File;
        tar.file(&Item {
            path,
            host: layer.host(path),
            kind: node.kind,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size: node.size,
            time: Time::of_node(node),
            rdev: node.rdev,
            hardlink: has_names.then_some((0, node.dev, node.ino)),
        })?;
        if node.kind == EntryKind::Directory && layer.is_opaque(path)? {
            return tar.opaque_mark(path, node);
        }
        Ok(())
    })?;
    tar.finish()
}

/// Writes a merged tree as one tar: a root file system, without whiteouts.
///
/// Times are clamped to `epoch` if there is one.
pub fn write_tree<W: Write>(
    view: &LayeredView,
    epoch: Option<i64>,
    sink: W,
) -> Result<W, StoreError> {
    write_trees(
        &[Tree {
            folder: "",
            view,
            epoch,
            beside: &[],
        }],
        sink,
    )
}

/// A merged tree among several.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    /// The folder it gets in the archive: a plain name, or nothing.
    pub folder: &'a str,
    /// The tree.
    pub view: &'a LayeredView,
    /// What its times are clamped to.
    pub epoch: Option<i64>,
    /// Files that it gets beside its own, by plain names; only their owner reads them.
    pub beside: &'a [(String, Vec<u8>)],
}

/// Writes merged trees as one tar, each in a folder of its own; where several share one, a
/// directory that more than one has is written once.
pub fn write_trees<W: Write>(trees: &[Tree<'_>], sink: W) -> Result<W, StoreError> {
    let mut tar = TreeTar::new(sink, None);
    for tree in trees {
        tar.epoch = tree.epoch;
        // What two trees share is not linked: they are looked at one without the other.
        tar.first_names.clear();
        tar.tree(tree)?;
    }
    tar.finish()
}

impl<W: Write> TreeTar<W> {
    fn tree(&mut self, tree: &Tree<'_>) -> Result<(), StoreError> {
        let Tree { folder, view, .. } = tree;
        let Some(root) = view.lookup(Path::new("/"))? else {
            return Ok(());
        };
        view.walk(root, |path, entry| {
            let hardlink = entry.hardlink;
            let path = match (folder.is_empty(), path.as_os_str().is_empty()) {
                (true, _) => path.to_owned(),
                (false, true) => PathBuf::from(folder),
                (false, false) => Path::new(folder).join(path),
            };
            if entry.kind == EntryKind::Directory && !self.directories.insert(path.clone()) {
                return Ok(Descend::Yes);
            }
            let item = Item {
                path: &path,
                host: entry.host_path.clone(),
                kind: entry.kind,
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                size: entry.size,
                time: Time {
                    seconds: entry.mtime.0,
                    is_new: entry.is_new,
                },
                rdev: entry.rdev,
                hardlink: hardlink.map(|link| (link.layer, link.dev, link.ino)),
            };
            self.file(&item)?;
            Ok(Descend::Yes)
        })?;
        tree.beside
            .iter()
            .try_for_each(|(name, bytes)| self.beside(folder, name, bytes))
    }

    fn beside(&mut self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = Path::new(folder).join(name);
        let size = bytes.len() as u64;
        let entry = TarEntry {
            path: path.as_os_str().as_bytes(),
            kind: TarKind::File { size },
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: self.epoch.unwrap_or(0),
            attributes: &[],
        };
        self.put(&entry, bytes, &path)
    }

    fn put(
        &mut self,
        entry: &TarEntry<'_>,
        bytes: impl Read,
        from: &Path,
    ) -> Result<(), StoreError> {
        self.tar.file(entry, bytes).map_err(|error| match error {
            FileError::Read(source) => StoreError::Io {
                action: "pack",
                path: from.to_owned(),
                source,
            },
            FileError::Write(source) => output(source),
        })
    }
}

/// One file on its way into a tar.
struct Item<'a> {
    path: &'a Path,
    host: PathBuf,
    kind: EntryKind,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    time: Time,
    rdev: (u32, u32),
    hardlink: Option<FileId>,
}

/// A time of a file.
#[derive(Clone, Copy)]
struct Time {
    seconds: i64,
    /// Whether it says only when this machine made the file.
    is_new: bool,
}

impl Time {
    fn of_node(node: &Node) -> Self {
        Self {
            seconds: node.mtime.0,
            is_new: node.is_new,
        }
    }
}

/// What two names of one file have in common: layer, device, inode.
type FileId = (usize, u64, u64);

struct TreeTar<W> {
    tar: TarWriter<W>,
    epoch: Option<i64>,
    first_names: HashMap<FileId, Vec<u8>>,
    /// Directories of merged trees that were written.
    directories: HashSet<PathBuf>,
}

impl<W: Write> TreeTar<W> {
    fn new(sink: W, epoch: Option<i64>) -> Self {
        Self {
            tar: TarWriter::new(sink),
            epoch,
            first_names: HashMap::new(),
            directories: HashSet::new(),
        }
    }

    fn finish(self) -> Result<W, StoreError> {
        self.tar.finish().map_err(output)
    }

    fn file(&mut self, item: &Item<'_>) -> Result<(), StoreError> {
        let path = item.path.as_os_str().as_bytes();
        if path.is_empty() {
            return self.root(item);
        }
        let name = item.path.file_name().map(OsStrExt::as_bytes);
        if name.is_some_and(|name| name.starts_with(WHITEOUT_PREFIX)) {
            return Err(StoreError::Unrepresentable {
                path: Path::new("/").join(item.path),
                reason: "names that begin with `.wh.` mean removals there",
            });
        }
        match item.kind {
            EntryKind::File => self.regular(item, path),
            EntryKind::Directory => self.plain(item, path, TarKind::Directory),
            EntryKind::Symlink => {
                let target = rustix::fs::readlink(&item.host, Vec::new()).at("read", &item.host)?;
                self.plain(item, path, TarKind::Symlink(target.as_bytes()))
            }
            EntryKind::CharDevice => {
                self.plain(item, path, TarKind::CharDevice(item.rdev.0, item.rdev.1))
            }
            EntryKind::BlockDevice => {
                self.plain(item, path, TarKind::BlockDevice(item.rdev.0, item.rdev.1))
            }
            EntryKind::Fifo => self.plain(item, path, TarKind::Fifo),
            EntryKind::Socket => Ok(()),
        }
    }

    fn root(&mut self, item: &Item<'_>) -> Result<(), StoreError> {
        let attributes = read_xattrs(&item.host)?;
        let is_usual = (item.mode, item.uid, item.gid) == (0o755, 0, 0) && attributes.is_empty();
        if is_usual {
            return Ok(());
        }
        let entry = self.tar_entry(item, b".", TarKind::Directory, &attributes);
        self.tar.entry(&entry).map_err(output)
    }

    fn regular(&mut self, item: &Item<'_>, path: &[u8]) -> Result<(), StoreError> {
        if let Some(link) = item.hardlink {
            if let Some(first) = self.first_names.get(&link) {
                let first = first.clone();
                let entry = self.tar_entry(item, path, TarKind::HardLink(&first), &[]);
                return self.tar.entry(&entry).map_err(output);
            }
            self.first_names.insert(link, path.to_vec());
        }
        let attributes = read_xattrs(&item.host)?;
        let bytes = open_plain(&item.host)?;
        let kind = TarKind::File { size: item.size };
        let entry = self.tar_entry(item, path, kind, &attributes);
        self.put(&entry, bytes, &item.host)
    }

    fn plain(&mut self, item: &Item<'_>, path: &[u8], kind: TarKind<'_>) -> Result<(), StoreError> {
        // Only files and directories carry attributes that a layer keeps.
        let attributes = match item.kind {
            EntryKind::Directory => read_xattrs(&item.host)?,
            _ => Vec::new(),
        };
        let entry = self.tar_entry(item, path, kind, &attributes);
        self.tar.entry(&entry).map_err(output)
    }

    /// A name that is gone. Nothing but its path means anything; the time keeps bytes equal.
    fn whiteout(&mut self, path: &Path, node: &Node) -> Result<(), StoreError> {
        let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
        let marked = [WHITEOUT_PREFIX, name].concat();
        self.mark(path.parent().unwrap_or(path), &marked, node)
    }

    fn opaque_mark(&mut self, path: &Path, node: &Node) -> Result<(), StoreError> {
        self.mark(path, OPAQUE_MARK, node)
    }

    fn mark(&mut self, directory: &Path, name: &[u8], node: &Node) -> Result<(), StoreError> {
        let mut path = directory.as_os_str().as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let entry = TarEntry {
            path: &path,
            kind: TarKind::File { size: 0 },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: self.told(Time::of_node(node)),
            attributes: &[],
        };
        self.tar.entry(&entry).map_err(output)
    }

    fn tar_entry<'a>(
        &self,
        item: &Item<'_>,
        path: &'a [u8],
        kind: TarKind<'a>,
        attributes: &'a [(OsString, Vec<u8>)],
    ) -> TarEntry<'a> {
        TarEntry {
            path,
            kind,
            mode: if item.kind == EntryKind::Symlink {
                0o777
            } else {
                item.mode
            },
            uid: item.uid,
            gid: item.gid,
            mtime: self.told(item.time),
            attributes,
        }
    }

    /// What a time is written as.
    fn told(&self, time: Time) -> i64 {
        match self.epoch {
            Some(epoch) if time.is_new => epoch,
            Some(epoch) => time.seconds.min(epoch),
            None => time.seconds,
        }
    }
}

fn output(source: std::io::Error) -> StoreError {
    StoreError::Output {
        what: "layer",
        source,
    }
}
