//! `/proc` and `/sys`: what the kernel shows, and what of it is hidden or read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::attach_found;
use super::root::Target;
use super::scratch::errno_of;
use crate::error::{At, Failure, Step};
use crate::filesystem;
use crate::locate;
use crate::mount::{NewFs, attach, clone_fd, clone_path, restrict, tmpfs};
use crate::sandbox::Security;

/// Hidden by something empty, as Docker does: they tell about the host or give a way to it.
const MASKED: &[&str] = &[
    "proc/asound",
    "proc/acpi",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

/// Visible but not writable, as Docker does.
const READ_ONLY: &[&str] = &[
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

const HARMLESS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// The processes of the new pid namespace.
///
/// A kernel that hides parts of the outer `/proc` (inside other containers) does not let an
/// ordinary user mount a full one; then the outer one is shown, processes and all.
pub(crate) fn mount_proc(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let proc = NewFs::open("proc")
        .and_then(|fs| fs.mount(HARMLESS))
        .or_else(|_| clone_path(Path::new("/proc")))
        .at(Step::Proc)?;
    attach_found(root, &directory("proc"), &proc, Step::Proc)
}

/// The devices of the kernel: a new instance where the network namespace is ours to show, else
/// the outer one.
pub(crate) fn mount_sys(root: BorrowedFd<'_>, security: Security) -> Result<(), Failure> {
    let access = match security {
        Security::Default => HARMLESS | MountAttrFlags::MOUNT_ATTR_RDONLY,
        Security::Insecure => HARMLESS,
    };
    let sys = NewFs::open("sysfs")
        .and_then(|fs| fs.mount(access))
        .or_else(|_| {
            let outer = clone_path(Path::new("/sys"))?;
            restrict(&outer, access, true)?;
            Ok(outer)
        });
    attach_found(root, &directory("sys"), &sys.at(Step::Sys)?, Step::Sys)?;
    mount_cgroup(root, access)
}

/// The hierarchies as seen from the new cgroup namespace: the unified one, or a folder for each of
/// the old ones.
fn mount_cgroup(root: BorrowedFd<'_>, access: MountAttrFlags) -> Result<(), Failure> {
    let outer = Path::new("/sys/fs/cgroup");
    let place = Path::new("sys/fs/cgroup");
    let Ok(target) = locate::open(root, place) else {
        return Ok(());
    };
    if !filesystem::kind_of(outer).is_some_and(filesystem::Kind::is_cgroup2) {
        // Programs that find no limits there go without; that is no reason to fail.
        let _ = mount_old_cgroups(root, place, target, access);
        return Ok(());
    }
    let cgroup = NewFs::open("cgroup2")
        .and_then(|fs| fs.mount(access))
        .or_else(|_| {
            let outer = clone_path(outer)?;
            restrict(&outer, access, true)?;
            Ok(outer)
        });
    attach(cgroup.at(Step::Sys)?, target).at(Step::Sys)
}

/// A folder for each hierarchy of the old kind, with the files of the namespace's root.
fn mount_old_cgroups(
    root: BorrowedFd<'_>,
    place: &Path,
    target: OwnedFd,
    access: MountAttrFlags,
) -> Result<(), Errno> {
    let own = std::fs::read_to_string("/proc/self/cgroup").map_err(errno_of)?;
    let folders = tmpfs(None, 0o755, HARMLESS)?;
    let lists: Vec<&str> = own
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .filter(|list| !list.is_empty() && !list.starts_with("name="))
        .collect();
    for list in &lists {
        rustix::fs::mkdirat(&folders, *list, rustix::fs::Mode::from_raw_mode(0o755))?;
    }
    restrict(&folders, access, false)?;
    attach(folders, target)?;
    for list in lists {
        let hierarchy = NewFs::open("cgroup")?;
        for controller in list.split(',') {
            hierarchy.flag(controller)?;
        }
        let tree = hierarchy.mount(access)?;
        attach(tree, locate::open(root, &place.join(list))?)?;
    }
    Ok(())
}

/// Hides what Docker hides. What does not exist needs no hiding.
pub(crate) fn mask(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let nothing = tmpfs(Some(0), 0o755, HARMLESS | MountAttrFlags::MOUNT_ATTR_RDONLY);
    let nothing = nothing.at(Step::Mask)?;
    let null =
        locate::open(root, Path::new("dev/null")).at_path(Step::Mask, Path::new("dev/null"))?;
    for path in MASKED.iter().map(Path::new) {
        mask_one(root, path, &nothing, &null).at_path(Step::Mask, path)?;
    }
    for path in READ_ONLY.iter().map(Path::new) {
        make_read_only(root, path).at_path(Step::Mask, path)?;
    }
    Ok(())
}

fn mask_one(
    root: BorrowedFd<'_>,
    path: &Path,
    nothing: &OwnedFd,
    null: &OwnedFd,
) -> Result<(), Errno> {
    let Some(target) = existing(root, path)? else {
        return Ok(());
    };
    let is_directory = rustix::fs::fstat(&target)
        .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())?;
    if is_directory {
        // Each use takes a mount of its own; the file system behind them is one.
        return attach_copy(nothing, target);
    }
    attach(clone_fd(null)?, target)
}

/// Before Linux 6.15 only attached mounts can be cloned, so a detached one is made anew there.
fn attach_copy(nothing: &OwnedFd, target: OwnedFd) -> Result<(), Errno> {
    match clone_fd(nothing) {
        Ok(copy) => attach(copy, target),
        Err(_) => {
            let access = HARMLESS | MountAttrFlags::MOUNT_ATTR_RDONLY;
            attach(tmpfs(Some(0), 0o755, access)?, target)
        }
    }
}

fn make_read_only(root: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let Some(target) = existing(root, path)? else {
        return Ok(());
    };
    let copy = clone_fd(target.as_fd())?;
    restrict(&copy, HARMLESS | MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
    attach(copy, target)
}

fn existing(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    match locate::open(root, path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn directory(path: &str) -> Target {
    Target {
        path: path.into(),
        directory: true,
    }
}

pub(crate) fn file(path: &str) -> Target {
    Target {
        path: path.into(),
        directory: false,
    }
}
