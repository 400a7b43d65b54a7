//! Putting things there: files, links, devices and directories, in place of what an earlier entry
//! of the same name was.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::super::tar_read::{ReadEntry, ReadKind};
use super::attributes::{IsPlain, set_attributes, set_times, timestamps};
use super::walk::Existing;
use super::{Directory, Unpacker, clean, refuse};
use crate::error::{At, StoreError};
use crate::snapshot::DeviceKind;
use crate::store::Ownership;

impl Unpacker<'_> {
    pub(super) fn put(
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
}
