//! Waits for whatever happens next while a program runs inside, and reacts to it.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::channel::{Order, Report};
use crate::interrupt::Signals;
use crate::run::Running;
use crate::sandbox::{Exit, Sandbox, Stream};
use crate::terminal::Relay;

/// Why we ended what ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    TimedOut,
    Cancelled,
}

impl Stop {
    pub(crate) fn exit(self) -> Exit {
        match self {
            Stop::TimedOut => Exit::TimedOut,
            Stop::Cancelled => Exit::Cancelled,
        }
    }
}

/// What is known so far, and when something is due.
pub(crate) struct Watch<'a> {
    sandbox: &'a Sandbox,
    cancel: &'a Cancel,
    signals: Option<&'a Signals>,
    times_out_at: Option<Instant>,
    kill_at: Option<Instant>,
    relay: Option<Relay>,
    buffer: Vec<u8>,
    /// The report that says how it ended.
    pub(crate) outcome: Option<Report>,
    pub(crate) stopped: Option<Stop>,
    /// Certificate bundles that have a changed copy over them.
    pub(crate) replaced: Vec<PathBuf>,
}

/// How often to look for a request that has no descriptor to wait on.
const CANCEL_LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a descriptor of the list stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Control,
    Output(Stream),
    Cancel,
    Signals,
    TerminalOutput,
    TerminalInput,
    Resize,
}

impl Watch<'_> {
    pub(crate) fn new<'a>(
        sandbox: &'a Sandbox,
        cancel: &'a Cancel,
        signals: Option<&'a Signals>,
    ) -> Watch<'a> {
        Watch {
            sandbox,
            cancel,
            signals,
            times_out_at: sandbox
                .timeout
                .and_then(|after| Instant::now().checked_add(after)),
            kill_at: None,
            relay: None,
            buffer: vec![0; 64 << 10],
            outcome: None,
            stopped: None,
            replaced: Vec::new(),
        }
    }

    /// Returns when the other end of the control channel is closed, which is when the first
    /// process inside has ended.
    pub(crate) fn until_the_end(
        &mut self,
        running: &mut Running,
        on_output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<(), Errno> {
        let mut open = [true, true];
        loop {
            self.act_on_time(running);
            let ready = self.wait(running, open)?;
            for source in ready {
                match source {
                    Source::Control => match running.control.receive::<Report>()? {
                        Some((report, fd)) => self.take(report, fd)?,
                        None => {
                            self.drain_terminal(on_output);
                            return Ok(());
                        }
                    },
                    Source::Output(stream) => {
                        let (pipe, i) = match stream {
                            Stream::Stdout => (&running.stdout, 0),
                            Stream::Stderr => (&running.stderr, 1),
                        };
                        match rustix::io::read(pipe, &mut self.buffer) {
                            Ok(0) => open[i] = false,
                            Ok(length) => on_output(stream, &self.buffer[..length]),
                            Err(Errno::AGAIN | Errno::INTR) => {}
                            Err(errno) => return Err(errno),
                        }
                    }
                    Source::Cancel => {}
                    Source::Signals => self.hand_on(running),
                    Source::TerminalOutput => self.read_terminal(on_output),
                    Source::TerminalInput => self.with_relay(Relay::move_input),
                    Source::Resize => self.with_relay(Relay::follow_size),
                }
            }
        }
    }

    fn take(&mut self, report: Report, fd: Option<rustix::fd::OwnedFd>) -> Result<(), Errno> {
        match report {
            Report::Ready { replaced } => self.replaced = replaced,
            Report::Terminal => {
                let controller = fd.ok_or(Errno::BADMSG)?;
                self.relay = Some(Relay::new(controller)?);
            }
            // The failure to execute comes before the end of the process that failed.
            failed @ Report::Failed(_) => self.outcome = Some(failed),
            ended => {
                self.outcome.get_or_insert(ended);
            }
        }
        Ok(())
    }

    /// Orders that come before the program runs wait for it.
    fn hand_on(&self, running: &Running) {
        while let Some(signal) = self.signals.and_then(Signals::next) {
            let _ = running.control.send(&Order::Signal(signal));
        }
    }

    fn act_on_time(&mut self, running: &Running) {
        let now = Instant::now();
        if self.stopped.is_none() {
            let stop = if self.cancel.is_cancelled() {
                Some(Stop::Cancelled)
            } else if self.times_out_at.is_some_and(|at| at <= now) {
                Some(Stop::TimedOut)
            } else {
                None
            };
            if let Some(stop) = stop {
                self.stopped = Some(stop);
                self.kill_at = Some(now + self.sandbox.grace);
                if !self.sandbox.grace.is_zero() {
                    let _ = running
                        .control
                        .send(&Order::Signal(self.sandbox.stop_signal));
                }
            }
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            running.kill();
        }
    }

    fn wait(&self, running: &Running, open: [bool; 2]) -> Result<Vec<Source>, Errno> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(8);
        let mut add = |source, fd, flags| sources.push((source, fd, flags));
        use std::os::fd::AsFd;
        // Output before its end: the reports come last.
        if open[0] {
            add(
                Source::Output(Stream::Stdout),
                running.stdout.as_fd(),
                PollFlags::IN,
            );
        }
        if open[1] {
            add(
                Source::Output(Stream::Stderr),
                running.stderr.as_fd(),
                PollFlags::IN,
            );
        }
        if let Some(relay) = &self.relay {
            if let Some(controller) = relay.output() {
                add(Source::TerminalOutput, controller, PollFlags::IN);
            }
            if let Some((fd, flags)) = relay.input() {
                add(Source::TerminalInput, fd, flags);
            }
            if let Some(resize) = relay.resize() {
                add(Source::Resize, resize, PollFlags::IN);
            }
        }
        if let (None, Some(event)) = (self.stopped, self.cancel.event()) {
            add(Source::Cancel, event, PollFlags::IN);
        }
        if let Some(signals) = self.signals {
            add(Source::Signals, signals.as_fd(), PollFlags::IN);
        }
        add(Source::Control, running.control.as_fd(), PollFlags::IN);
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        match poll(&mut fds, self.patience().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = sources
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    /// How long nothing has to be done of our own accord.
    fn patience(&self) -> Option<Timespec> {
        let look_again = (self.stopped.is_none() && self.cancel.event().is_none())
            .then(|| Instant::now() + CANCEL_LOOK_EVERY);
        let times_out = self.times_out_at.filter(|_| self.stopped.is_none());
        let due = [times_out, self.kill_at, look_again]
            .into_iter()
            .flatten()
            .min()?;
        let wait = due.saturating_duration_since(Instant::now());
        Timespec::try_from(wait).ok()
    }

    fn with_relay(&mut self, act: impl FnOnce(&mut Relay)) {
        if let Some(relay) = &mut self.relay {
            act(relay);
        }
    }

    fn read_terminal(&mut self, on_output: &mut dyn FnMut(Stream, &[u8])) {
        if let Some(relay) = &mut self.relay
            && let Some(length) = relay.read(&mut self.buffer)
        {
            on_output(Stream::Stdout, &self.buffer[..length]);
        }
    }

    fn drain_terminal(&mut self, on_output: &mut dyn FnMut(Stream, &[u8])) {
        while let Some(length) = self
            .relay
            .as_mut()
            .and_then(|relay| relay.read(&mut self.buffer))
        {
            on_output(Stream::Stdout, &self.buffer[..length]);
        }
    }
}
