//! The caller's side of one run: starts the first process inside, hands on what is written, stops
//! it in time, and says how it ended.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitIdStatus, pidfd_send_signal};

use crate::ca::{self, Injected, Stamp};
use crate::cancel::Cancel;
use crate::cgroup::{self, Cgroup};
use crate::channel::{Channel, Report};
use crate::enter::{Privilege, privilege};
use crate::error::{Failure, SandboxError, host};
use crate::init;
use crate::interrupt::Signals;
use crate::owner::{self, Owner};
use crate::program;
use crate::sandbox::{Exit, Sandbox, Stdin, Stream, Writable};
use crate::spawn::{spawn, wait};
use crate::watch::{Stop, Watch};

impl Sandbox {
    /// Runs the program to its end, handing on what it writes as it writes it.
    ///
    /// [`crate::enter`] must have been called. Any number of threads may run sandboxes at once.
    pub fn run(
        &self,
        cancel: &Cancel,
        on_output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Exit, SandboxError> {
        self.watched(cancel, None, on_output)
    }

    /// As [`Sandbox::run`], for a process that stands for the program: signals that it gets go on
    /// to the program, which does with them what it likes.
    pub fn run_as_me(
        &self,
        cancel: &Cancel,
        signals: &Signals,
        on_output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Exit, SandboxError> {
        self.watched(cancel, Some(signals), on_output)
    }

    fn watched(
        &self,
        cancel: &Cancel,
        signals: Option<&Signals>,
        on_output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Exit, SandboxError> {
        self.check()?;
        let certificates = self.certificates()?;
        let kills_before = memory_kills();
        let mut running = Running::start(self)?;
        let mut watch = Watch::new(self, cancel, signals);
        let watched = watch.until_the_end(&mut running, on_output);
        if watched.is_err() {
            running.kill();
        }
        let status = wait(&running.init).map_err(host("waiting for the sandbox"))?;
        watched.map_err(host("watching the sandbox"))?;
        running.drain(on_output);
        let replaced = std::mem::take(&mut watch.replaced);
        self.strip_certificates(&replaced, certificates.as_ref())?;
        self.claim_new_files()?;
        let ran_out = running
            .cgroup
            .as_ref()
            .is_some_and(Cgroup::has_run_out_of_memory)
            || memory_kills() > kills_before;
        ending(watch.outcome, watch.stopped, ran_out, &status)
    }

    fn check(&self) -> Result<(), SandboxError> {
        let invalid = |text: String| Err(SandboxError::Invalid(text));
        let mut inputs: Vec<&Path> = self.lowers.iter().map(|lower| lower.as_path()).collect();
        if let Writable::Upper { upper, work } = &self.writable {
            inputs.extend([upper.as_path(), work.as_path()]);
        }
        if let Some(input) = inputs.iter().find(|input| input.starts_with(&self.scratch)) {
            let (scratch, input) = (self.scratch.display(), input.display());
            return invalid(format!(
                "the scratch directory {scratch} would hide {input}"
            ));
        }
        if !self.cwd.is_absolute() {
            return invalid(format!(
                "the working directory {} is relative",
                self.cwd.display()
            ));
        }
        let has_zero = |text: &String| text.contains('\0');
        let in_environment = self
            .env
            .iter()
            .any(|(name, value)| has_zero(name) || has_zero(value));
        if in_environment || self.argv.iter().any(has_zero) {
            return invalid("a zero byte in an argument or variable".to_owned());
        }
        Ok(())
    }

    /// The state of the certificates that the program is to trust.
    fn certificates(&self) -> Result<Option<Stamp>, SandboxError> {
        let stamp = self.ca.as_ref().map(|trust| trust.pem.stamp()).transpose();
        Ok(stamp
            .map_err(host("looking at the host's certificates"))?
            .flatten())
    }

    fn strip_certificates(
        &self,
        replaced: &[std::path::PathBuf],
        before: Option<&Stamp>,
    ) -> Result<(), SandboxError> {
        let (Some(trust), Writable::Upper { upper, .. }) = (&self.ca, &self.writable) else {
            return Ok(());
        };
        let is_empty = std::fs::read_dir(upper).is_ok_and(|mut entries| entries.next().is_none());
        if is_empty {
            return Ok(());
        }
        let block =
            ca::block_of(&trust.pem).map_err(host("reading the host's certificates again"))?;
        // What was put inside can only be found again if it is still known.
        if self.certificates()?.as_ref() != before {
            return Err(SandboxError::Invalid(
                "the host's certificates changed while the program ran; run it again".to_owned(),
            ));
        }
        let injected = Injected {
            block: &block,
            replaced,
        };
        ca::strip(upper, &self.lowers, &injected).map_err(|source| SandboxError::Host {
            doing: format!("taking the host's certificates out of {}", upper.display()),
            source,
        })
    }
}

impl Sandbox {
    /// With a single id, what a program wrote as somebody else than root belongs to that one id on
    /// disk.
    fn claim_new_files(&self) -> Result<(), SandboxError> {
        let Writable::Upper { upper, .. } = &self.writable else {
            return Ok(());
        };
        if (self.uid, self.gid) == (0, 0) || privilege()? != Privilege::SingleId {
            return Ok(());
        }
        owner::claim_new(
            upper,
            Owner {
                uid: self.uid,
                gid: self.gid,
            },
        )
        .map_err(|source| SandboxError::Host {
            doing: format!("recording owners in {}", upper.display()),
            source,
        })
    }
}

/// The first process inside and our ends of what connects us.
pub(crate) struct Running {
    pub(crate) init: OwnedFd,
    pub(crate) control: Channel,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    cgroup: Option<Cgroup>,
}

impl Running {
    fn start(sandbox: &Sandbox) -> Result<Running, SandboxError> {
        let cgroup = cgroup::make(&sandbox.limits)?;
        let procs = cgroup
            .as_ref()
            .map(Cgroup::procs)
            .transpose()?
            .unwrap_or_default();
        let program = program::protected(&sandbox.exe)?;
        let request = request_file(sandbox).map_err(host("passing the request on"))?;
        let (control, theirs) = Channel::pair().map_err(host("making a channel"))?;
        let (stdout, their_stdout) = output_pipe().map_err(host("making a pipe"))?;
        let (stderr, their_stderr) = output_pipe().map_err(host("making a pipe"))?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(host("opening /dev/null"))?;
        let stdin = match sandbox.stdin {
            Stdin::Inherit => rustix::stdio::stdin(),
            Stdin::Null | Stdin::Tty => null.as_fd(),
        };
        let mut fds = vec![
            stdin,
            their_stdout.as_fd(),
            their_stderr.as_fd(),
            theirs.as_fd(),
            request.as_fd(),
        ];
        fds.extend(procs.iter().map(AsFd::as_fd));
        let init = spawn((*program).as_fd(), init::ROLE, &fds).map_err(not_spawned)?;
        Ok(Running {
            init,
            control,
            stdout,
            stderr,
            cgroup,
        })
    }

    /// Kills the first process inside, and so everything there.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
    }

    /// Hands on what was written just before the end.
    fn drain(&self, on_output: &mut dyn FnMut(Stream, &[u8])) {
        for (stream, pipe) in [
            (Stream::Stdout, &self.stdout),
            (Stream::Stderr, &self.stderr),
        ] {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = rustix::io::read(pipe, &mut buffer) {
                on_output(stream, &buffer[..length]);
            }
        }
    }
}

/// The request as a file without a name: arguments can be read by everybody, and secrets are part
/// of it.
fn request_file(sandbox: &Sandbox) -> Result<File, Errno> {
    let of = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut file = File::from(memfd_create(c"cairn-request", MemfdFlags::CLOEXEC)?);
    let text = serde_json::to_vec(sandbox).map_err(|_| Errno::INVAL)?;
    file.write_all(&text).map_err(of)?;
    file.rewind().map_err(of)?;
    Ok(file)
}

/// Our end never blocks; theirs is an ordinary one.
fn output_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(reader.as_fd())?;
    Ok((reader, writer))
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

fn not_spawned(errno: Errno) -> SandboxError {
    let hint = match errno {
        Errno::PERM => "call `enter` first",
        Errno::NOSPC => "/proc/sys/user/max_pid_namespaces is reached",
        Errno::AGAIN => "the limit of processes is reached",
        _ => return host("starting the sandbox")(errno),
    };
    let source = errno.into();
    SandboxError::Refused {
        what: "pid namespace",
        hint: Some(hint.to_owned()),
        source,
    }
}

/// How often the kernel has killed for want of memory, on this machine since it started.
fn memory_kills() -> u64 {
    std::fs::read_to_string("/proc/vmstat").map_or(0, |text| cgroup::count(&text, "oom_kill"))
}

/// What was reported, what we did, and how the first process ended, as one answer.
fn ending(
    outcome: Option<Report>,
    stopped: Option<Stop>,
    ran_out_of_memory: bool,
    status: &WaitIdStatus,
) -> Result<Exit, SandboxError> {
    if let Some(Report::Failed(failure)) = outcome {
        // Orders to stop can make a step fail; what was asked for is then the reason.
        return match stopped {
            Some(stop) if !matches!(failure, Failure::Exec(_)) => Ok(stop.exit()),
            _ => Err(failure.into()),
        };
    }
    if let Some(stop) = stopped {
        return Ok(stop.exit());
    }
    let killed = libc::SIGKILL;
    match outcome {
        Some(Report::Exited { code }) if code == 128 + killed && ran_out_of_memory => {
            Ok(Exit::OutOfMemory)
        }
        Some(Report::Exited { code }) => Ok(Exit::Code(code)),
        Some(Report::Signaled { signal }) if signal == killed && ran_out_of_memory => {
            Ok(Exit::OutOfMemory)
        }
        Some(Report::Signaled { signal }) => Ok(Exit::Signal(signal)),
        _ if ran_out_of_memory => Ok(Exit::OutOfMemory),
        _ => Err(SandboxError::Vanished {
            how: describe(status),
        }),
    }
}

fn describe(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("with code {code}"),
        (_, Some(signal)) => format!("by signal {signal}"),
        _ => "unknown how".to_owned(),
    }
}
