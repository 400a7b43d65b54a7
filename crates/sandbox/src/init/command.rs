//! The second process inside: gives up what it must not have and becomes the program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid};

use super::environment;
use super::exec;
use super::own_namespace::{self, Mapped, Opened, Told};
use super::reaper::Started;
use crate::capabilities;
use crate::channel::{Channel, Report};
use crate::enter::Privilege;
use crate::error::{At, Failure, Step};
use crate::interrupt::last_errno;
use crate::sandbox::{Sandbox, Security, Ulimit, UlimitName};
use crate::seccomp::{self, Ownership, Profile};

/// Starts the program. `terminal` is its end of a terminal that is to become its own.
pub(crate) fn start(
    sandbox: &Sandbox,
    privilege: Privilege,
    emulator: Option<&Opened<'_>>,
    terminal: Option<OwnedFd>,
    control: &Channel,
) -> Result<Started, Failure> {
    enter_directory(&sandbox.cwd)?;
    let becoming = Becoming {
        sandbox,
        user: User::of(sandbox, privilege),
        emulator,
    };
    let (ours, theirs) = Channel::pair().at(Step::Supervisor)?;
    // SAFETY: this process has a single thread, so the child may go on as it pleases.
    let pid = match unsafe { libc::fork() } {
        0 => {
            drop(ours);
            let failure = becoming.program(terminal, &theirs);
            let _ = control.send(&Report::Failed(failure));
            // SAFETY: nothing of the parent's, of which this is a copy, is to be cleaned up here.
            unsafe { libc::_exit(127) }
        }
        pid if pid < 0 => return Err(Failure::new(Step::Fork, "", last_errno())),
        pid => pid,
    };
    drop(theirs);
    // Kept from the program, which shares its user: this process can do more than it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let program = Pid::from_raw(pid).ok_or(Failure::new(Step::Fork, "", Errno::CHILD))?;
    listen(&ours, program)
}

/// Does what the second process needs of the first, until it is about to become the program.
fn listen(second: &Channel, program: Pid) -> Result<Started, Failure> {
    let mut started = Started {
        program,
        questions: None,
        handlers: None,
    };
    loop {
        match second.receive::<Told>() {
            Ok(Some((Told::Unmapped, _))) => {
                own_namespace::map_same(program)?;
                second.send(&Mapped).at(Step::Emulator)?;
            }
            Ok(Some((Told::Emulating, handlers))) => started.handlers = handlers,
            Ok(Some((Told::Listening, questions))) => {
                started.questions = questions;
                return Ok(started);
            }
            // The second process failed and has reported it.
            Ok(None) | Err(_) => return Ok(started),
        }
    }
}

/// Changes to the directory, making what is missing of it.
fn enter_directory(path: &Path) -> Result<(), Failure> {
    let enter = || match rustix::process::chdir(path) {
        Err(Errno::NOENT) => {
            std::fs::create_dir_all(path).map_err(super::scratch::errno_of)?;
            rustix::process::chdir(path)
        }
        other => other,
    };
    enter().at_path(Step::WorkingDirectory, path)
}

/// As whom the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// By setting the ids.
    Set,
    /// As the one user there is, which is root; changes of owner are recorded.
    OnlyRoot,
    /// As the one user there is, under another number: in a user namespace of its own.
    Renumbered,
}

impl User {
    pub(super) fn of(sandbox: &Sandbox, privilege: Privilege) -> User {
        match privilege {
            Privilege::Root | Privilege::SubuidRange => User::Set,
            Privilege::SingleId if sandbox.uid == 0 => User::OnlyRoot,
            Privilege::SingleId => User::Renumbered,
        }
    }
}

struct Becoming<'a> {
    sandbox: &'a Sandbox,
    user: User,
    emulator: Option<&'a Opened<'a>>,
}

impl Becoming<'_> {
    /// Returns only when something failed.
    fn program(&self, terminal: Option<OwnedFd>, first: &Channel) -> Failure {
        match self.settle(terminal, first) {
            Ok(()) => Failure::Exec(exec::execute(
                &self.sandbox.argv,
                &environment::of(self.sandbox, self.user),
            )),
            Err(failure) => failure,
        }
    }

    fn settle(&self, terminal: Option<OwnedFd>, first: &Channel) -> Result<(), Failure> {
        reset_signals();
        rustix::process::setsid().at(Step::Terminal)?;
        if let Some(terminal) = terminal {
            take_terminal(terminal.as_fd()).at(Step::Terminal)?;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        self.limit_open_files().at(Step::Limits)?;
        for limit in &self.sandbox.limits.ulimits {
            set_ulimit(limit)?;
        }
        let ids = (self.sandbox.uid, self.sandbox.gid);
        let user = own_namespace::enter(self.user, ids, self.emulator, first)?;
        let needs_no_new_privileges = user != User::Set;
        if self.sandbox.no_new_privileges || needs_no_new_privileges {
            rustix::thread::set_no_new_privs(true).at(Step::Capabilities)?;
        }
        let confined = self.sandbox.security == Security::Default;
        if confined {
            capabilities::bound().at(Step::Capabilities)?;
        }
        match user {
            User::Set => {
                // Without no-new-privileges a filter needs a capability that goes away below.
                self.filter(confined, Ownership::Real, first)?;
                self.set_ids()?;
                if confined {
                    capabilities::reduce().at(Step::Capabilities)?;
                }
                Ok(())
            }
            User::OnlyRoot | User::Renumbered => {
                // The filter answers capset, so it comes last.
                if confined {
                    capabilities::reduce().at(Step::Capabilities)?;
                }
                let ownership = match user {
                    User::OnlyRoot => Ownership::Recorded,
                    // An ordinary user may not give files away, and is told so by the kernel.
                    _ => Ownership::Real,
                };
                self.filter(confined, ownership, first)
            }
        }
    }

    fn filter(&self, confined: bool, ownership: Ownership, first: &Channel) -> Result<(), Failure> {
        let listener = match seccomp::install(Profile {
            confined,
            ownership,
        }) {
            Ok(listener) => listener,
            // There is one supervisor to a process; inside another such sandbox it is taken.
            Err(_) if ownership == Ownership::Recorded => {
                let profile = Profile {
                    confined,
                    ownership: Ownership::Pretended,
                };
                seccomp::install(profile).at(Step::Seccomp)?
            }
            Err(errno) => return Err(Failure::new(Step::Seccomp, "", errno)),
        };
        let told = match &listener {
            Some(fd) => first.send_with(&Told::Listening, fd.as_fd()),
            None => first.send(&Told::Listening),
        };
        told.at(Step::Supervisor)
    }

    fn set_ids(&self) -> Result<(), Failure> {
        let (uid, gid) = (self.sandbox.uid, self.sandbox.gid);
        let mut groups: Vec<Gid> = self
            .sandbox
            .groups
            .iter()
            .copied()
            .map(Gid::from_raw)
            .collect();
        // What Docker does: the primary group is always among the supplementary ones, so that a
        // file which that group may not read cannot be read by a program that gave it up.
        if !self.sandbox.groups.contains(&gid) {
            groups.insert(0, Gid::from_raw(gid));
        }
        let set = || {
            rustix::thread::set_thread_groups(&groups)?;
            let gid = Gid::from_raw(gid);
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            let uid = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)
        };
        set().map_err(|errno| {
            let failure = Failure::new(Step::User, format!("{uid}:{gid}"), errno);
            match errno {
                Errno::INVAL => failure.with_hint(
                    "the id is outside of the range that /etc/subuid and /etc/subgid give",
                ),
                _ => failure,
            }
        })
    }

    fn limit_open_files(&self) -> Result<(), Errno> {
        let Some(wanted) = self.sandbox.limits.open_files_max else {
            return Ok(());
        };
        let now = rustix::process::getrlimit(Resource::Nofile);
        let lower = |limit: Option<u64>| Some(limit.map_or(wanted, |limit| limit.min(wanted)));
        let limit = Rlimit {
            current: lower(now.current),
            maximum: lower(now.maximum),
        };
        rustix::process::setrlimit(Resource::Nofile, limit)
    }
}

fn set_ulimit(limit: &Ulimit) -> Result<(), Failure> {
    let wanted = Rlimit {
        current: limit.soft,
        maximum: limit.hard,
    };
    rustix::process::setrlimit(resource(limit.what), wanted).map_err(|errno| {
        let failure = Failure::new(Step::Limits, format!("`{}`", limit.what.name()), errno);
        match errno {
            Errno::PERM => failure.with_hint("only root may raise a limit above the caller's own"),
            _ => failure,
        }
    })
}

fn resource(name: UlimitName) -> Resource {
    match name {
        UlimitName::Core => Resource::Core,
        UlimitName::Cpu => Resource::Cpu,
        UlimitName::Data => Resource::Data,
        UlimitName::Fsize => Resource::Fsize,
        UlimitName::Locks => Resource::Locks,
        UlimitName::Memlock => Resource::Memlock,
        UlimitName::Msgqueue => Resource::Msgqueue,
        UlimitName::Nice => Resource::Nice,
        UlimitName::Nofile => Resource::Nofile,
        UlimitName::Nproc => Resource::Nproc,
        UlimitName::Rss => Resource::Rss,
        UlimitName::Rtprio => Resource::Rtprio,
        UlimitName::Rttime => Resource::Rttime,
        UlimitName::Sigpending => Resource::Sigpending,
        UlimitName::Stack => Resource::Stack,
    }
}

/// Unblocks all signals and lets each do what it does by default. Executing resets handlers but
/// not what is ignored, and the Rust runtime ignores SIGPIPE.
fn reset_signals() {
    // SAFETY: plain numbers, and a set that is written before it is read; signals that cannot be
    // changed are refused without harm.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn take_terminal(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::ioctl_tiocsctty(terminal)?;
    rustix::stdio::dup2_stdin(terminal)?;
    rustix::stdio::dup2_stdout(terminal)?;
    rustix::stdio::dup2_stderr(terminal)
}

/// A string for the kernel. Strings from images cannot hold a zero byte; should one, it ends there.
pub(super) fn c_string(text: &str) -> CString {
    let until_zero = text.split('\0').next().unwrap_or_default();
    CString::new(until_zero).unwrap_or_default()
}
