//! Mounts as descriptors: made, configured, cloned and attached by the new mount API.
//!
//! A mount that is made here is attached nowhere until [`attach`]; dropping its descriptor undoes
//! it. Nothing in this file knows what a sandbox is.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::interrupt::last_errno;

/// A file system being configured.
pub(crate) struct NewFs {
    context: OwnedFd,
}

impl NewFs {
    pub(crate) fn open(kind: &str) -> Result<NewFs, Errno> {
        Ok(NewFs {
            context: fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?,
        })
    }

    pub(crate) fn set<V: rustix::path::Arg>(&self, key: &str, value: V) -> Result<(), Errno> {
        fsconfig_set_string(&self.context, key, value)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<(), Errno> {
        fsconfig_set_flag(&self.context, key)
    }

    pub(crate) fn mount(&self, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
        fsconfig_create(&self.context)?;
        fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    /// What the kernel has to say about the last failure, beyond its error number.
    pub(crate) fn messages(&self) -> Option<String> {
        let mut lines = Vec::new();
        let mut buffer = [0u8; 512];
        // The log of a context holds at most eight messages, one to a read.
        for _ in 0..8 {
            let Ok(length) = rustix::io::read(&self.context, &mut buffer) else {
                break;
            };
            let line = String::from_utf8_lossy(&buffer[..length]);
            // Each begins with its severity: "e overlay: ...".
            lines.push(line.trim_end().get(2..).unwrap_or_default().to_owned());
        }
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

/// A file system in memory. Its root has the given permission bits.
pub(crate) fn tmpfs(
    size_bytes: Option<u64>,
    mode: u32,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let fs = NewFs::open("tmpfs")?;
    // What `mount` prints in the first column; without it, "none".
    fs.set("source", "tmpfs")?;
    fs.set("mode", format!("{mode:o}"))?;
    if let Some(size) = size_bytes {
        fs.set("size", size.to_string())?;
    }
    fs.mount(attributes)
}

/// A second mount of what `path` shows, with everything mounted below it. Recursive because the
/// kernel refuses to uncover what a more privileged namespace has covered.
pub(crate) fn clone_path(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
}

/// The same for what a descriptor stands for.
pub(crate) fn clone_fd(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, c"", flags)
}

/// Attaches a mount over what `target` stands for.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Attaches a mount at a path of the caller's own mount namespace.
pub(crate) fn attach_at(mount: impl AsFd, path: &Path) -> Result<(), Errno> {
    move_mount(
        mount,
        c"",
        CWD,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Adds attributes (read-only, no devices ...) to a mount, or to it and all below it.
pub(crate) fn restrict(
    mount: impl AsFd,
    attributes: MountAttrFlags,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    mount_setattr(mount.as_fd(), c"", flags, &attr)
}

/// rustix has no `mount_setattr` yet.
fn mount_setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    attr: &libc::mount_attr,
) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, the path ends with a zero byte, and `attr` is a live
    // `mount_attr` of the size given; the kernel only reads them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// A descriptor that stands for a path and allows nothing else.
pub(crate) fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
