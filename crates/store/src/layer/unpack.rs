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

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::export::{OPAQUE_MARK, WHITEOUT_PREFIX};
use super::tar_read::{ReadEntry, ReadKind, TarReader};
use crate::error::{At, StoreError};
use crate::remove::remove_tree;
use crate::side::{OWNER_ATTRIBUTE, is_private_attribute};
use crate::snapshot::{ActiveSnapshot, DeviceKind};
use crate::store::Ownership;
use crate::whiteout::{make_opaque, make_whiteout};

const SYMLINKS_MAX: usize = 255;

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

    // Finding the way.

    /// Opens the directory a path names, making what is missing, 0755 and root's.
    ///
    /// Takes the one of the last entry if it is the same.
    fn enter(&mut self, entry: &ReadEntry, path: &Path) -> Result<Directory, StoreError> {
        match self.last.take() {
            Some((known, directory)) if known == path => Ok(directory),
            _ => self.walk(entry, path, true),
        }
    }

    fn walk(
        &mut self,
        entry: &ReadEntry,
        path: &Path,
        may_make: bool,
    ) -> Result<Directory, StoreError> {
        let mut directory = self.open_plain_directory(Path::new(""))?;
        let mut waiting: VecDeque<OsString> = path.iter().map(OsStr::to_owned).collect();
        let mut followed = 0;
        while let Some(part) = waiting.pop_front() {
            match part.as_bytes() {
                b"/" | b"." => continue,
                b".." => {
                    let above = directory.path.parent().unwrap_or(Path::new("")).to_owned();
                    directory = self.open_plain_directory(&above)?;
                    continue;
                }
                _ => {}
            }
            match self.step(entry, &directory, &part, may_make)? {
                Step::Into(next) => directory = next,
                Step::Link(target) => {
                    followed += 1;
                    if followed > SYMLINKS_MAX {
                        return Err(refuse(entry, "its path has too many symbolic links"));
                    }
                    if target.is_absolute() {
                        directory = self.open_plain_directory(Path::new(""))?;
                    }
                    for part in target.iter().rev() {
                        waiting.push_front(part.to_owned());
                    }
                }
            }
        }
        Ok(directory)
    }

    fn step(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        part: &OsStr,
        may_make: bool,
    ) -> Result<Step, StoreError> {
        let path = directory.path.join(part);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&directory.handle, part, flags, Mode::empty()) {
            Ok(handle) => Ok(Step::Into(Directory { handle, path })),
            Err(Errno::NOENT) if may_make && part.as_bytes().starts_with(WHITEOUT_PREFIX) => {
                Err(refuse(
                    entry,
                    "a directory of its path has a name that means a removal",
                ))
            }
            Err(Errno::NOENT) if may_make => {
                self.make_directory(directory, part, &path)?;
                self.directory_times.insert(path.clone(), (0, 0));
                self.open_plain_directory(&path).map(Step::Into)
            }
            Err(Errno::NOTDIR) => match self.stat(directory, part)? {
                Some(Existing::Symlink) => {
                    let target = rustix::fs::readlinkat(&directory.handle, part, Vec::new())
                        .at("read", &self.host(&path))?;
                    Ok(Step::Link(PathBuf::from(OsString::from_vec(
                        target.into_bytes(),
                    ))))
                }
                Some(Existing::Whiteout) if may_make => {
                    self.replace_whiteout(directory, part, &path)?;
                    self.open_plain_directory(&path).map(Step::Into)
                }
                _ => Err(refuse(
                    entry,
                    "its path goes through something that is no directory",
                )),
            },
            Err(Errno::NOENT) => Err(refuse(entry, "it links to nothing in this layer")),
            Err(error) => Err(error).at("open", &self.host(&path)),
        }
    }

    /// Opens a directory by a path that has no symbolic link in it.
    fn open_plain_directory(&self, path: &Path) -> Result<Directory, StoreError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let from_root = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let handle = rustix::fs::openat2(&self.root, from_root, flags, Mode::empty(), resolve)
            .at("open", &self.host(path))?;
        Ok(Directory {
            handle,
            path: path.into(),
        })
    }

    fn make_directory(
        &self,
        directory: &Directory,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), StoreError> {
        let host = self.host(path);
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&directory.handle, name, mode).at("create", &host)?;
        // The mode again: creation is subject to this process's umask.
        rustix::fs::chmodat(&directory.handle, name, mode, AtFlags::empty())
            .at("set the mode of", &host)
    }

    /// A directory where the layer removed something is a new one: it hides what lies below.
    fn replace_whiteout(
        &mut self,
        directory: &Directory,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), StoreError> {
        let host = self.host(path);
        rustix::fs::unlinkat(&directory.handle, name, AtFlags::empty()).at("remove", &host)?;
        self.make_directory(directory, name, path)?;
        make_opaque(&host)
    }

    // Putting things there.

    fn put(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
        bytes: &mut impl Read,
    ) -> Result<(), StoreError> {
        if entry.kind == ReadKind::Directory {
            return self.put_directory(entry, directory, name);
        }
        let is_file = matches!(entry.kind, ReadKind::File | ReadKind::Sparse { .. });
        if !is_file {
            self.clear_place(directory, name)?;
        }
        match &entry.kind {
            ReadKind::Directory => Ok(()),
            ReadKind::File => self.put_file(entry, directory, name, bytes, None),
            ReadKind::Sparse { pieces, size } => {
                self.put_file(entry, directory, name, bytes, Some((pieces, *size)))
            }
            ReadKind::Symlink(target) => {
                let host = self.host(&directory.path.join(name));
                let target = OsStr::from_bytes(target);
                rustix::fs::symlinkat(target, &directory.handle, name).at("create", &host)?;
                self.set_owner(entry, directory, name, IsPlain::No)?;
                set_times(directory.handle.as_fd(), name, entry.mtime).at("set the time of", &host)
            }
            ReadKind::HardLink(target) => self.put_hard_link(entry, directory, name, target),
            ReadKind::CharDevice(major, minor) => {
                self.put_device(entry, directory, name, DeviceKind::Char, (*major, *minor))
            }
            ReadKind::BlockDevice(major, minor) => {
                self.put_device(entry, directory, name, DeviceKind::Block, (*major, *minor))
            }
            ReadKind::Fifo => self.put_device(entry, directory, name, DeviceKind::Fifo, (0, 0)),
        }
    }

    fn put_directory(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
    ) -> Result<(), StoreError> {
        let path = directory.path.join(name);
        match self.stat(directory, name)? {
            Some(Existing::Directory) => {}
            Some(Existing::Whiteout) => self.replace_whiteout(directory, name, &path)?,
            Some(_) => {
                self.clear_place(directory, name)?;
                self.make_directory(directory, name, &path)?;
            }
            None => self.make_directory(directory, name, &path)?,
        }
        self.set_directory(entry, directory, name)
    }

    fn set_directory(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
    ) -> Result<(), StoreError> {
        let path = match name.as_bytes() {
            b"." => PathBuf::new(),
            _ => directory.path.join(name),
        };
        let host = self.host(&path);
        self.set_owner(entry, directory, name, IsPlain::Yes)?;
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&directory.handle, name, mode, AtFlags::empty())
            .at("set the mode of", &host)?;
        set_attributes(entry, &host, |name, value| {
            rustix::fs::lsetxattr(&host, name, value, XattrFlags::empty())
        })?;
        self.directory_times.insert(path, entry.mtime);
        Ok(())
    }

    fn put_file(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
        bytes: &mut impl Read,
        sparse: Option<(&Vec<(u64, u64)>, u64)>,
    ) -> Result<(), StoreError> {
        let host = self.host(&directory.path.join(name));
        let file = self.create_file(entry, directory, name)?;
        let mut file = File::from(file);
        match sparse {
            None => self.copy(bytes, &mut file, None, &host)?,
            Some((pieces, size)) => {
                file.set_len(size).at("write", &host)?;
                for (offset, length) in pieces {
                    file.seek(SeekFrom::Start(*offset)).at("write", &host)?;
                    self.copy(bytes, &mut file, Some(*length), &host)?;
                }
            }
        }
        let made = rustix::fs::fstat(&file).at("stat", &host)?;
        let is_recorded = self.active.store().ownership() == Ownership::Recorded;
        let has_owner = !is_recorded && (made.st_uid, made.st_gid) == (entry.uid, entry.gid);
        if !has_owner {
            self.set_owner(entry, directory, name, IsPlain::Yes)?;
        }
        // Behind the owner: setting that clears setuid bits and capabilities.
        if !has_owner || made.st_mode & 0o7777 != entry.mode {
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::fchmod(&file, mode).at("set the mode of", &host)?;
        }
        set_attributes(entry, &host, |name, value| {
            rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())
        })?;
        rustix::fs::futimens(&file, &timestamps(entry.mtime)).at("set the time of", &host)
    }

    /// Makes a file, in place of whatever an earlier entry put there.
    fn create_file(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
    ) -> Result<OwnedFd, StoreError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let create = || rustix::fs::openat(&directory.handle, name, flags, mode);
        let file = match create() {
            Err(Errno::EXIST) => {
                self.clear_place(directory, name)?;
                create()
            }
            created => created,
        };
        file.at("create", &self.host(&directory.path.join(name)))
    }

    fn copy(
        &mut self,
        bytes: &mut impl Read,
        file: &mut File,
        length: Option<u64>,
        host: &Path,
    ) -> Result<(), StoreError> {
        let mut left = length.unwrap_or(u64::MAX);
        while left > 0 {
            let room = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match bytes.read(&mut self.buffer[..room]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let reason = "it ends inside an entry";
                    return Err(StoreError::Tar { reason });
                }
                Err(source) => {
                    let what = "layer";
                    return Err(StoreError::Input { what, source });
                }
            };
            file.write_all(&self.buffer[..count]).at("write", host)?;
            left -= count as u64;
        }
        Ok(())
    }

    fn put_hard_link(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
        target: &[u8],
    ) -> Result<(), StoreError> {
        let target = clean(entry, target)?;
        let Some(target_name) = target.file_name() else {
            return Err(refuse(entry, "it links to the root"));
        };
        let parent = target.parent().unwrap_or(Path::new(""));
        let from = self.walk(entry, parent, false)?;
        match self.stat(&from, target_name)? {
            Some(Existing::Directory) => return Err(refuse(entry, "it links to a directory")),
            None | Some(Existing::Whiteout) => {
                return Err(refuse(entry, "it links to nothing in this layer"));
            }
            Some(Existing::Symlink | Existing::Other) => {}
        }
        let (old, new) = (from.path.join(target_name), directory.path.join(name));
        let flags = AtFlags::empty();
        rustix::fs::linkat(&from.handle, target_name, &directory.handle, name, flags)
            .at("link", &self.host(&new))?;
        let known = self.active.side().get(&old).copied();
        if let Some(known) = known {
            self.active.side().set(&new, known);
        }
        Ok(())
    }

    fn put_device(
        &mut self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
        kind: DeviceKind,
        (major, minor): (u32, u32),
    ) -> Result<(), StoreError> {
        let path = directory.path.join(name);
        let host = self.host(&path);
        self.active.make_device(&path, kind, major, minor, 0o600)?;
        let is_plain = match self.active.side().get(&path).and_then(|side| side.device) {
            Some(_) => IsPlain::Yes,
            None => IsPlain::No,
        };
        self.set_owner(entry, directory, name, is_plain)?;
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&directory.handle, name, mode, AtFlags::empty())
            .at("set the mode of", &host)?;
        set_times(directory.handle.as_fd(), name, entry.mtime).at("set the time of", &host)
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

    // What stands there, and what it is like.

    fn stat(&self, directory: &Directory, name: &OsStr) -> Result<Option<Existing>, StoreError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(&directory.handle, name, flags) {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Existing::Directory,
                FileType::Symlink => Existing::Symlink,
                FileType::CharacterDevice if stat.st_rdev == 0 => Existing::Whiteout,
                _ => Existing::Other,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).at("stat", &self.host(&directory.path.join(name))),
        }
    }

    fn set_owner(
        &self,
        entry: &ReadEntry,
        directory: &Directory,
        name: &OsStr,
        is_plain: IsPlain,
    ) -> Result<(), StoreError> {
        let path = match name.as_bytes() {
            b"." => PathBuf::new(),
            _ => directory.path.join(name),
        };
        let host = self.host(&path);
        if self.active.store().ownership() == Ownership::Native {
            let owner = (
                Some(Uid::from_raw(entry.uid)),
                Some(Gid::from_raw(entry.gid)),
            );
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            return match rustix::fs::chownat(&directory.handle, name, owner.0, owner.1, flags) {
                // Outside the range of ids this user was given: kept for whoever reads the layer.
                Err(Errno::INVAL) => {
                    self.active.side().set_owner(&path, (entry.uid, entry.gid));
                    Ok(())
                }
                result => result.at("set the owner of", &host),
            };
        }
        if (entry.uid, entry.gid) == (0, 0) {
            return Ok(());
        }
        match is_plain {
            IsPlain::No => self.active.side().set_owner(&path, (entry.uid, entry.gid)),
            IsPlain::Yes => {
                let value = format!("{}:{}", entry.uid, entry.gid);
                let flags = XattrFlags::empty();
                rustix::fs::lsetxattr(&host, OWNER_ATTRIBUTE, value.as_bytes(), flags)
                    .at("record the owner of", &host)?;
            }
        }
        Ok(())
    }

    /// Directories that are gone again, or no directories any more, are left out.
    fn set_directory_times(&self) {
        for (path, mtime) in &self.directory_times {
            if let Ok(directory) = self.open_plain_directory(path) {
                let here = OsStr::new(".");
                let _ = set_times(directory.handle.as_fd(), here, *mtime);
            }
        }
    }

    fn host(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            return self.active.upper().into();
        }
        self.active.upper().join(path)
    }
}

/// Where one part of a path leads.
#[derive(Debug)]
enum Step {
    Into(Directory),
    Link(PathBuf),
}

/// What an earlier entry put at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Directory,
    Symlink,
    Whiteout,
    Other,
}

/// Whether something is a regular file or a directory on the host, and so can carry attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsPlain {
    Yes,
    No,
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

/// Sets the attributes that a layer may bring.
///
/// Those of the kernel's own (`security.*`, `system.*`) are kept where this process is permitted.
fn set_attributes(
    entry: &ReadEntry,
    host: &Path,
    set: impl Fn(&OsStr, &[u8]) -> rustix::io::Result<()>,
) -> Result<(), StoreError> {
    for (name, value) in &entry.attributes {
        let name = OsStr::from_bytes(name);
        if is_private_attribute(name) {
            continue;
        }
        match set(name, value) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL)
                if !name.as_bytes().starts_with(b"user.") => {}
            result => result.at("set an attribute of", host)?,
        }
    }
    Ok(())
}

fn set_times(directory: BorrowedFd<'_>, name: &OsStr, mtime: (i64, u32)) -> rustix::io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(directory, name, &timestamps(mtime), flags)
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
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
