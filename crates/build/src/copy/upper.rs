//! The destination: what a copy changes, written in overlay form into an active snapshot.
//!
//! Nothing is mounted. [`Upper`] knows the layers below and what it has made itself; together that
//! is the tree a process inside would see. A directory of the layers below that gets new entries
//! is made in the upper with the metadata it has below (the copy-up that overlayfs would do).
//!
//! Directories get their mode, owner and times at the very end, in [`Upper::finish`]: until then
//! they are plainly writable, nothing inherits a set-group-id, and no new entry spoils a time.
//!
//! Invariant: whatever lies in the upper lies in a directory that `dirs` knows.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cairn_store::{ActiveSnapshot, DeviceKind, Entry, EntryKind, LayeredView};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
};
use rustix::io::Errno;

use super::error::CopyError;
use super::resolve::{LINKS_MAX, Step, steps};
use super::selection::below;
use crate::context::{Xattrs, is_private_xattr};

/// What stands at a destination path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A symbolic link, with what it says.
    Symlink(PathBuf),
    /// Anything else.
    Other,
}

/// Metadata of something that is made.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: Xattrs,
}

/// The destination of a copy.
pub(super) struct Upper<'a> {
    active: &'a ActiveSnapshot,
    root: OwnedFd,
    below: LayeredView,
    dirs: HashMap<PathBuf, Dir>,
    turn: u32,
}

/// A directory in the upper.
#[derive(Debug)]
struct Dir {
    /// `None` for the root, which is not ours.
    metadata: Option<Metadata>,
    /// No layer below shows through.
    is_opaque: bool,
    /// Whether it was not there before this copy.
    is_new: bool,
    /// The turn in which it was made.
    turn: u32,
}

impl<'a> Upper<'a> {
    /// Begins to write into a snapshot that is still empty, over the given layers.
    pub(super) fn new(
        active: &'a ActiveSnapshot,
        below: LayeredView,
        has_layers: bool,
    ) -> Result<Self, CopyError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(active.upper(), flags, Mode::empty())
            .map_err(|errno| CopyError::write("")(errno.into()))?;
        let top = Dir {
            metadata: None,
            is_opaque: !has_layers,
            is_new: false,
            turn: 0,
        };
        let dirs = HashMap::from([(PathBuf::new(), top)]);
        Ok(Self {
            active,
            root,
            below,
            dirs,
            turn: 0,
        })
    }

    /// Begins the copy of one source, which names every path at most once: what it makes needs no
    /// second look until the next turn.
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Whether a path cannot hold anything: its directory was made in this turn.
    pub(super) fn is_untouched(&self, path: &Path) -> bool {
        let parent = path.parent().and_then(|parent| self.dirs.get(parent));
        parent.is_some_and(|parent| parent.is_opaque && parent.turn == self.turn && self.turn > 0)
            && !self.dirs.contains_key(path)
    }

    /// Whether a directory was made by this copy.
    pub(super) fn is_new_dir(&self, path: &Path) -> bool {
        self.dirs.get(path).is_some_and(|dir| dir.is_new)
    }

    /// What stands at a path; no link is followed.
    pub(super) fn found(&self, path: &Path) -> Result<Found, CopyError> {
        if self.dirs.contains_key(path) {
            return Ok(Found::Directory);
        }
        let Some(parent) = path.parent() else {
            return Ok(Found::Directory);
        };
        let held = self.dirs.get(parent);
        if held.is_some() {
            match rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => return self.found_here(path, FileType::from_raw_mode(stat.st_mode)),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(write_error(path)(error)),
            }
        }
        if held.is_some_and(|dir| dir.is_opaque) {
            return Ok(Found::Nothing);
        }
        Ok(match self.below.lookup(path)? {
            None => Found::Nothing,
            Some(entry) => match entry.kind {
                EntryKind::Directory => Found::Directory,
                EntryKind::Symlink => Found::Symlink(self.below.read_link(&entry)?),
                _ => Found::Other,
            },
        })
    }

    fn found_here(&self, path: &Path, kind: FileType) -> Result<Found, CopyError> {
        Ok(match kind {
            FileType::Directory => Found::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&self.root, path, Vec::new())
                    .map_err(write_error(path))?;
                Found::Symlink(PathBuf::from(bytes_to_os(target.into_bytes())))
            }
            _ => Found::Other,
        })
    }

    /// Follows every link of a path inside `base`, which links cannot leave. Parts that are not
    /// there are kept as they are.
    pub(super) fn resolve(&self, base: &Path, path: &Path) -> Result<PathBuf, CopyError> {
        let mut open = steps(path);
        let mut reached = PathBuf::new();
        let mut links = 0;
        while let Some(step) = open.pop_front() {
            match step {
                Step::Root => reached = PathBuf::new(),
                Step::Up => drop(reached.pop()),
                Step::Into(name) => {
                    reached.push(name);
                    let Found::Symlink(target) = self.found(&below(base, &reached))? else {
                        continue;
                    };
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(CopyError::LinkLoop {
                            path: base.join(path),
                        });
                    }
                    reached.pop();
                    for step in steps(&target).into_iter().rev() {
                        open.push_front(step);
                    }
                }
            }
        }
        Ok(below(base, &reached))
    }

    /// Makes a directory and what is missing above it, all with the same metadata.
    pub(super) fn make_dirs(&mut self, path: &Path, metadata: &Metadata) -> Result<(), CopyError> {
        let mut missing = Vec::new();
        let mut here = path;
        loop {
            match self.found(here)? {
                Found::Directory => break,
                Found::Nothing => missing.push(here),
                Found::Symlink(_) | Found::Other => {
                    return Err(CopyError::FileInTheWay {
                        path: here.to_owned(),
                    });
                }
            }
            here = here.parent().unwrap_or(Path::new(""));
        }
        for path in missing.into_iter().rev() {
            self.make_dir(path, metadata.clone())?;
        }
        Ok(())
    }

    /// Makes a directory where nothing stands. Its parent must be a directory.
    pub(super) fn make_dir(&mut self, path: &Path, metadata: Metadata) -> Result<(), CopyError> {
        self.hold_parent(path)?;
        rustix::fs::mkdirat(&self.root, path, Mode::RWXU).map_err(write_error(path))?;
        // Something below that was removed must not show through.
        let hides = !self.is_opaque_above(path)
            && self
                .below
                .lookup(path)?
                .is_some_and(|entry| entry.kind == EntryKind::Directory);
        if hides {
            cairn_store::make_opaque(&self.active.upper().join(path))?;
        }
        let dir = Dir {
            metadata: Some(metadata),
            is_opaque: true,
            is_new: true,
            turn: self.turn,
        };
        self.dirs.insert(path.to_owned(), dir);
        Ok(())
    }

    /// Gives a directory that is there new metadata.
    pub(super) fn set_dir(&mut self, path: &Path, metadata: Metadata) -> Result<(), CopyError> {
        self.hold(path)?;
        self.change_dir(path, |known| *known = metadata);
        Ok(())
    }

    /// Gives a directory that is there another mode.
    pub(super) fn set_dir_mode(&mut self, path: &Path, mode: u32) -> Result<(), CopyError> {
        self.hold(path)?;
        self.change_dir(path, |known| known.mode = mode);
        Ok(())
    }

    /// Gives a directory that this copy made another time.
    pub(super) fn set_dir_mtime(&mut self, path: &Path, mtime: (i64, u32)) {
        self.change_dir(path, |known| known.mtime = mtime);
    }

    fn change_dir(&mut self, path: &Path, change: impl FnOnce(&mut Metadata)) {
        if let Some(metadata) = self
            .dirs
            .get_mut(path)
            .and_then(|dir| dir.metadata.as_mut())
        {
            change(metadata);
        }
    }

    /// Makes sure that a directory which is there can take entries in the upper.
    pub(super) fn hold(&mut self, path: &Path) -> Result<(), CopyError> {
        if self.dirs.contains_key(path) {
            return Ok(());
        }
        self.hold_parent(path)?;
        let entry = match self.below.lookup(path)? {
            Some(entry) if entry.kind == EntryKind::Directory => entry,
            _ => {
                return Err(CopyError::FileInTheWay {
                    path: path.to_owned(),
                });
            }
        };
        rustix::fs::mkdirat(&self.root, path, Mode::RWXU).map_err(write_error(path))?;
        let metadata = Some(self.metadata_below(&entry)?);
        let dir = Dir {
            metadata,
            is_opaque: false,
            is_new: false,
            turn: self.turn,
        };
        self.dirs.insert(path.to_owned(), dir);
        Ok(())
    }

    pub(super) fn hold_parent(&mut self, path: &Path) -> Result<(), CopyError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.dirs.contains_key(parent) {
            return Ok(());
        }
        self.hold(parent)
    }

    fn is_opaque_above(&self, path: &Path) -> bool {
        let parent = path.parent().and_then(|parent| self.dirs.get(parent));
        parent.is_some_and(|parent| parent.is_opaque)
    }

    fn metadata_below(&self, entry: &Entry) -> Result<Metadata, CopyError> {
        Ok(Metadata {
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: self.below.xattrs(entry)?,
        })
    }

    /// Takes away whatever stands at a path, with everything below it, so that something else can
    /// be put in its place. Only what this copy made is really removed.
    pub(super) fn remove(&mut self, path: &Path) -> Result<(), CopyError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if !self.dirs.contains_key(parent) {
            return Ok(());
        }
        if self.dirs.contains_key(path) {
            self.dirs.retain(|dir, _| !dir.starts_with(path));
        }
        let host = self.active.upper().join(path);
        let removed = match std::fs::symlink_metadata(&host) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&host),
            Ok(_) => std::fs::remove_file(&host),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CopyError::write(path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes a new file to write to, in place of any other non-directory. The parent must be held.
    pub(super) fn create_file(&self, path: &Path) -> Result<File, CopyError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let made = self.replacing(path, || rustix::fs::openat(&self.root, path, flags, mode))?;
        Ok(File::from(made))
    }

    /// Gives an open new file its metadata.
    pub(super) fn finish_file(
        &self,
        path: &Path,
        file: &File,
        metadata: &Metadata,
    ) -> Result<(), CopyError> {
        if (metadata.uid, metadata.gid) != (0, 0) {
            self.active.set_owner(path, metadata.uid, metadata.gid)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode)).map_err(write_error(path))?;
        for (name, value) in wanted(&metadata.xattrs) {
            let set = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
            tolerate(set).map_err(write_error(path))?;
        }
        rustix::fs::futimens(file, &times(metadata.mtime)).map_err(write_error(path))
    }

    /// Makes a symbolic link in place of any other non-directory; links have no mode.
    pub(super) fn make_symlink(
        &mut self,
        path: &Path,
        target: &Path,
        metadata: &Metadata,
    ) -> Result<(), CopyError> {
        self.hold_parent(path)?;
        self.replacing(path, || rustix::fs::symlinkat(target, &self.root, path))?;
        self.finish_special(path, metadata)
    }

    /// Makes a device or fifo in place of any other non-directory.
    pub(super) fn make_device(
        &mut self,
        path: &Path,
        kind: DeviceKind,
        number: (u32, u32),
        metadata: &Metadata,
    ) -> Result<(), CopyError> {
        self.hold_parent(path)?;
        self.remove(path)?;
        self.active
            .make_device(path, kind, number.0, number.1, metadata.mode)?;
        self.finish_special(path, metadata)
    }

    fn finish_special(&self, path: &Path, metadata: &Metadata) -> Result<(), CopyError> {
        if (metadata.uid, metadata.gid) != (0, 0) {
            self.active.set_owner(path, metadata.uid, metadata.gid)?;
        }
        for (name, value) in wanted(&metadata.xattrs) {
            let host = self.active.upper().join(path);
            let set = rustix::fs::lsetxattr(&host, name, value, XattrFlags::empty());
            tolerate(set).map_err(write_error(path))?;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&self.root, path, &times(metadata.mtime), flags)
            .map_err(write_error(path))
    }

    /// Gives a file of the upper a second name, in place of any other non-directory.
    pub(super) fn make_link(&self, existing: &Path, path: &Path) -> Result<(), CopyError> {
        let flags = AtFlags::empty();
        self.replacing(path, || {
            rustix::fs::linkat(&self.root, existing, &self.root, path, flags)
        })
    }

    /// Brings a file of the layers below into the upper, so that it can be linked to. Gives `false`
    /// if there is no such file.
    pub(super) fn copy_up(&mut self, path: &Path) -> Result<bool, CopyError> {
        self.hold_parent(path)?;
        if rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(!self.dirs.contains_key(path));
        }
        if self.is_opaque_above(path) {
            return Ok(false);
        }
        let Some(entry) = self.below.lookup(path)? else {
            return Ok(false);
        };
        let metadata = self.metadata_below(&entry)?;
        match entry.kind {
            EntryKind::File => {
                let mut from = self.below.open(&entry)?;
                let mut file = self.create_file(path)?;
                io::copy(&mut from, &mut file).map_err(CopyError::write(path))?;
                self.finish_file(path, &file, &metadata)?;
            }
            EntryKind::Symlink => {
                let target = self.below.read_link(&entry)?;
                self.make_symlink(path, &target, &metadata)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Gives all directories their metadata, the deepest first.
    pub(super) fn finish(self) -> Result<(), CopyError> {
        let mut dirs: Vec<(PathBuf, Metadata)> = self
            .dirs
            .into_iter()
            .filter_map(|(path, dir)| Some((path, dir.metadata?)))
            .collect();
        // A path sorts behind all its parents.
        dirs.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (path, metadata) in &dirs {
            if (metadata.uid, metadata.gid) != (0, 0) {
                self.active.set_owner(path, metadata.uid, metadata.gid)?;
            }
            let host = self.active.upper().join(path);
            for (name, value) in wanted(&metadata.xattrs) {
                let set = rustix::fs::lsetxattr(&host, name, value, XattrFlags::empty());
                tolerate(set).map_err(write_error(path))?;
            }
            let mode = Mode::from_raw_mode(metadata.mode);
            rustix::fs::chmodat(&self.root, path, mode, AtFlags::empty())
                .map_err(write_error(path))?;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(CWD, &host, &times(metadata.mtime), flags)
                .map_err(write_error(path))?;
        }
        Ok(())
    }

    /// Makes something where only a non-directory may stand, which goes.
    fn replacing<T>(
        &self,
        path: &Path,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, CopyError> {
        match make() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.root, path, AtFlags::empty())
                    .map_err(write_error(path))?;
                make().map_err(write_error(path))
            }
            made => made.map_err(write_error(path)),
        }
    }
}

/// Attributes that are kept; the rest says how some machine keeps its files.
fn wanted(xattrs: &Xattrs) -> impl Iterator<Item = (&std::ffi::OsStr, &[u8])> {
    xattrs
        .iter()
        .filter(|(name, _)| !is_private_xattr(name))
        .map(|(name, value)| (name.as_os_str(), value.as_slice()))
}

/// An attribute that this file system or user cannot have is left out, as BuildKit does.
fn tolerate(set: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match set {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        set => set,
    }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds.into(),
        },
    }
}

fn bytes_to_os(bytes: Vec<u8>) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

fn write_error(path: &Path) -> impl FnOnce(Errno) -> CopyError {
    let path = path.to_owned();
    move |errno| CopyError::write(path)(errno.into())
}
