//! Connects the caller's terminal with the one inside: keys go in as they are, the window's size
//! follows, and the caller's terminal gets back the mode it had.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::stdio::stdin;
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::interrupt::install;
use crate::run::set_nonblocking;

/// The caller's end of the terminal inside.
pub(crate) struct Relay {
    controller: OwnedFd,
    is_open: bool,
    /// Typed and not yet taken by the terminal inside.
    pending: Vec<u8>,
    input_ended: bool,
    resized: Option<OwnedFd>,
    _raw: Option<RawMode>,
}

/// Ends the input of a program that reads a terminal.
const END_OF_INPUT: u8 = 4;

impl Relay {
    pub(crate) fn new(controller: OwnedFd) -> Result<Relay, Errno> {
        set_nonblocking(controller.as_fd())?;
        let has_terminal = isatty(stdin());
        let mut relay = Relay {
            controller,
            is_open: true,
            pending: Vec::new(),
            input_ended: false,
            resized: if has_terminal {
                watch_size().ok()
            } else {
                None
            },
            _raw: if has_terminal {
                RawMode::set().ok()
            } else {
                None
            },
        };
        relay.follow_size();
        Ok(relay)
    }

    /// Readable when the program has written.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.is_open.then(|| self.controller.as_fd())
    }

    /// Ready when typing can move on.
    pub(crate) fn input(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if !self.pending.is_empty() && self.is_open {
            return Some((self.controller.as_fd(), PollFlags::OUT));
        }
        (!self.input_ended).then(|| (stdin(), PollFlags::IN))
    }

    /// Readable when the window has changed.
    pub(crate) fn resize(&self) -> Option<BorrowedFd<'_>> {
        self.resized.as_ref().map(AsFd::as_fd)
    }

    /// What the program has written; `None` when there is nothing now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match rustix::io::read(&self.controller, buffer) {
            Ok(length @ 1..) => Some(length),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // Nobody has the other end open any more.
            Ok(_) | Err(_) => {
                self.is_open = false;
                None
            }
        }
    }

    /// Moves what was typed into the terminal inside, as far as it goes.
    pub(crate) fn move_input(&mut self) {
        if self.pending.is_empty() {
            let mut buffer = [0; 4096];
            match rustix::io::read(stdin(), &mut buffer) {
                Ok(length @ 1..) => self.pending.extend_from_slice(&buffer[..length]),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(_) | Err(_) => {
                    self.input_ended = true;
                    self.pending.push(END_OF_INPUT);
                }
            }
        }
        match rustix::io::write(&self.controller, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }

    /// Gives the terminal inside the size of the caller's.
    pub(crate) fn follow_size(&mut self) {
        if let Some(event) = &self.resized {
            let _ = rustix::io::read(event, &mut [0; 8]);
        }
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.controller, size);
        }
    }
}

/// The event that the signal handler raises; -1 while nobody listens. There is one terminal to a
/// process, so there is one of these.
static RESIZED: AtomicI32 = AtomicI32::new(-1);

fn watch_size() -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    RESIZED.store(event.as_raw_fd(), Ordering::Release);
    install(libc::SIGWINCH, on_resize)?;
    Ok(event)
}

extern "C" fn on_resize(_: libc::c_int) {
    let event = RESIZED.load(Ordering::Acquire);
    if event >= 0 {
        // SAFETY: the number is an open event, see `Drop`; writing is async-signal-safe.
        let event = unsafe { BorrowedFd::borrow_raw(event) };
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Before the event is closed with the value.
        RESIZED.store(-1, Ordering::Release);
    }
}

/// The caller's terminal, passing on every key; what it was before comes back with the drop.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn set() -> Result<RawMode, Errno> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
