//! A user namespace of the program's own: where the one id there is shall have another number, or
//! where the kernel is told of an emulator, which holds in that namespace alone.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::command::User;
use super::scratch::errno_of;
use crate::channel::Channel;
use crate::emulator::Emulator;
use crate::error::{At, Failure, Step};
use crate::idmap::{print_map, same_as};
use crate::mount::NewFs;
use crate::sandbox::Sandbox;

/// What the second process tells the first before it becomes the program.
#[derive(Serialize, Deserialize)]
pub(super) enum Told {
    /// It has a user namespace, and waits for all ids to be mapped there.
    Unmapped,
    /// Comes with the mount without which the kernel would forget the emulator.
    Emulating,
    /// It is about to become the program. Comes with the descriptor of the supervisor's questions
    /// if there are to be any.
    Listening,
}

/// The answer to [`Told::Unmapped`].
#[derive(Serialize, Deserialize)]
pub(super) struct Mapped;

/// The emulator that a program needs, opened while the host's files can be seen.
pub(super) struct Opened<'a> {
    emulator: &'a Emulator,
    program: OwnedFd,
}

impl<'a> Opened<'a> {
    pub(super) fn of(sandbox: &'a Sandbox) -> Result<Option<Opened<'a>>, Failure> {
        let open = |emulator: &'a Emulator| {
            let program = emulator.open().at_path(Step::Emulator, &emulator.program)?;
            Ok(Opened { emulator, program })
        };
        sandbox.emulator.as_ref().map(open).transpose()
    }
}

/// Enters one where the program needs it; says as whom the program goes on.
pub(super) fn enter(
    user: User,
    (uid, gid): (u32, u32),
    emulator: Option<&Opened<'_>>,
    first: &Channel,
) -> Result<User, Failure> {
    if let Some(emulator) = emulator {
        enter_emulating(user, emulator, first)
            .at_path(Step::Emulator, &emulator.emulator.program)?;
    }
    Ok(match user {
        // A kernel that refuses leaves it root.
        User::Renumbered if enter_single((uid, gid), UnshareFlags::NEWUSER).is_err() => {
            User::OnlyRoot
        }
        user => user,
    })
}

/// Enters one that has the same ids and knows the emulator. Only its root may tell the kernel, so
/// another number comes afterwards, in a namespace below, which inherits what is known.
fn enter_emulating(user: User, emulator: &Opened<'_>, first: &Channel) -> Result<(), Errno> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    match user {
        User::Set => {
            unshare(flags)?;
            first.send(&Told::Unmapped)?;
            first.receive::<Mapped>()?.ok_or(Errno::PIPE)?;
        }
        User::OnlyRoot | User::Renumbered => enter_single((0, 0), flags)?,
    }
    let handlers = register(emulator)?;
    first.send_with(&Told::Emulating, handlers.as_fd())
}

/// Maps all ids that exist here to themselves in the namespace of a process, from outside of it,
/// as only a process outside may.
pub(super) fn map_same(process: Pid) -> Result<(), Failure> {
    let map = |file: &str| {
        let own = std::fs::read_to_string(format!("/proc/self/{file}")).map_err(errno_of)?;
        let theirs = format!("/proc/{}/{file}", process.as_raw_nonzero());
        std::fs::write(theirs, print_map(&same_as(&own))).map_err(errno_of)
    };
    map("uid_map")
        .and_then(|()| map("gid_map"))
        .at(Step::Emulator)
}

/// A user namespace in which the one id of the outer one has a number of its own.
fn enter_single((uid, gid): (u32, u32), flags: UnshareFlags) -> Result<(), Errno> {
    unshare(flags)?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(errno_of)
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{uid} 0 1\n"))?;
    write("gid_map", format!("{gid} 0 1\n"))
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the flags do not touch descriptors, and this process has a single thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Tells the kernel of the emulator. It knows it for as long as what is returned is open.
fn register(opened: &Opened<'_>) -> Result<OwnedFd, Errno> {
    let handlers = NewFs::open("binfmt_misc")?.mount(MountAttrFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let register = openat(&handlers, "register", flags, Mode::empty())?;
    let text = opened.emulator.registration(opened.program.as_fd());
    rustix::io::write(register, text.as_bytes())?;
    Ok(handlers)
}
