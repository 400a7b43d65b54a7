//! Ctrl-C and its relatives, turned into a [`Cancel`].
//!
//! Signal handlers belong to the whole process, so this module keeps process-global state; the
//! crate that may say `unsafe` is the only one that can install them.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;

use crate::cancel::{Cancel, Request};
use crate::error::{SandboxError, host};

/// What is cancelled. Leaked on purpose: a handler may run until the process ends.
static WATCHED: AtomicPtr<Request> = AtomicPtr::new(ptr::null_mut());

/// From now on SIGINT, SIGTERM and SIGHUP make the request. A second one ends the process at
/// once, as if nothing had been installed; what runs in sandboxes dies with it.
pub fn cancel_on_signals(cancel: &Cancel) -> Result<(), SandboxError> {
    WATCHED.store(
        Arc::into_raw(cancel.request()).cast_mut(),
        Ordering::Release,
    );
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        install(signal, on_signal).map_err(host("installing a signal handler"))?;
    }
    Ok(())
}

extern "C" fn on_signal(signal: libc::c_int) {
    let watched = WATCHED.load(Ordering::Acquire);
    // SAFETY: the pointer is null or came from `Arc::into_raw` and is never given back.
    let Some(request) = (unsafe { watched.as_ref() }) else {
        return;
    };
    if request.is_made() {
        // SAFETY: both calls are async-signal-safe and take plain numbers.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    request.make();
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
