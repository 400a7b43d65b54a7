//! This program, in a form that what runs inside cannot write to.
//!
//! The first process inside executes our own binary. A hostile image can make a process of its own
//! do the same (`#!/proc/self/exe`) and then open that file for writing. So it is executed from a
//! read-only mount of it, or, where that cannot be had, from a sealed copy in memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, statat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::error::{SandboxError, host};
use crate::mount::{clone_path, restrict};

const FIRST_NUMBER: i32 = 100;

/// Made once for each program and kept; there is one program, except in tests.
static PROTECTED: Mutex<Vec<(PathBuf, Arc<OwnedFd>)>> = Mutex::new(Vec::new());

pub(crate) fn protected(exe: &Path) -> Result<Arc<OwnedFd>, SandboxError> {
    let mut known = PROTECTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, fd)) = known.iter().find(|(path, _)| path == exe) {
        return Ok(Arc::clone(fd));
    }
    let fd = read_only_mount(exe)
        .or_else(|_| sealed_copy(exe))
        // The low numbers are where a new process expects other things.
        .and_then(|fd| rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_NUMBER))
        .map_err(host(format!("protecting {}", exe.display())))?;
    let fd = Arc::new(fd);
    known.push((exe.to_owned(), Arc::clone(&fd)));
    Ok(fd)
}

fn read_only_mount(exe: &Path) -> Result<OwnedFd, Errno> {
    // `/proc/self/exe` leads into the mount namespace we came from; its text leads into ours.
    let path = std::fs::read_link(exe).unwrap_or_else(|_| exe.to_owned());
    let tree = clone_path(&path)?;
    if !is_same_file(tree.as_fd(), exe)? {
        return Err(Errno::STALE);
    }
    restrict(&tree, MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
    Ok(tree)
}

fn is_same_file(tree: BorrowedFd<'_>, exe: &Path) -> Result<bool, Errno> {
    let a = statat(tree, c"", AtFlags::EMPTY_PATH)?;
    let b = rustix::fs::stat(exe)?;
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn sealed_copy(exe: &Path) -> Result<OwnedFd, Errno> {
    let of = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let copy = memfd_create(c"cairn", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut writer = File::from(copy.try_clone().map_err(of)?);
    io::copy(&mut File::open(exe).map_err(of)?, &mut writer).map_err(of)?;
    drop(writer);
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals)?;
    // Executing a file that is open for writing is refused, so it is opened once more.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    crate::mount::open_path(Path::new(&path))
}
