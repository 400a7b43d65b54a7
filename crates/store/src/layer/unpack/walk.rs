//! Finding the way: every file is reached from the layer's own root, one directory at a time.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::export::WHITEOUT_PREFIX;
use super::super::tar_read::ReadEntry;
use super::{Directory, Unpacker, refuse};
use crate::error::{At, StoreError};
use crate::whiteout::make_opaque;

const SYMLINKS_MAX: usize = 255;

impl Unpacker<'_> {
    /// Opens the directory a path names, making what is missing, 0755 and root's.
    ///
    /// Takes the one of the last entry if it is the same.
    pub(super) fn enter(
        &mut self,
        entry: &ReadEntry,
        path: &Path,
    ) -> Result<Directory, StoreError> {
        match self.last.take() {
            Some((known, directory)) if known == path => Ok(directory),
            _ => self.walk(entry, path, true),
        }
    }

    pub(super) fn walk(
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
    pub(super) fn open_plain_directory(&self, path: &Path) -> Result<Directory, StoreError> {
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

    pub(super) fn make_directory(
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
    pub(super) fn replace_whiteout(
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

    pub(super) fn stat(
        &self,
        directory: &Directory,
        name: &OsStr,
    ) -> Result<Option<Existing>, StoreError> {
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
}

/// Where one part of a path leads.
#[derive(Debug)]
enum Step {
    Into(Directory),
    Link(PathBuf),
}

/// What an earlier entry put at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Directory,
    Symlink,
    Whiteout,
    Other,
}
