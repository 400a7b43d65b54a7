//! Starts this program again in a role, as the first process of a new pid namespace.
//!
//! A threaded process must not fork: the copy would hold other threads' locks for ever. So the
//! child shares our memory, as with vfork: this thread waits while the child moves descriptors
//! into place and executes; it calls nothing but system calls.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::interrupt::last_errno;

/// Descriptors are moved out of the way above this number before they get their places.
const OUT_OF_THE_WAY: libc::c_int = 64;

/// Enough for a function that only makes system calls.
const STACK_BYTES: usize = 64 << 10;

/// Executes `program`, whose descriptor has a number above all places, with `role` as its name. The new process finds `fds` at 0, 1, 2 ...; it has
/// no environment, no other descriptors, and all its signals are blocked.
pub(crate) fn spawn(
    program: BorrowedFd<'_>,
    role: &CStr,
    fds: &[BorrowedFd<'_>],
) -> Result<OwnedFd, Errno> {
    let path =
        CString::new(format!("/proc/self/fd/{}", program.as_raw_fd())).map_err(|_| Errno::INVAL)?;
    let sources: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut start = Start {
        path: &path,
        role,
        sources: &sources,
        failed: 0,
    };
    let mut stack = vec![0u128; STACK_BYTES / size_of::<u128>()];
    let mut pidfd: RawFd = -1;
    let flags =
        libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::CLONE_NEWPID | libc::SIGCHLD;
    let signals = block_signals();
    // SAFETY: the stack is big enough for `begin`, aligned by its element type, and grows down
    // from its end. CLONE_VFORK keeps this thread, and so `start`, the stack and what they borrow,
    // in place until the child has executed or exited. With all signals blocked no handler runs on
    // the shared memory meanwhile.
    let pid = unsafe {
        libc::clone(
            begin,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            (&raw mut start).cast(),
            &raw mut pidfd,
        )
    };
    let cloned = if pid < 0 { Err(last_errno()) } else { Ok(()) };
    restore_signals(&signals);
    cloned?;
    // SAFETY: the kernel stored a new descriptor here because of CLONE_PIDFD.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    match start.failed {
        0 => Ok(pidfd),
        errno => {
            let _ = wait(&pidfd);
            Err(Errno::from_raw_os_error(errno))
        }
    }
}

/// Waits for the process to end and says how it did.
pub(crate) fn wait(pidfd: &OwnedFd) -> Result<rustix::process::WaitIdStatus, Errno> {
    use rustix::fd::AsFd;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let status =
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))?;
    status.ok_or(Errno::CHILD)
}

struct Start<'a> {
    path: &'a CStr,
    role: &'a CStr,
    sources: &'a [RawFd],
    /// The error number of what failed, written by the child.
    failed: i32,
}

extern "C" fn begin(start: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes a `Start` that outlives this process's use of its memory, and waits.
    let start = unsafe { &mut *start.cast::<Start<'_>>() };
    let argv = [start.role.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: only system calls on plain numbers and on strings that end with a zero byte; the
    // descriptor table is a copy, so the parent's stays as it is.
    unsafe {
        let mut away = [-1; OUT_OF_THE_WAY as usize];
        for (i, source) in start.sources.iter().enumerate() {
            away[i] = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
        }
        for (i, _) in start.sources.iter().enumerate() {
            if libc::dup2(away[i], i as libc::c_int) < 0 {
                start.failed = *libc::__errno_location();
                libc::_exit(125);
            }
        }
        // What is open beyond that, by whatever part of the program, ends with the next call.
        let first = start.sources.len() as libc::c_uint;
        libc::close_range(
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_int,
        );
        libc::execve(start.path.as_ptr(), argv.as_ptr(), environment.as_ptr());
        start.failed = *libc::__errno_location();
        libc::_exit(125)
    }
}

fn block_signals() -> libc::sigset_t {
    let mut before = std::mem::MaybeUninit::uninit();
    let mut all = std::mem::MaybeUninit::uninit();
    // SAFETY: both sets are written by these calls before they are read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set was filled by `block_signals`.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut());
    }
}
