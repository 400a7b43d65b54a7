//! Ctrl-C and its relatives, turned into a [`Cancel`] or handed on to what runs inside.
//!
//! Signal handlers belong to the whole process, so this module keeps process-global state; the
//! crate that may say `unsafe` is the only one that can install them.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cancel::{Cancel, Request};
use crate::error::{SandboxError, host};

/// What is cancelled. Leaked on purpose: a handler may run until the process ends.
static WATCHED: AtomicPtr<Request> = AtomicPtr::new(ptr::null_mut());

/// From now on SIGINT, SIGTERM and SIGHUP make the request. A second one ends the process at
/// once, as if nothing had been installed; what runs in sandboxes dies with it. SIGHUP stays
/// ignored where it is: that is what `nohup` is for.
pub fn cancel_on_signals(cancel: &Cancel) -> Result<(), SandboxError> {
    WATCHED.store(
        Arc::into_raw(cancel.request()).cast_mut(),
        Ordering::Release,
    );
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        if signal != libc::SIGHUP || !is_ignored(signal) {
            install(signal, on_signal).map_err(host("installing a signal handler"))?;
        }
    }
    Ok(())
}

/// The signal that made the request of [`cancel_on_signals`], if one did.
pub fn received() -> Option<i32> {
    watched()?.signal()
}

fn watched() -> Option<&'static Request> {
    let watched = WATCHED.load(Ordering::Acquire);
    // SAFETY: the pointer is null or came from `Arc::into_raw` and is never given back.
    unsafe { watched.as_ref() }
}

extern "C" fn on_signal(signal: libc::c_int) {
    let Some(request) = watched() else {
        return;
    };
    if request.is_made() {
        die_of(signal);
    }
    request.make_by(signal);
}

/// Ends the process as if no handler had ever been there.
fn die_of(signal: libc::c_int) {
    // SAFETY: both calls are async-signal-safe and take plain numbers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Signals of this process on their way to a program inside; see [`crate::Sandbox::run_as_me`].
#[derive(Debug)]
pub struct Signals {
    arrived: OwnedFd,
}

/// What a program may want to hear of. SIGWINCH is not among them: the terminal inside raises it.
const HANDED_ON: [libc::c_int; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTERM,
];

/// So many requests to end are handed on; the next one ends this process, and with it the program
/// that ignores them.
const REQUESTS_MAX: u32 = 3;

/// The end of a pipe that the handler writes to; never closed. -1 before there is one.
static ARRIVALS: AtomicI32 = AtomicI32::new(-1);
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// From now on signals wait to be handed on. The fourth SIGINT, SIGTERM or SIGHUP ends the
/// process at once. SIGHUP stays ignored where it is.
pub fn hand_on_signals() -> Result<Signals, SandboxError> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (arrived, arrivals) = pipe_with(flags).map_err(host("making a pipe"))?;
    ARRIVALS.store(arrivals.into_raw_fd(), Ordering::Release);
    for signal in HANDED_ON {
        if signal != libc::SIGHUP || !is_ignored(signal) {
            install(signal, on_handed_on).map_err(host("installing a signal handler"))?;
        }
    }
    Ok(Signals { arrived })
}

extern "C" fn on_handed_on(signal: libc::c_int) {
    if matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGTERM)
        && REQUESTS.fetch_add(1, Ordering::AcqRel) >= REQUESTS_MAX
    {
        die_of(signal);
    }
    let arrivals = ARRIVALS.load(Ordering::Acquire);
    if let (0.., Ok(number)) = (arrivals, u8::try_from(signal)) {
        // SAFETY: the descriptor was given up by its owner and is never closed.
        let arrivals = unsafe { BorrowedFd::borrow_raw(arrivals) };
        // A full pipe holds thousands of signals that nobody took.
        let _ = rustix::io::write(arrivals, &[number]);
    }
}

impl Signals {
    /// The next one; `None` if there is none now.
    pub(crate) fn next(&self) -> Option<i32> {
        let mut number = [0];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.arrived, &mut number));
        (length == Ok(1)).then(|| i32::from(number[0]))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: all-zero is a valid `sigaction`; it is written to and nothing is installed.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action);
        action
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Installs a handler that lets interrupted calls go on.
pub(crate) fn install(signal: i32, handler: extern "C" fn(libc::c_int)) -> Result<(), Errno> {
    // SAFETY: all-zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised and outlives the call; the handler has the C signature that
    // a `sigaction` without SA_SIGINFO calls.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// What the last failed call of the C library answered.
pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
