//! Mount points and other additions as layers of their own, so that nothing of them ever lands in
//! the upper.
//!
//! A missing mount point goes into the layer *under* the image, where it changes nothing that the
//! image has. Where the image hides that layer (a whiteout, an opaque directory), it goes into the
//! layer *over* the image; the directories on the way there take the image's own attributes, which
//! is what copying one up would carry on.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fgetxattr, flistxattr, mkdirat, openat, setxattr, statat, utimensat,
};
use rustix::io::Errno;

use super::scratch::Scratch;
use crate::locate::{self, components};

/// The two layers while they are being filled.
pub(crate) struct Stubs {
    under: PathBuf,
    over: PathBuf,
    placed_under: BTreeSet<PathBuf>,
    /// What exists in `over` and has a model in the image, with the model's times; shallow before
    /// deep.
    modelled: Vec<(PathBuf, Timestamps)>,
}

impl Stubs {
    pub(crate) fn new(scratch: &Scratch) -> Stubs {
        let (under, over) = (scratch.under(), scratch.over());
        Stubs {
            under,
            over,
            placed_under: BTreeSet::new(),
            modelled: Vec::new(),
        }
    }

    /// Whether the layer over the image is needed at all.
    pub(crate) fn uses_over(&self) -> bool {
        !self.modelled.is_empty()
    }

    /// Makes a mount point in the layer under the image.
    pub(crate) fn add_under(&mut self, path: &Path, directory: bool) -> Result<(), Errno> {
        make_chain(&self.under, path, directory)?;
        self.placed_under.insert(path.to_owned());
        Ok(())
    }

    /// Makes a mount point that `image` does not show, wherever it will be seen.
    pub(crate) fn place(
        &mut self,
        image: BorrowedFd<'_>,
        path: &Path,
        directory: bool,
    ) -> Result<(), Errno> {
        if !self.placed_under.contains(path) {
            return self.add_under(path, directory);
        }
        self.model_parents(image, path)?;
        make_chain(&self.over, path, directory)
    }

    /// Puts a changed copy of one of the image's files over it, with the attributes it has.
    pub(crate) fn replace_file(
        &mut self,
        image: BorrowedFd<'_>,
        path: &Path,
        content: &[u8],
    ) -> Result<(), Errno> {
        self.model_parents(image, path)?;
        make_chain(&self.over, path, false)?;
        std::fs::write(self.over.join(path), content).map_err(super::scratch::errno_of)?;
        self.model(image, path)
    }

    /// Gives everything that has a model its model's times. To be called once, last: making an
    /// entry changes its parent's.
    pub(crate) fn finish(&self) -> Result<(), Errno> {
        for (path, times) in self.modelled.iter().rev() {
            utimensat(CWD, self.over.join(path), times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Models every directory above `path` that the image has.
    fn model_parents(&mut self, image: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents {
            if self.modelled.iter().any(|(known, _)| known == parent) {
                continue;
            }
            match locate::open(image, parent) {
                Ok(_) => {
                    make_chain(&self.over, parent, true)?;
                    self.model(image, parent)?;
                }
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Gives one entry the attributes that the image shows for it now, before it is covered.
    fn model(&mut self, image: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
        let times = copy_attributes(image, path, &self.over.join(path))?;
        self.modelled.push((path.to_owned(), times));
        Ok(())
    }
}

/// Gives a directory in memory the attributes of the image's root.
pub(crate) fn copy_root_attributes(image: BorrowedFd<'_>, to: &Path) -> Result<(), Errno> {
    copy_attributes(image, Path::new(""), to).map(drop)
}

/// Makes `path` below `base`, and what is missing on the way.
fn make_chain(base: &Path, path: &Path, directory: bool) -> Result<(), Errno> {
    let names = components(path);
    let mut at = crate::mount::open_path(base)?;
    for (i, name) in names.iter().enumerate() {
        let is_last = i + 1 == names.len();
        if is_last && !directory {
            return make_file(&at, name);
        }
        match mkdirat(&at, name.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = openat(&at, name.as_os_str(), flags, Mode::empty())?;
    }
    Ok(())
}

/// Makes a mount point through a tree that is already mounted, where a mount put there earlier
/// lacks it.
pub(crate) fn make_in(
    root: BorrowedFd<'_>,
    path: &Path,
    directory: bool,
) -> Result<OwnedFd, Errno> {
    let mut at = locate::open(root, Path::new(""))?;
    let names = components(path);
    for (i, name) in names.iter().enumerate() {
        if i + 1 == names.len() && !directory {
            make_file(&at, name)?;
            break;
        }
        match mkdirat(&at, name.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let so_far: PathBuf = names.iter().take(i + 1).collect();
        at = locate::open(root, &so_far)?;
    }
    locate::open(root, path)
}

fn make_file(dir: &OwnedFd, name: &std::ffi::OsStr) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// Copies everything but the times, which it returns.
fn copy_attributes(image: BorrowedFd<'_>, path: &Path, to: &Path) -> Result<Timestamps, Errno> {
    let from = locate::open_file(image, path)?;
    let stat = statat(&from, c"", AtFlags::EMPTY_PATH)?;
    // An id that is not mapped here cannot be set; the file then keeps ours.
    let _ = chownat(
        CWD,
        to,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    );
    chmodat(
        CWD,
        to,
        Mode::from_raw_mode(stat.st_mode & 0o7777),
        AtFlags::empty(),
    )?;
    copy_xattrs(&from, to);
    Ok(times_of(&stat))
}

// The fields' types differ between architectures.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    clippy::cast_possible_wrap
)]
fn times_of(stat: &rustix::fs::Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

/// Attributes in memory need Linux 6.6; without them nothing but a recorded owner is lost.
fn copy_xattrs(from: &OwnedFd, to: &Path) {
    let mut names = vec![0u8; 64 << 10];
    let Ok(length) = flistxattr(from, &mut names) else {
        return;
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let wanted = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        let mut value = vec![0u8; 64 << 10];
        let name = std::ffi::OsStr::from_bytes(name);
        if wanted && let Ok(length) = fgetxattr(from.as_fd(), name, &mut value) {
            let _ = setxattr(to, name, &value[..length], XattrFlags::empty());
        }
    }
}
