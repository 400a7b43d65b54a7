//! The first process inside: builds the new root, starts the program, reaps and supervises.
//!
//! It was executed by `spawn` in a new pid namespace, has one thread, and finds its descriptors at
//! fixed places. What fails is reported to the caller by step; the process then ends, and with it,
//! as it is the first of its namespace, everything inside.

mod bundles;
mod command;
mod dev;
mod environment;
mod etc;
mod exec;
mod mounts;
mod namespaces;
mod own_namespace;
mod pseudo;
mod reaper;
mod root;
pub(crate) mod scratch;
mod stubs;
mod supervisor;

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::{Errno, FdFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::channel::{Channel, Report};
use crate::enter::{Privilege, privilege};
use crate::error::{At, Failure, Step};
use crate::locate::{self, Kind};
use crate::mount::attach;
use crate::sandbox::{Sandbox, Security, Stdin};

/// The name by which [`crate::dispatch`] knows this role.
pub(crate) const ROLE: &std::ffi::CStr = c"cairn-sandbox-init";

/// Where `run` puts the descriptors, after the three standard ones.
const CONTROL: i32 = 3;
const REQUEST: i32 = 4;
const FIRST_CGROUP: i32 = 5;

pub(crate) fn main() -> ! {
    // SAFETY: `spawn` put a descriptor there, and nothing in this process owns it yet.
    let control = Channel::over(unsafe { OwnedFd::from_raw_fd(CONTROL) });
    let code = match begin(&control) {
        Ok(()) => 0,
        Err(failure) => {
            // When the caller is gone there is nobody to tell.
            let _ = control.send(&Report::Failed(failure));
            125
        }
    };
    std::process::exit(code)
}

fn begin(control: &Channel) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).at(Step::ReadRequest)?;
    let _ = rustix::thread::set_name(ROLE);
    // The caller's may be anything; what is made here has the modes that are written here.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let sandbox = read_request()?;
    join_cgroups()?;
    rustix::io::fcntl_setfd(control, FdFlags::CLOEXEC).at(Step::ReadRequest)?;
    namespaces::make(&sandbox)?;
    let privilege = privilege().map_err(|_| Failure::new(Step::Namespaces, "", Errno::IO))?;
    let emulator = own_namespace::Opened::of(&sandbox)?;
    let built = build(&sandbox, privilege)?;
    if let Some(terminal) = &built.terminal {
        control
            .send_with(&Report::Terminal, terminal.controller.as_fd())
            .at(Step::Terminal)?;
    }
    let ready = Report::Ready {
        replaced: built.replaced,
    };
    control.send(&ready).at(Step::Fork)?;
    let terminal = built.terminal.map(|terminal| terminal.program);
    let started = command::start(&sandbox, privilege, emulator.as_ref(), terminal, control)?;
    reaper::run(started, control)
}

fn read_request() -> Result<Sandbox, Failure> {
    // SAFETY: `spawn` put a descriptor there, and nothing in this process owns it yet.
    let mut request = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(REQUEST) });
    let mut text = Vec::new();
    request
        .read_to_end(&mut text)
        .map_err(scratch::errno_of)
        .at(Step::ReadRequest)?;
    serde_json::from_slice(&text).map_err(|_| Failure::new(Step::ReadRequest, "", Errno::BADMSG))
}

/// Joins the cgroups whose `cgroup.procs` were handed in. `0` means the writer.
fn join_cgroups() -> Result<(), Failure> {
    for number in FIRST_CGROUP.. {
        // SAFETY: `spawn` leaves nothing open but what it puts into place, so this is one of those
        // files, which nothing else owns, or not open; then the write fails with BADF.
        let procs = unsafe { BorrowedFd::borrow_raw(number) };
        match rustix::io::write(procs, b"0") {
            Ok(_) => {}
            Err(Errno::BADF) => break,
            Err(errno) => return Err(Failure::new(Step::Limits, "of the cgroup", errno)),
        }
        // SAFETY: as above: the descriptor is open and nothing else owns it.
        unsafe { libc::close(number) };
    }
    Ok(())
}

struct Built {
    terminal: Option<dev::Terminal>,
    replaced: Vec<std::path::PathBuf>,
}

/// Builds the new root and moves into it.
fn build(sandbox: &Sandbox, privilege: Privilege) -> Result<Built, Failure> {
    let mut scratch = scratch::Scratch::mount(&sandbox.scratch)?;
    let prepared = sandbox
        .mounts
        .iter()
        .map(|mount| mounts::prepare(mount, &mut scratch))
        .collect::<Result<Vec<_>, _>>()?;
    let mut targets = ["proc", "sys", "dev"].map(pseudo::directory).to_vec();
    targets.extend(etc::targets(sandbox));
    targets.extend(prepared.iter().map(|prepared| prepared.target.clone()));

    let root::Root { fd, trusted } = root::assemble_root(sandbox, &scratch, &targets)?;
    let root = fd.as_fd();
    pseudo::mount_proc(root)?;
    pseudo::mount_sys(root, sandbox.security)?;
    let files = environment::files(command::User::of(sandbox, privilege), &trusted);
    // A mount of the caller's at /dev/shm takes the place of the usual one.
    let is_shm = |prepared: &mounts::Prepared| prepared.target.path == Path::new("/dev/shm");
    let shm_bytes = (!prepared.iter().any(is_shm)).then_some(sandbox.shm_bytes);
    let files = &files;
    dev::mount_dev(
        root,
        &dev::Dev {
            privilege,
            security: sandbox.security,
            shm_bytes,
            files,
        },
    )?;
    etc::mount_files(root, sandbox, &mut scratch)?;
    for prepared in &prepared {
        mounts::attach_prepared(root, prepared)?;
    }
    let terminal = match sandbox.stdin {
        Stdin::Tty => Some(dev::open_terminal(root)?),
        Stdin::Null | Stdin::Inherit => None,
    };
    if sandbox.security == Security::Default {
        pseudo::mask(root)?;
    }
    pivot(&scratch.root())?;
    Ok(Built {
        terminal,
        replaced: trusted.replaced,
    })
}

/// Makes `new_root` the root and lets go of the old one. With the same directory as old and new,
/// the old root ends up on top of the new one and is taken off; no directory is needed for it.
fn pivot(new_root: &Path) -> Result<(), Failure> {
    let change = || {
        rustix::process::chdir(new_root)?;
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    change().at(Step::Pivot)
}

/// Attaches a mount over its target inside the root, which is made where a mount put there
/// earlier lacks it.
fn attach_found(
    root: BorrowedFd<'_>,
    target: &root::Target,
    mount: &OwnedFd,
    step: Step,
) -> Result<(), Failure> {
    let location = root::find(root, target)?;
    if location.path.as_os_str().is_empty() {
        let failure = Failure::new(Step::Target, "/", Errno::INVAL);
        return Err(failure.with_hint("nothing can be mounted over the root"));
    }
    let at = match location.kind {
        Kind::Missing => stubs::make_in(root, &location.path, target.directory),
        _ => locate::open(root, &location.path),
    };
    attach(mount, at.at_path(Step::Target, &target.path)?).at_path(step, &target.path)
}
