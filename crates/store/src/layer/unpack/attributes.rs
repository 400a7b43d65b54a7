//! What an entry is like: its owner, mode, times and attributes.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::tar_read::ReadEntry;
use super::{Directory, Unpacker};
use crate::error::{At, StoreError};
use crate::side::{OWNER_ATTRIBUTE, is_private_attribute};
use crate::store::Ownership;

impl Unpacker<'_> {
    pub(super) fn set_directory(
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

    pub(super) fn set_owner(
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
    pub(super) fn set_directory_times(&self) {
        for (path, mtime) in &self.directory_times {
            if let Ok(directory) = self.open_plain_directory(path) {
                let here = OsStr::new(".");
                let _ = set_times(directory.handle.as_fd(), here, *mtime);
            }
        }
    }
}

/// Whether something is a regular file or a directory on the host, and so can carry attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsPlain {
    Yes,
    No,
}

/// Sets the attributes that a layer may bring.
///
/// Those of the kernel's own (`security.*`, `system.*`) are kept where this process is permitted.
pub(super) fn set_attributes(
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

pub(super) fn set_times(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    mtime: (i64, u32),
) -> rustix::io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(directory, name, &timestamps(mtime), flags)
}

pub(super) fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
