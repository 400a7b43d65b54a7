//! An image's files as files of the host.
//!
//! Owners are set where this process may (as root, or within its range of ids) and are otherwise
//! the caller's. Devices are made where the kernel lets us and else left out; what was left out
//! is told. Extended attributes follow the same rule. Times are those of the image.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cairn_sandbox::Cancel;
use cairn_store::{Entry, EntryKind, LayeredView};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    lsetxattr, makedev, mknodat, symlinkat, utimensat,
};

use super::beside::Beside;
use super::export::{ExportError, Exported};
use super::stoppable::{Stoppable, go_on};

/// Writes the files of an image into a directory.
///
/// A directory that does not exist or is empty appears whole; into one with files the image's
/// are merged, replacing those of the same name.
pub(super) fn write_directory(
    view: &LayeredView,
    times: Times,
    destination: &Path,
    cancel: &Cancel,
) -> Result<Exported, ExportError> {
    let is_vacant = match fs::read_dir(destination) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    // `.` and `/` have no name to be renamed to.
    if is_vacant && destination.file_name().is_some() {
        let beside = Beside::new(destination)?;
        fs::create_dir(&beside.temporary).map_err(beside.failed("create"))?;
        let skipped = Tree::new(view, &beside.temporary, times, cancel).write(true)?;
        beside.rename()?;
        return Ok(Exported {
            skipped,
            ..Exported::default()
        });
    }
    // The directory itself is the caller's: its owner and mode stay.
    let skipped = Tree::new(view, destination, times, cancel).write(false)?;
    Ok(Exported {
        skipped,
        is_merged: !is_vacant,
        ..Exported::default()
    })
}

/// Writes a file that its owner alone reads.
pub(super) fn write_private(path: &Path, bytes: &[u8], epoch: i64) -> Result<(), ExportError> {
    // One from an earlier export is replaced, and a link is not followed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("replace", path)(error));
        }
        _ => {}
    }
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(failed("create", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    let time = Timespec {
        tv_sec: epoch,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("set the time of", path)(errno.into()))
}

/// What times files get.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// Seconds since 1970 that later times are set back to, and that stand for those which say
    /// only when a file was made here.
    pub epoch: Option<i64>,
    /// Whether later times that a file came with stay.
    pub keeps: bool,
}

struct Tree<'a> {
    view: &'a LayeredView,
    root: &'a Path,
    times: Times,
    cancel: &'a Cancel,
    /// The first name of files that have several.
    first_names: HashMap<cairn_store::HardlinkId, PathBuf>,
    skipped: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    fn new(view: &'a LayeredView, root: &'a Path, times: Times, cancel: &'a Cancel) -> Self {
        Self {
            view,
            root,
            times,
            cancel,
            first_names: HashMap::new(),
            skipped: Vec::new(),
        }
    }

    fn write(mut self, with_root: bool) -> Result<Vec<PathBuf>, ExportError> {
        // Directories get their times last: writing into them changes those.
        let mut directories = Vec::new();
        let mut open = vec![PathBuf::from("/")];
        while let Some(path) = open.pop() {
            for (_, entry) in self.view.read_dir(&path)? {
                let target = self.host_path(&entry.path);
                if entry.kind == EntryKind::Directory {
                    // Its own mode follows when its files are in place.
                    make_directory(&target)?;
                    open.push(entry.path.clone());
                    directories.push(entry);
                } else {
                    self.file(&entry, &target)?;
                }
            }
        }
        let root = self.view.lookup(Path::new("/"))?;
        if let Some(root) = root.filter(|_| with_root) {
            directories.insert(0, root);
        }
        for entry in directories.iter().rev() {
            let target = self.host_path(&entry.path);
            self.attributes(entry, &target)?;
        }
        Ok(self.skipped)
    }

    /// The path below the root. Entries of a view are literal paths: no link is in between,
    /// because what stands there was made by us from the same view.
    fn host_path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn file(&mut self, entry: &Entry, target: &Path) -> Result<(), ExportError> {
        go_on(self.cancel).map_err(failed("write", target))?;
        self.make_room(target)?;
        if let Some(link) = entry.hardlink {
            if let Some(first) = self.first_names.get(&link) {
                return fs::hard_link(first, target).map_err(failed("link", target));
            }
            self.first_names.insert(link, target.to_owned());
        }
        let is_made = match entry.kind {
            EntryKind::Directory => true,
            EntryKind::File => {
                let mut source = Stoppable {
                    inner: self.view.open(entry)?,
                    cancel: self.cancel,
                };
                let mut file = File::create_new(target).map_err(failed("create", target))?;
                io::copy(&mut source, &mut file).map_err(failed("write", target))?;
                true
            }
            EntryKind::Symlink => {
                let link = self.view.read_link(entry)?;
                symlinkat(&link, CWD, target)
                    .map_err(|errno| failed("create", target)(errno.into()))?;
                true
            }
            EntryKind::Fifo => special(target, FileType::Fifo, entry),
            EntryKind::Socket => special(target, FileType::Socket, entry),
            EntryKind::CharDevice => special(target, FileType::CharacterDevice, entry),
            EntryKind::BlockDevice => special(target, FileType::BlockDevice, entry),
        };
        if !is_made {
            self.skipped.push(entry.path.clone());
            return Ok(());
        }
        self.attributes(entry, target)
    }

    /// Removes what stands in the way when merging.
    fn make_room(&self, target: &Path) -> Result<(), ExportError> {
        match fs::symlink_metadata(target) {
            Ok(found) if found.is_dir() => {
                fs::remove_dir_all(target).map_err(failed("replace", target))
            }
            Ok(_) => fs::remove_file(target).map_err(failed("replace", target)),
            Err(_) => Ok(()),
        }
    }

    fn attributes(&mut self, entry: &Entry, target: &Path) -> Result<(), ExportError> {
        let denied = |error: &rustix::io::Errno| {
            matches!(
                *error,
                rustix::io::Errno::PERM | rustix::io::Errno::INVAL | rustix::io::Errno::NOTSUP
            )
        };
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let owned = chownat(CWD, target, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        if let Err(errno) = owned
            && !denied(&errno)
        {
            return Err(failed("change the owner of", target)(errno.into()));
        }
        for (name, value) in self.view.xattrs(entry)? {
            let set = lsetxattr(target, name.as_os_str(), &value, XattrFlags::empty());
            if let Err(errno) = set
                && !denied(&errno)
            {
                return Err(failed("set an attribute of", target)(errno.into()));
            }
        }
        if entry.kind != EntryKind::Symlink {
            // After the owner: changing that clears setuid bits.
            chmodat(
                CWD,
                target,
                Mode::from_raw_mode(entry.mode),
                AtFlags::empty(),
            )
            .map_err(|errno| failed("change the mode of", target)(errno.into()))?;
        }
        let is_late = |epoch| entry.mtime.0 >= epoch && !self.times.keeps;
        let time = match self.times.epoch {
            Some(epoch) if entry.is_new || is_late(epoch) => Timespec {
                tv_sec: epoch,
                tv_nsec: 0,
            },
            _ => Timespec {
                tv_sec: entry.mtime.0,
                tv_nsec: entry.mtime.1.into(),
            },
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", target)(errno.into()))
    }
}

fn make_directory(target: &Path) -> Result<(), ExportError> {
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(target).map_err(failed("replace", target))?,
        Err(_) => {}
    }
    fs::create_dir(target).map_err(failed("create", target))
}

/// Makes a special file; not being allowed to is no error.
fn special(target: &Path, kind: FileType, entry: &Entry) -> bool {
    let (major, minor) = entry.rdev;
    let mode = Mode::from_raw_mode(entry.mode);
    mknodat(CWD, target, kind, mode, makedev(major, minor)).is_ok()
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Write {
        doing,
        path,
        source,
    }
}
