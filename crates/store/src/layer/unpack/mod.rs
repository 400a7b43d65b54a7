//! Unpacks layer tars into snapshots. The tars are strangers': nothing in them is trusted.
//!
//! - Every file is reached from the layer's own root, one directory at a time, without following
//!   symbolic links; a link in the middle of a path is followed by hand, inside the layer.
//! - `..` in a path, a device that would be a whiteout, `.wh.` names that name nothing: refused
//!   or made harmless.
//! - What a layer adds and removes in one tar is kept: `.wh.x` next to `x` means "x is new".
//!
//! Left as an approximation: a path through a symbolic link of a *lower* layer makes a directory
//! here, as Docker's overlay driver does; layers made from real trees do not contain such paths.

mod attributes;
mod put;
mod walk;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use self::walk::Existing;
use super::export::{OPAQUE_MARK, WHITEOUT_PREFIX};
use super::tar_read::{ReadEntry, ReadKind, TarReader};
use crate::error::{At, StoreError};
use crate::remove::remove_tree;
use crate::snapshot::ActiveSnapshot;
use crate::whiteout::{make_opaque, make_whiteout};

/// Bookkeeping of aufs, a file system that nobody uses any more, in layers that it left behind. What
/// lies in such a directory means as little as the directory.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Unpacks a tar to its end.
pub(crate) fn unpack(active: &ActiveSnapshot, source: impl Read) -> Result<(), StoreError> {
    unpack_until(active, source, i64::MAX)
}

/// Unpacks a tar to its end; a later time than this becomes this one.
pub(crate) fn unpack_until(
    active: &ActiveSnapshot,
    source: impl Read,
    latest: i64,
) -> Result<(), StoreError> {
    let mut reader = TarReader::new(source);
    let mut unpacker = Unpacker::new(active)?;
    while let Some(mut entry) = reader.next_entry()? {
        entry.mtime.0 = entry.mtime.0.min(latest);
        unpacker.apply(&entry, &mut reader)?;
    }
    unpacker.set_directory_times();
    reader.drain()
}

/// A directory of the layer, opened.
#[derive(Debug)]
struct Directory {
    handle: OwnedFd,
    /// Relative to the layer's root; every part is a directory.
    path: PathBuf,
}

#[derive(Debug)]
struct Unpacker<'a> {
    active: &'a ActiveSnapshot,
    root: OwnedFd,
    /// The directory the last entry was put in, by the path the tar gave for it.
    last: Option<(PathBuf, Directory)>,
    /// Set at the end: putting files in changes them.
    directory_times: BTreeMap<PathBuf, (i64, u32)>,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(active: &'a ActiveSnapshot) -> Result<Self, StoreError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(active.upper(), flags, Mode::empty()).at("open", active.upper())?;
        Ok(Self {
            active,
            root,
            last: None,
            directory_times: BTreeMap::from([(PathBuf::new(), (0, 0))]),
            buffer: vec![0; 128 << 10],
        })
    }

    fn apply(&mut self, entry: &ReadEntry, bytes: &mut impl Read) -> Result<(), StoreError> {
        let path = clean(entry, &entry.path)?;
        let Some(name) = path.file_name() else {
            return self.apply_root(entry);
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent
            .iter()
            .any(|part| part.as_bytes().starts_with(AUFS_PREFIX))
        {
            return Ok(());
        }
        let directory = self.enter(entry, parent)?;
        let result = if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            self.remove_below(entry, &directory, name.as_bytes())
        } else {
            self.put(entry, &directory, name, bytes)
        };
        // One that was reached through a link may mean another place for the next entry.
        if directory.path == parent {
            self.last = Some((parent.into(), directory));
        }
        result
    }

    fn apply_root(&mut self, entry: &ReadEntry) -> Result<(), StoreError> {
        if entry.kind != ReadKind::Directory {
            return Err(refuse(entry, "only a directory can be the root"));
        }
        let here = self.root.try_clone().at("open", self.active.upper())?;
        let directory = Directory {
            handle: here,
            path: PathBuf::new(),
        };
        self.set_directory(entry, &directory, OsStr::new("."))
    }

    /// Applies a `.wh.` name: something below this layer is gone.
    fn remove_below(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        marked: &[u8],
    ) -> Result<(), StoreError> {
        if marked == OPAQUE_MARK {
            return make_opaque(&self.host(&directory.path));
        }
        if marked.starts_with(AUFS_PREFIX) {
            return Ok(());
        }
        let name = &marked[WHITEOUT_PREFIX.len()..];
        if matches!(name, b"" | b"." | b"..") {
            return Err(refuse(entry, "it removes no name"));
        }
        let path = directory.path.join(OsStr::from_bytes(name));
        match self.stat(directory, OsStr::from_bytes(name))? {
            None => make_whiteout(&self.host(&path)),
            Some(Existing::Directory) => make_opaque(&self.host(&path)),
            // The layer has put something new there.
            Some(_) => Ok(()),
        }
    }

    /// Removes what an earlier entry put at this place.
    fn clear_place(&mut self, directory: &Directory, name: &OsStr) -> Result<(), StoreError> {
        let Some(existing) = self.stat(directory, name)? else {
            return Ok(());
        };
        let path = directory.path.join(name);
        let host = self.host(&path);
        if existing == Existing::Directory {
            // The parts of this path are directories, opened one by one; nothing else runs here.
            remove_tree(&host).at("remove", &host)?;
            self.directory_times
                .retain(|known, _| !known.starts_with(&path));
        } else {
            rustix::fs::unlinkat(&directory.handle, name, AtFlags::empty()).at("remove", &host)?;
        }
        self.active.side().forget(&path);
        Ok(())
    }

    fn host(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            return self.active.upper().into();
        }
        self.active.upper().join(path)
    }
}

/// A tar's path as names one below the other; empty for the root.
fn clean(entry: &ReadEntry, path: &[u8]) -> Result<PathBuf, StoreError> {
    let mut clean = PathBuf::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refuse(entry, "its path leads out of the layer")),
            name => clean.push(OsStr::from_bytes(name)),
        }
    }
    Ok(clean)
}

fn refuse(entry: &ReadEntry, reason: &'static str) -> StoreError {
    const SHOWN_MAX: usize = 200;
    let shown: String = String::from_utf8_lossy(&entry.path)
        .chars()
        .flat_map(char::escape_debug)
        .take(SHOWN_MAX)
        .collect();
    StoreError::Layer {
        entry: shown,
        reason,
    }
}
