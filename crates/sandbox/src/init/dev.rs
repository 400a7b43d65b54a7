//! `/dev`: a small one of our own, with the devices that every container has.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::attach_found;
use super::pseudo::directory;
use super::scratch::errno_of;
use crate::enter::Privilege;
use crate::error::{At, Failure, Step};
use crate::interrupt::last_errno;
use crate::locate;
use crate::mount::{NewFs, attach, clone_path, tmpfs};
use crate::sandbox::Security;

const DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// What an unconfined program gets of the host's devices beside, as with BuildKit, and every `loop`.
const UNCONFINED: &[&str] = &["cuse", "fuse", "kmsg", "kvm", "loop-control", "net/tun"];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

const QUIET: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const HARMLESS: MountAttrFlags = QUIET.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// What differs between one `/dev` and another.
pub(crate) struct Dev<'a> {
    pub(crate) privilege: Privilege,
    pub(crate) security: Security,
    /// The size of `/dev/shm`; without one, it is a plain directory to be mounted over.
    pub(crate) shm_bytes: Option<u64>,
    /// Files below `/dev` that the environment points to, by their paths inside.
    pub(crate) files: &'a [(&'static str, &'a [u8])],
}

pub(crate) fn mount_dev(root: BorrowedFd<'_>, dev: &Dev<'_>) -> Result<(), Failure> {
    let tree = tmpfs(Some(16 << 20), 0o755, QUIET).at(Step::Dev)?;
    attach_found(root, &directory("dev"), &tree, Step::Dev)?;
    let umask = rustix::process::umask(Mode::empty());
    for (name, major, minor) in DEVICES {
        let subject = PathBuf::from(format!("/dev/{name}"));
        make_device(&tree, name, *major, *minor).at_path(Step::Dev, &subject)?;
    }
    if dev.security == Security::Insecure {
        for name in unconfined() {
            let subject = Path::new("/dev").join(&name);
            show_device(&tree, &name).at_path(Step::Dev, &subject)?;
        }
    }
    rustix::process::umask(umask);
    for (name, target) in LINKS {
        symlinkat(*target, &tree, *name).at(Step::Dev)?;
    }
    mount_below(&tree, "pts", terminals(dev.privilege))?;
    match dev.shm_bytes {
        Some(bytes) => mount_below(&tree, "shm", tmpfs(Some(bytes), 0o1777, HARMLESS))?,
        None => mkdirat(&tree, "shm", Mode::from_raw_mode(0o1777)).at(Step::Dev)?,
    }
    let queues = NewFs::open("mqueue").and_then(|fs| fs.mount(HARMLESS));
    // A kernel may be built without message queues.
    if !matches!(queues, Err(Errno::NODEV)) {
        mount_below(&tree, "mqueue", queues)?;
    }
    dev.files
        .iter()
        .try_for_each(|(path, content)| write_file(root, Path::new(path), content))
}

/// Makes the device, or shows the host's where making devices is not ours to do.
fn make_device(dev: &OwnedFd, name: &str, major: u32, minor: u32) -> Result<(), Errno> {
    let kind = FileType::CharacterDevice;
    match mknodat(
        dev,
        name,
        kind,
        Mode::from_raw_mode(0o666),
        makedev(major, minor),
    ) {
        Ok(()) => return Ok(()),
        Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    show_device(dev, Path::new(name))
}

/// Shows the host's device at the same place.
fn show_device(dev: &OwnedFd, name: &Path) -> Result<(), Errno> {
    if let Some(parent) = name.parent().filter(|it| *it != Path::new("")) {
        mkdirat(dev, parent, Mode::from_raw_mode(0o755))?;
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(openat(dev, name, flags, Mode::from_raw_mode(0o666))?);
    let target = openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    attach(clone_path(&Path::new("/dev").join(name))?, target)
}

/// The devices for an unconfined program that the host has.
fn unconfined() -> Vec<PathBuf> {
    let is_loop = |name: &str| {
        let number = name.strip_prefix("loop");
        number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = std::fs::read_dir("/dev").into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<PathBuf> = names.filter(|name| is_loop(name)).map(Into::into).collect();
    let there = |name: &&Path| Path::new("/dev").join(name).exists();
    let fixed = UNCONFINED.iter().map(Path::new);
    found.extend(fixed.filter(there).map(Path::to_owned));
    found
}

/// Terminals of our own. Group 5 is `tty` everywhere, where that group exists for us.
fn terminals(privilege: Privilege) -> Result<OwnedFd, Errno> {
    let mount = |with_group: bool| {
        let fs = NewFs::open("devpts")?;
        fs.flag("newinstance").or_else(|errno| {
            // Newer kernels have nothing but new instances and dropped the word.
            if errno == Errno::INVAL {
                Ok(())
            } else {
                Err(errno)
            }
        })?;
        fs.set("ptmxmode", "0666")?;
        fs.set("mode", "0620")?;
        if with_group {
            fs.set("gid", "5")?;
        }
        fs.mount(QUIET)
    };
    match privilege {
        Privilege::SingleId => mount(false),
        Privilege::Root | Privilege::SubuidRange => mount(true).or_else(|_| mount(false)),
    }
}

fn mount_below(dev: &OwnedFd, name: &str, mount: Result<OwnedFd, Errno>) -> Result<(), Failure> {
    let subject = Path::new("/dev").join(name);
    let place = || {
        mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
        let target = openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        attach(mount?, target)
    };
    place().at_path(Step::Dev, &subject)
}

fn write_file(root: BorrowedFd<'_>, path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || {
        let dev = locate::open(root, Path::new("dev"))?;
        let base = PathBuf::from(format!("/proc/self/fd/{}", dev.as_raw_fd()));
        let inside = base.join(path.strip_prefix("/dev").unwrap_or(path));
        let parent = inside.parent().unwrap_or(&base);
        std::fs::create_dir_all(parent).map_err(errno_of)?;
        std::fs::write(&inside, content).map_err(errno_of)
    };
    write().at_path(Step::Dev, path)
}

/// A terminal pair of the sandbox's own.
pub(crate) struct Terminal {
    /// The caller's end.
    pub(crate) controller: OwnedFd,
    /// The program's end.
    pub(crate) program: OwnedFd,
}

/// Opens a pair and shows the program's end as `/dev/console` too.
pub(crate) fn open_terminal(root: BorrowedFd<'_>) -> Result<Terminal, Failure> {
    let open = || {
        let ptmx = locate::open(root, Path::new("dev/pts/ptmx"))?;
        let path = format!("/proc/self/fd/{}", ptmx.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let controller = rustix::fs::open(path, flags, Mode::empty())?;
        rustix::pty::unlockpt(&controller)?;
        let program = peer_of(controller.as_fd())?;
        let name = rustix::pty::ptsname(&controller, Vec::new())?;
        let inside = name.to_string_lossy().into_owned();
        let shown = locate::open(root, Path::new(inside.trim_start_matches('/')))?;
        let console = locate::open(root, Path::new("dev"))?;
        let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(
            &console,
            "console",
            create,
            Mode::from_raw_mode(0o620),
        )?);
        let console = locate::open(root, Path::new("dev/console"))?;
        attach(crate::mount::clone_fd(shown)?, console)?;
        Ok(Terminal {
            controller,
            program,
        })
    };
    open().at(Step::Terminal)
}

/// Opens the other end without a path, which another mount could have covered.
fn peer_of(controller: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open; TIOCGPTPEER takes open flags as a plain number.
    let fd = unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call gave this descriptor to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
