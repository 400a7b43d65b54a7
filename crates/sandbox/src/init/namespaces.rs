//! The namespaces besides the pid namespace, which `spawn` made, and what fills them.

use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::UnshareFlags;

use crate::error::{At, Failure, Step};
use crate::interrupt::last_errno;
use crate::sandbox::{Network, Sandbox};

pub(crate) fn make(sandbox: &Sandbox) -> Result<(), Failure> {
    let mut wanted = vec![
        ("mount", UnshareFlags::NEWNS, "max_mnt_namespaces"),
        ("ipc", UnshareFlags::NEWIPC, "max_ipc_namespaces"),
        ("uts", UnshareFlags::NEWUTS, "max_uts_namespaces"),
        ("cgroup", UnshareFlags::NEWCGROUP, "max_cgroup_namespaces"),
    ];
    if sandbox.network == Network::None {
        wanted.push(("network", UnshareFlags::NEWNET, "max_net_namespaces"));
    }
    let all = wanted
        .iter()
        .fold(UnshareFlags::empty(), |all, (_, flag, _)| all | *flag);
    if unshare(all).is_err() {
        // One by one, to name the one that is refused.
        for (name, flag, limit) in &wanted {
            unshare(*flag).map_err(|errno| refused(name, limit, errno))?;
        }
    }
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .at(Step::Namespaces)?;
    leave_keyring();
    if let Some(name) = &sandbox.hostname {
        rustix::system::sethostname(name.as_bytes()).at(Step::Hostname)?;
        rustix::system::setdomainname(b"(none)").at(Step::Hostname)?;
    }
    match sandbox.network {
        Network::None => start_loopback().at(Step::Loopback),
        Network::Host => Ok(()),
    }
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: none of the flags is CLONE_FILES, so no descriptor changes its meaning, and this
    // process has a single thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn refused(name: &str, limit: &str, errno: Errno) -> Failure {
    let failure = Failure::new(Step::Namespaces, format!("({name})"), errno);
    match errno {
        Errno::NOSPC => failure.with_hint(format!("/proc/sys/user/{limit} is reached")),
        Errno::INVAL => failure.with_hint("this kernel is built without them"),
        _ => failure,
    }
}

/// Leaves the caller's session keyring behind, with the keys in it. Not every kernel has them and
/// a user may have used up their number; the profile forbids the calls anyway.
fn leave_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the call takes a number and a null pointer, which asks for a new unnamed keyring.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        );
    }
}

fn start_loopback() -> Result<(), Errno> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: all-zero is a valid `ifreq`: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the socket is open and `request` a live `ifreq`, which this call only reads.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}
