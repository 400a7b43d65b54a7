//! What the first process does while the program runs: reaps, forwards, answers.
//!
//! It ends when the program does, when the caller goes away, or when it is killed; in each case
//! the kernel kills what is left inside.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::supervisor::Supervisor;
use crate::channel::{Channel, Order, Report};
use crate::error::{At, Failure, Step};
use crate::interrupt::last_errno;

/// The program, running.
pub(crate) struct Started {
    pub(crate) program: Pid,
    /// Where the supervisor is asked, when there is to be one.
    pub(crate) questions: Option<OwnedFd>,
    /// What keeps an emulator known to the kernel, when there is one.
    pub(crate) handlers: Option<OwnedFd>,
}

pub(crate) fn run(started: Started, control: &Channel) -> Result<(), Failure> {
    let signals = signals().at(Step::Supervisor)?;
    let program = started.program;
    let _handlers = started.handlers;
    let mut supervisor = started
        .questions
        .map(Supervisor::new)
        .transpose()
        .at(Step::Supervisor)?;
    loop {
        let ready = wait(signals.as_fd(), control.as_fd(), supervisor.as_ref());
        let ready = ready.at(Step::Supervisor)?;
        if ready.questions.contains(PollFlags::IN) {
            if let Some(supervisor) = &mut supervisor {
                supervisor.answer_one();
            }
        } else if !ready.questions.is_empty() {
            // Everybody who could ask is gone.
            supervisor = None;
        }
        if !ready.orders.is_empty() {
            match control.receive::<Order>() {
                Ok(Some((Order::Signal(signal), _))) => forward(program, signal),
                // The caller is gone or talks nonsense: end, and everything ends.
                _ => return Ok(()),
            }
        }
        if !ready.signals.is_empty()
            && let Some(report) = take_signals(&signals, program)
        {
            let _ = control.send(&report);
            return Ok(());
        }
    }
}

struct Ready {
    signals: PollFlags,
    orders: PollFlags,
    questions: PollFlags,
}

fn wait(
    signals: BorrowedFd<'_>,
    orders: BorrowedFd<'_>,
    supervisor: Option<&Supervisor>,
) -> Result<Ready, Errno> {
    let mut fds = vec![
        PollFd::from_borrowed_fd(signals, PollFlags::IN),
        PollFd::from_borrowed_fd(orders, PollFlags::IN),
    ];
    fds.extend(supervisor.map(|supervisor| PollFd::new(supervisor, PollFlags::IN)));
    rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
    let seen = |i: usize| fds.get(i).map_or(PollFlags::empty(), PollFd::revents);
    Ok(Ready {
        signals: seen(0),
        orders: seen(1),
        questions: seen(2),
    })
}

/// All signals were blocked when this process was started, so none is lost before this.
fn signals() -> Result<OwnedFd, Errno> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the set is filled before it is read.
    let fd = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::signalfd(-1, all.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call gave this descriptor to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reaps whoever ended and forwards what else has come; the report when the program has ended.
fn take_signals(signals: &OwnedFd, program: Pid) -> Option<Report> {
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    while rustix::io::read(signals, &mut record) == Ok(record.len()) {
        // The record begins with the signal's number.
        let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
        let signal = i32::try_from(number).unwrap_or_default();
        if signal != libc::SIGCHLD {
            forward(program, signal);
        }
    }
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == program {
            return Some(report(status));
        }
    }
    None
}

fn report(status: WaitStatus) -> Report {
    match status.terminating_signal() {
        Some(signal) => Report::Signaled { signal },
        None => Report::Exited {
            code: status.exit_status().unwrap_or_default(),
        },
    }
}

fn forward(program: Pid, signal: i32) {
    // SAFETY: sends a signal; a number that is none is refused.
    unsafe {
        libc::kill(program.as_raw_nonzero().get(), signal);
    }
}
