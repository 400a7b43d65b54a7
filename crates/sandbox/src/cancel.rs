//! A request to stop that any thread, or a signal handler, can make.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Asks everything that was given a clone of it to stop; it cannot be taken back.
#[derive(Debug, Clone)]
pub struct Cancel {
    request: Arc<Request>,
}

#[derive(Debug)]
pub(crate) struct Request {
    made: AtomicBool,
    /// The signal that made it; 0 for none.
    signal: AtomicI32,
    /// Readable once the request is made. Without one (no descriptors left) waiters look at
    /// `made` a few times a second instead.
    event: Option<OwnedFd>,
}

impl Cancel {
    /// A request that nobody has made yet.
    pub fn new() -> Cancel {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        Cancel {
            request: Arc::new(Request {
                made: AtomicBool::new(false),
                signal: AtomicI32::new(0),
                event,
            }),
        }
    }

    /// Makes the request. Safe to call twice, and from a signal handler.
    pub fn cancel(&self) {
        self.request.make();
    }

    /// Whether the request was made.
    pub fn is_cancelled(&self) -> bool {
        self.request.is_made()
    }

    /// A descriptor that becomes readable with the request, to wait on; never read from it.
    pub fn event(&self) -> Option<BorrowedFd<'_>> {
        self.request.event.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn request(&self) -> Arc<Request> {
        Arc::clone(&self.request)
    }
}

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel::new()
    }
}

impl Request {
    pub(crate) fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    /// As [`Request::make`], noting the signal that is the reason.
    pub(crate) fn make_by(&self, signal: i32) {
        self.signal.store(signal, Ordering::Release);
        self.make();
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }

    /// Only an atomic store and a write(2): a signal handler may do both.
    pub(crate) fn make(&self) {
        self.made.store(true, Ordering::Release);
        if let Some(event) = &self.event {
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_ready(cancel: &Cancel) -> bool {
        let event = cancel.event().unwrap();
        let mut fds = [PollFd::new(&event, PollFlags::IN)];
        poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .unwrap()
            == 1
    }

    #[test]
    fn a_clone_sees_the_request_and_its_event() {
        let cancel = Cancel::new();
        let seen = cancel.clone();
        assert!(!seen.is_cancelled() && !is_ready(&seen));
        cancel.cancel();
        cancel.cancel();
        assert!(seen.is_cancelled() && is_ready(&seen));
        assert!(is_ready(&cancel), "looking at the event must not use it up");
        assert_eq!(cancel.request().signal(), None);
    }

    #[test]
    fn a_signal_that_made_the_request_is_known() {
        let cancel = Cancel::new();
        cancel.request().make_by(15);
        assert!(cancel.is_cancelled() && is_ready(&cancel));
        assert_eq!(cancel.request().signal(), Some(15));
    }
}
