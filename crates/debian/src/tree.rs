//! The tree that is being assembled: files put into a snapshot's change, never outside of it.
//!
//! Package paths go through symbolic links (`/lib/x` lies in `/usr/lib` on a merged system). Every
//! parent is resolved inside the tree, once, to a path without links; all system calls then work
//! on opened directories below the root and follow nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use cairn_store::{ActiveSnapshot, DeviceKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::error::DebianError;

/// Chains of links longer than this are loops.
const LINKS_MAX: usize = 40;
/// How many directories are kept open.
const OPEN_MAX: usize = 256;

/// Owner, permissions and time of something in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
}

impl Meta {
    /// Root's, made at `mtime`.
    pub(crate) fn root(mode: u32, mtime: i64) -> Meta {
        Meta {
            mode,
            uid: 0,
            gid: 0,
            mtime,
        }
    }
}

/// A snapshot's change that is being written.
pub(crate) struct Tree<'a> {
    active: &'a ActiveSnapshot,
    /// The time of what is written here.
    epoch: i64,
    root: Rc<OwnedFd>,
    resolved: HashMap<PathBuf, PathBuf>,
    open: HashMap<PathBuf, Rc<OwnedFd>>,
}

/// A name in an opened directory.
pub(crate) struct Place {
    directory: Rc<OwnedFd>,
    name: PathBuf,
    /// The path below the root, without links.
    pub(crate) path: PathBuf,
}

impl<'a> Tree<'a> {
    pub(crate) fn open(active: &'a ActiveSnapshot, epoch: i64) -> Result<Tree<'a>, DebianError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(active.upper(), flags, Mode::empty())
            .map_err(|source| failed(active.upper(), "opening", source))?;
        Ok(Tree {
            active,
            epoch,
            root: Rc::new(root),
            resolved: HashMap::new(),
            open: HashMap::new(),
        })
    }

    /// The place that a path stands for; its parent is made when it is missing.
    pub(crate) fn place(&mut self, path: &Path) -> Result<Place, DebianError> {
        let name = path
            .file_name()
            .ok_or_else(|| failed(path, "using", Errno::INVAL))?;
        let parent = self.resolve_parent(path.parent().unwrap_or(Path::new("")))?;
        let directory = self.directory(&parent)?;
        let path = parent.join(name);
        Ok(Place {
            directory,
            name: name.into(),
            path,
        })
    }

    /// What kind of thing is at a place.
    pub(crate) fn kind(&self, place: &Place) -> Result<Option<FileType>, DebianError> {
        match rustix::fs::statat(&*place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(failed(&place.path, "looking at", source)),
        }
    }

    /// Whether a path leads to a directory, through links.
    pub(crate) fn leads_to_directory(&mut self, path: &Path) -> bool {
        self.follow(path, false).is_ok()
    }

    /// Makes a directory link at the root, for the directories that were merged into `/usr`.
    pub(crate) fn make_alias(&mut self, name: &str) -> Result<(), DebianError> {
        let place = self.place(Path::new(name))?;
        if self.kind(&place)?.is_some() {
            return Ok(());
        }
        let target = Path::new("usr").join(name);
        self.follow(&target, true)?;
        self.make_symlink(&place, Meta::root(0o777, self.epoch), &target)
    }

    /// Makes a directory; `false` when one is there already, which is then left as it is.
    pub(crate) fn make_dir(&mut self, place: &Place, meta: Meta) -> Result<bool, DebianError> {
        match rustix::fs::mkdirat(&*place.directory, &place.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(source) => return Err(failed(&place.path, "making", source)),
        }
        self.active.set_owner(&place.path, meta.uid, meta.gid)?;
        self.set_mode(place, meta.mode)?;
        Ok(true)
    }

    /// Writes a new file from a stream; `watch` sees every piece.
    pub(crate) fn write_file(
        &mut self,
        place: &Place,
        meta: Meta,
        content: &mut dyn Read,
        watch: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DebianError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(
            &*place.directory,
            &place.name,
            flags,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|source| failed(&place.path, "making", source))?;
        let mut file = File::from(file);
        copy(content, &mut file, watch).map_err(|source| DebianError::File {
            path: place.path.clone(),
            action: "writing",
            source,
        })?;
        self.active.set_owner(&place.path, meta.uid, meta.gid)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode & 0o7777))
            .map_err(|source| failed(&place.path, "setting the mode of", source))?;
        rustix::fs::futimens(&file, &times(meta.mtime))
            .map_err(|source| failed(&place.path, "setting the time of", source))
    }

    /// Makes a symbolic link.
    pub(crate) fn make_symlink(
        &mut self,
        place: &Place,
        meta: Meta,
        target: &Path,
    ) -> Result<(), DebianError> {
        rustix::fs::symlinkat(target, &*place.directory, &place.name)
            .map_err(|source| failed(&place.path, "making", source))?;
        self.active.set_owner(&place.path, meta.uid, meta.gid)?;
        self.set_time(place, meta.mtime)
    }

    /// Makes another name of a file.
    pub(crate) fn make_hard_link(
        &mut self,
        place: &Place,
        target: &Path,
    ) -> Result<(), DebianError> {
        let target = self.place(target)?;
        let flags = AtFlags::empty();
        rustix::fs::linkat(
            &*target.directory,
            &target.name,
            &*place.directory,
            &place.name,
            flags,
        )
        .map_err(|source| failed(&place.path, "linking", source))
    }

    /// Makes a special file.
    pub(crate) fn make_device(
        &mut self,
        place: &Place,
        meta: Meta,
        kind: DeviceKind,
        number: (u32, u32),
    ) -> Result<(), DebianError> {
        self.active
            .make_device(&place.path, kind, number.0, number.1, meta.mode)?;
        self.active.set_owner(&place.path, meta.uid, meta.gid)?;
        Ok(())
    }

    /// Removes what is at a place, unless it is a directory.
    pub(crate) fn unlink(&mut self, place: &Place) -> Result<(), DebianError> {
        match rustix::fs::unlinkat(&*place.directory, &place.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(failed(&place.path, "removing", source)),
        }
    }

    /// Sets the time of a directory or link; to be done after all is written into it.
    pub(crate) fn set_time(&self, place: &Place, mtime: i64) -> Result<(), DebianError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&*place.directory, &place.name, &times(mtime), flags)
            .map_err(|source| failed(&place.path, "setting the time of", source))
    }

    /// Gives what a path names an owner.
    pub(crate) fn set_owner(&mut self, path: &str, uid: u32, gid: u32) -> Result<(), DebianError> {
        let place = self.place(Path::new(path))?;
        Ok(self.active.set_owner(&place.path, uid, gid)?)
    }

    pub(crate) fn set_mode(&self, place: &Place, mode: u32) -> Result<(), DebianError> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        rustix::fs::chmodat(&*place.directory, &place.name, mode, AtFlags::empty())
            .map_err(|source| failed(&place.path, "setting the mode of", source))
    }

    /// Writes a whole file of root's, in place of what was there.
    pub(crate) fn put(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), DebianError> {
        let place = self.place(Path::new(path))?;
        self.unlink(&place)?;
        let mut content = content;
        self.write_file(
            &place,
            Meta::root(mode, self.epoch),
            &mut content,
            &mut |_| {},
        )
    }

    /// Reads a whole file; `None` when there is none.
    pub(crate) fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, DebianError> {
        let place = match self.follow(Path::new(path).parent().unwrap_or(Path::new("")), false) {
            Ok(parent) => {
                let name = PathBuf::from(Path::new(path).file_name().unwrap_or_default());
                Place {
                    directory: self.directory(&parent)?,
                    path: parent.join(&name),
                    name,
                }
            }
            Err(_) => return Ok(None),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&*place.directory, &place.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(source) => return Err(failed(&place.path, "opening", source)),
        };
        let mut bytes = Vec::new();
        File::from(file)
            .read_to_end(&mut bytes)
            .map_err(|source| DebianError::File {
                path: place.path,
                action: "reading",
                source,
            })?;
        Ok(Some(bytes))
    }

    /// Forgets what is known of the tree: something else has written to it.
    pub(crate) fn forget(&mut self) {
        self.resolved.clear();
        self.open.clear();
    }

    fn resolve_parent(&mut self, parent: &Path) -> Result<PathBuf, DebianError> {
        if let Some(known) = self.resolved.get(parent) {
            return Ok(known.clone());
        }
        let resolved = self.follow(parent, true)?;
        self.resolved.insert(parent.to_owned(), resolved.clone());
        Ok(resolved)
    }

    /// Walks a path to a directory, through links, and says where it is without them.
    fn follow(&mut self, path: &Path, make: bool) -> Result<PathBuf, DebianError> {
        let mut todo: Vec<PathBuf> = parts(path);
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == Path::new("..") {
                at.pop();
                continue;
            }
            let directory = self.directory(&at)?;
            let here = at.join(&part);
            match rustix::fs::statat(&*directory, &part, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => at = here,
                    FileType::Symlink => {
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(failed(path, "following", Errno::LOOP));
                        }
                        let target = read_link(&directory, &part)
                            .map_err(|source| failed(&here, "following", source))?;
                        if target.is_absolute() {
                            at.clear();
                        }
                        todo.extend(parts(&target));
                    }
                    _ => return Err(failed(&here, "entering", Errno::NOTDIR)),
                },
                Err(Errno::NOENT) if make => {
                    let place = Place {
                        directory,
                        name: part,
                        path: here.clone(),
                    };
                    self.make_dir(&place, Meta::root(0o755, self.epoch))?;
                    at = here;
                }
                Err(source) => return Err(failed(&here, "entering", source)),
            }
        }
        Ok(at)
    }

    fn directory(&mut self, path: &Path) -> Result<Rc<OwnedFd>, DebianError> {
        if path.as_os_str().is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(open) = self.open.get(path) {
            return Ok(open.clone());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), resolve)
            .map_err(|source| failed(path, "opening", source))?;
        let opened = Rc::new(opened);
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(path.to_owned(), opened.clone());
        Ok(opened)
    }
}

/// The parts of a path, the last one first; `/` and `.` are nothing.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(PathBuf::from(part)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

fn read_link(directory: &OwnedFd, name: &Path) -> rustix::io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(
        target.into_bytes(),
    )))
}

fn copy(from: &mut dyn Read, to: &mut File, watch: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                watch(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
        }
    }
}

fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime,
            tv_nsec: 0,
        },
    }
}

fn failed(path: &Path, action: &'static str, source: Errno) -> DebianError {
    DebianError::File {
        path: path.to_owned(),
        action,
        source: source.into(),
    }
}
