//! A directory of the host as a source tree.
//!
//! Every access starts at one descriptor of the root and refuses to cross a symbolic link, so no
//! path leads out of it, whatever is exchanged underneath while a build runs. A directory is read
//! once; what instructions see of a context is one state, and a file that is different by the time
//! it is copied is found out ([`SourceTree::is_unchanged`]).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::tree::{Kind, LinkId, Listing, SourceEntry, Xattrs};

/// The one extended attribute of the host that means something in an image.
const CAPABILITY: &str = "security.capability";

/// So many directories are listed by one thread before others are worth their start.
const ALONE_MAX: usize = 16;

/// A directory opened for reading.
#[derive(Debug)]
pub(super) struct Directory {
    root: OwnedFd,
    listings: Mutex<HashMap<PathBuf, Listing>>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            root,
            listings: Mutex::default(),
        })
    }

    /// The entry at a path; `None` if nothing is there or a link or file stands in the way.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<Option<SourceEntry>> {
        let Some(name) = path.file_name() else {
            return rustix::fs::fstat(&self.root)
                .map(|stat| Some(entry(&stat)))
                .map_err(Into::into);
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let stat = match parent.as_os_str().is_empty() {
            true => rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW),
            false => open_beneath(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY)
                .and_then(|dir| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)),
        };
        match stat {
            Ok(stat) => Ok(Some(entry(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        if let Some(known) = self.listings().get(path) {
            return Ok(known.clone());
        }
        let listing = self.list(path)?;
        Ok(self
            .listings()
            .entry(path.to_owned())
            .or_insert(listing)
            .clone())
    }

    /// Lists a directory and everything below it that `enter` lets through: in parallel, if it is
    /// not small.
    pub(super) fn read_ahead(
        &self,
        path: &Path,
        workers: usize,
        enter: &(dyn Fn(&Path) -> bool + Sync),
    ) {
        if workers < 2 || self.listings().contains_key(path) {
            return;
        }
        let below = |dir: &Path| -> Vec<PathBuf> {
            // What cannot be read shows when it is listed in earnest.
            let Ok(listing) = self.read_dir(dir) else {
                return Vec::new();
            };
            let dirs = listing.iter().filter(|(_, entry)| entry.is_dir());
            let dirs = dirs.map(|(name, _)| dir.join(name));
            dirs.filter(|dir| enter(dir)).collect()
        };
        let mut open = vec![path.to_owned()];
        for _ in 0..ALONE_MAX {
            let Some(dir) = open.pop() else {
                return;
            };
            open.extend(below(&dir));
        }
        let queue = Queue::new(open);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(dir) = queue.next() {
                        queue.add(below(&dir));
                        queue.done();
                    }
                });
            }
        });
    }

    /// Directories are read again when somebody asks for them.
    pub(super) fn forget_listings(&self) {
        self.listings().clear();
    }

    pub(super) fn open_file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(open_beneath(&self.root, path, flags)?))
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        let target = match parent.as_os_str().is_empty() {
            true => rustix::fs::readlinkat(&self.root, name, Vec::new()),
            false => open_beneath(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY)
                .and_then(|dir| rustix::fs::readlinkat(dir, name, Vec::new())),
        }?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn listings(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Listing>> {
        self.listings.lock().expect("no panics while held")
    }

    fn list(&self, path: &Path) -> io::Result<Listing> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = match path.as_os_str().is_empty() {
            true => open_at(self.root.as_fd(), Path::new("."), flags)?,
            false => open_beneath(&self.root, path, flags)?,
        };
        let mut listing = Vec::new();
        let mut stream = Dir::read_from(&dir)?;
        while let Some(found) = stream.read() {
            let found = found?;
            let name = found.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let name = OsString::from_vec(name.to_bytes().to_vec());
                    listing.push((name, entry(&stat)));
                }
                // Gone since it was listed.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        listing.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Arc::new(listing))
    }
}

/// What of an open file's extended attributes belongs into an image.
pub(super) fn capability(file: &File) -> io::Result<Xattrs> {
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value) {
        Ok(length) => Ok(vec![(CAPABILITY.into(), value[..length].to_vec())]),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whether an open file is still what a listing said.
pub(super) fn is_unchanged(was: &SourceEntry, file: &File) -> io::Result<bool> {
    let now = entry(&rustix::fs::fstat(file)?);
    Ok((now.inode, now.size, now.mtime, now.ctime) == (was.inode, was.size, was.mtime, was.ctime))
}

fn entry(stat: &Stat) -> SourceEntry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => Kind::File,
    };
    SourceEntry {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: 0,
        gid: 0,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
        rdev: match kind {
            Kind::CharDevice | Kind::BlockDevice => (
                rustix::fs::major(stat.st_rdev),
                rustix::fs::minor(stat.st_rdev),
            ),
            _ => (0, 0),
        },
        inode: (stat.st_dev, stat.st_ino),
        link: (stat.st_nlink > 1 && kind == Kind::File)
            .then_some(LinkId::Inode(stat.st_dev, stat.st_ino)),
        layer: None,
    }
}

/// Opens a path below a directory without following any link on the way.
fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
        // Older kernels and some containers' filters know no openat2.
        Err(Errno::NOSYS | Errno::PERM) => open_stepwise(root, path, flags),
        opened => opened,
    }
}

fn open_stepwise(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return Err(Errno::XDEV),
        }
    }
    let Some((last, parents)) = names.split_last() else {
        return Err(Errno::INVAL);
    };
    let mut dir: Option<OwnedFd> = None;
    for name in parents {
        let at = dir.as_ref().unwrap_or(root);
        dir = Some(open_at(
            at.as_fd(),
            Path::new(name),
            OFlags::PATH | OFlags::DIRECTORY,
        )?);
    }
    open_at(dir.as_ref().unwrap_or(root).as_fd(), Path::new(last), flags)
}

fn open_at(
    dir: std::os::fd::BorrowedFd<'_>,
    name: &Path,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Directories to be read by several threads, until none is left and none can come.
struct Queue {
    open: Mutex<Vec<PathBuf>>,
    /// Directories waiting or being read.
    unfinished: AtomicUsize,
    changed: Condvar,
}

impl Queue {
    fn new(first: Vec<PathBuf>) -> Self {
        Self {
            unfinished: AtomicUsize::new(first.len()),
            open: Mutex::new(first),
            changed: Condvar::new(),
        }
    }

    fn next(&self) -> Option<PathBuf> {
        let mut open = self.open.lock().expect("no panics while held");
        loop {
            if let Some(dir) = open.pop() {
                return Some(dir);
            }
            if self.unfinished.load(Ordering::Acquire) == 0 {
                return None;
            }
            open = self.changed.wait(open).expect("no panics while held");
        }
    }

    fn add(&self, dirs: Vec<PathBuf>) {
        self.unfinished.fetch_add(dirs.len(), Ordering::AcqRel);
        self.open.lock().expect("no panics while held").extend(dirs);
        self.changed.notify_all();
    }

    fn done(&self) {
        // Under the lock, so that nobody can miss it between looking and waiting.
        let _open = self.open.lock().expect("no panics while held");
        if self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_all();
        }
    }
}
