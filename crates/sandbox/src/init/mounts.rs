//! The mounts that the caller asked for.
//!
//! Each becomes a tree that is attached nowhere before the root is assembled, because what it is
//! (a file, a directory) decides which mount point it needs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, Uid, chmodat, chown, fstat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::attach_found;
use super::root::Target;
use super::scratch::{Scratch, errno_of};
use crate::error::{At, Failure, Step};
use crate::locate;
use crate::mount::{attach_at, clone_fd, clone_path, restrict, tmpfs};
use crate::overlay::{Upper, assemble};
use crate::sandbox::Mount;

/// A mount ready to be attached.
pub(crate) struct Prepared {
    pub(crate) target: Target,
    tree: OwnedFd,
}

pub(crate) fn prepare(mount: &Mount, scratch: &mut Scratch) -> Result<Prepared, Failure> {
    let target = target_of(mount);
    let tree = tree_of(mount, scratch).map_err(|failure| about(failure, target))?;
    let directory = is_directory(tree.as_fd()).at_path(Step::Mount, target)?;
    Ok(Prepared {
        target: Target {
            path: target.to_owned(),
            directory,
        },
        tree,
    })
}

pub(crate) fn attach_prepared(root: BorrowedFd<'_>, prepared: &Prepared) -> Result<(), Failure> {
    attach_found(root, &prepared.target, &prepared.tree, Step::Mount)
}

fn target_of(mount: &Mount) -> &Path {
    match mount {
        Mount::Bind { target, .. }
        | Mount::BindDiscard { target, .. }
        | Mount::Layers { target, .. }
        | Mount::Tmpfs { target, .. }
        | Mount::File { target, .. } => target,
    }
}

fn tree_of(mount: &Mount, scratch: &mut Scratch) -> Result<OwnedFd, Failure> {
    match mount {
        Mount::Bind {
            source, read_only, ..
        } => bind(source, *read_only),
        Mount::BindDiscard { source, .. } => bind_discard(source, scratch),
        Mount::Layers {
            lowers,
            subpath,
            read_only,
            ..
        } => layers(lowers, subpath, *read_only, scratch),
        Mount::Tmpfs {
            size_bytes, mode, ..
        } => {
            // The flags that BuildKit gives it: devices cannot be made inside anyway.
            tmpfs(*size_bytes, *mode, MountAttrFlags::MOUNT_ATTR_NOSUID).at(Step::Mount)
        }
        Mount::File {
            content,
            mode,
            uid,
            gid,
            ..
        } => secret(content, *mode, (*uid, *gid), scratch),
    }
}

fn bind(source: &Path, read_only: bool) -> Result<OwnedFd, Failure> {
    let tree = clone_path(source).at_path(Step::Mount, source)?;
    if read_only {
        restrict(&tree, MountAttrFlags::MOUNT_ATTR_RDONLY, true).at_path(Step::Mount, source)?;
    }
    Ok(tree)
}

fn bind_discard(source: &Path, scratch: &mut Scratch) -> Result<OwnedFd, Failure> {
    let metadata = std::fs::metadata(source)
        .map_err(errno_of)
        .at_path(Step::Mount, source)?;
    if metadata.is_dir() {
        return discarding(&[scratch.empty(), source.to_owned()], scratch);
    }
    let content = std::fs::read(source)
        .map_err(errno_of)
        .at_path(Step::Mount, source)?;
    let copy = scratch.file(&content)?;
    std::fs::set_permissions(&copy, metadata.permissions())
        .map_err(errno_of)
        .at_path(Step::Mount, source)?;
    clone_path(&copy).at_path(Step::Mount, source)
}

fn layers(
    lowers: &[PathBuf],
    subpath: &Path,
    read_only: bool,
    scratch: &mut Scratch,
) -> Result<OwnedFd, Failure> {
    // Without an upper overlayfs wants two lowers.
    let mut padded = vec![scratch.empty(), scratch.directory()?];
    padded.extend_from_slice(lowers);
    let lowers = padded;
    let whole = if read_only {
        assemble(&lowers, None, &scratch.root())?
    } else {
        discarding(&lowers, scratch)?
    };
    if locate::lexical(subpath).as_os_str().is_empty() {
        return Ok(whole);
    }
    // Before Linux 6.15 a part can be cloned only from a mount that is attached somewhere.
    let place = scratch.directory()?;
    attach_at(&whole, &place).at(Step::Mount)?;
    let part = || {
        let location = locate::locate(whole.as_fd(), subpath)?;
        clone_fd(locate::open(whole.as_fd(), &location.path)?)
    };
    part().at_path(Step::Mount, subpath)
}

/// An overlay whose writes go to memory.
fn discarding(lowers: &[PathBuf], scratch: &mut Scratch) -> Result<OwnedFd, Failure> {
    let (upper, work) = (scratch.directory()?, scratch.directory()?);
    if let Some(top) = lowers.last()
        && let Ok(metadata) = std::fs::metadata(top)
    {
        // The upper's root is the root that is seen.
        let _ = std::fs::set_permissions(&upper, metadata.permissions());
    }
    assemble(
        lowers,
        Some(Upper {
            upper: &upper,
            work: &work,
        }),
        &scratch.root(),
    )
}

fn secret(
    content: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
    scratch: &mut Scratch,
) -> Result<OwnedFd, Failure> {
    let path = scratch.file(content)?;
    let settle = || {
        match chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
            // An id that does not exist here: the one user that does is the reader.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        let flags = rustix::fs::AtFlags::empty();
        chmodat(rustix::fs::CWD, &path, Mode::from_raw_mode(mode), flags)?;
        clone_path(&path)
    };
    settle().at(Step::Mount)
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode).is_dir())
}

/// Adds what the mount was for, which the step below did not know.
fn about(failure: Failure, target: &Path) -> Failure {
    match failure {
        Failure::Setup {
            step,
            subject,
            hint: None,
            errno,
        } => {
            let hint = Some(format!("to be mounted at {}", target.display()));
            Failure::Setup {
                step,
                subject,
                hint,
                errno,
            }
        }
        other => other,
    }
}
