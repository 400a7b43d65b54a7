//! What can go wrong before the program inside runs, by step, with the kernel's own reason.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a sandbox could not be entered or its program not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// This host or account does not allow namespaces.
    #[error("this process may not make a {what}{}", with_hint(hint))]
    Refused {
        /// What the kernel was asked for.
        what: &'static str,
        /// What to do about it.
        hint: Option<String>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The request contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// A step on this side of the namespaces failed.
    #[error("{doing}")]
    Host {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step inside the new namespaces failed before the program was started.
    #[error("{step}{}{}", of_subject(subject), with_hint(hint))]
    Setup {
        /// Which one.
        step: Step,
        /// What it was about: a path, a mount target, a name. May be empty.
        subject: String,
        /// What to do about it, or what the kernel said beyond its error number.
        hint: Option<String>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program could not be executed.
    #[error(transparent)]
    Exec(#[from] ExecFailure),
    /// The process inside ended without a word: it was killed from outside or has a bug.
    #[error("the sandbox's first process ended before it reported ({how})")]
    Vanished {
        /// How it ended, as the kernel tells.
        how: String,
    },
}

impl SandboxError {
    /// The code a shell gives for this: 127 not found, 126 found but not executable, 125 else.
    pub fn shell_code(&self) -> i32 {
        match self {
            SandboxError::Exec(failure) => failure.shell_code(),
            _ => 125,
        }
    }
}

fn with_hint(hint: &Option<String>) -> String {
    hint.as_ref()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default()
}

fn of_subject(subject: &str) -> String {
    if subject.is_empty() {
        String::new()
    } else {
        format!(" {subject}")
    }
}

/// The steps inside the new namespaces, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the Display text of each variant says it")]
pub enum Step {
    ReadRequest,
    Namespaces,
    Scratch,
    Layers,
    Overlay,
    Root,
    Proc,
    Sys,
    Dev,
    EtcFiles,
    Certificates,
    Target,
    Mount,
    Mask,
    Pivot,
    Hostname,
    Loopback,
    Terminal,
    Supervisor,
    Emulator,
    Fork,
    WorkingDirectory,
    Limits,
    Capabilities,
    Seccomp,
    User,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::ReadRequest => "reading the request",
            Step::Namespaces => "making namespaces",
            Step::Scratch => "mounting the scratch file system",
            Step::Layers => "opening layer",
            Step::Overlay => "mounting overlay",
            Step::Root => "attaching the root",
            Step::Proc => "mounting /proc",
            Step::Sys => "mounting /sys",
            Step::Dev => "making /dev",
            Step::EtcFiles => "providing",
            Step::Certificates => "adding certificates to",
            Step::Target => "making mount target",
            Step::Mount => "mounting",
            Step::Mask => "masking",
            Step::Pivot => "changing the root",
            Step::Hostname => "setting the host name",
            Step::Loopback => "starting the loopback interface",
            Step::Terminal => "making a terminal",
            Step::Supervisor => "starting the chown supervisor",
            Step::Emulator => "telling the kernel of the emulator",
            Step::Fork => "starting a process",
            Step::WorkingDirectory => "changing to the working directory",
            Step::Limits => "setting limit",
            Step::Capabilities => "dropping capabilities",
            Step::Seccomp => "installing the seccomp profile",
            Step::User => "becoming user",
        })
    }
}

/// Why the program could not be executed, in words a user of the image can act on.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ExecFailure {
    /// No directory of `PATH` has it.
    #[error("exec: no such program `{program}` in PATH ({path})")]
    NotInPath {
        /// As given.
        program: String,
        /// The `PATH` searched.
        path: String,
    },
    /// The path given does not exist in the image.
    #[error("exec: no such file `{program}`")]
    NoSuchFile {
        /// As given.
        program: String,
    },
    /// The file exists; the interpreter it names does not.
    #[error("exec: `{program}` needs the interpreter `{interpreter}`, which is not in the image")]
    NoInterpreter {
        /// The file.
        program: String,
        /// What its `#!` line or program header asks for.
        interpreter: String,
    },
    /// The file exists and may not be executed.
    #[error("exec: `{program}` is not executable: {reason}")]
    NotExecutable {
        /// The file.
        program: String,
        /// Its mode, or the kernel's words.
        reason: String,
    },
    /// The file is a program of another machine, and nothing here runs it.
    #[error("exec: `{program}` is not executable: it is built for {machine}")]
    Foreign {
        /// The file.
        program: String,
        /// What it is built for.
        machine: String,
    },
    /// There is nothing to execute.
    #[error("exec: no command given")]
    Empty,
}

impl ExecFailure {
    /// 127 for what is not there, 126 for what is there and cannot be executed.
    pub fn shell_code(&self) -> i32 {
        match self {
            ExecFailure::NotExecutable { .. } | ExecFailure::Foreign { .. } => 126,
            _ => 127,
        }
    }
}

/// What the process inside reports when a step fails; plain data, so that it can travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// A step of the preparation.
    Setup {
        step: Step,
        subject: String,
        hint: Option<String>,
        errno: i32,
    },
    /// The last step: executing the program.
    Exec(ExecFailure),
}

impl Failure {
    pub(crate) fn new(step: Step, subject: impl Into<String>, errno: Errno) -> Failure {
        Failure::Setup {
            step,
            subject: subject.into(),
            hint: None,
            errno: errno.raw_os_error(),
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Failure {
        match self {
            Failure::Setup {
                step,
                subject,
                errno,
                ..
            } => Failure::Setup {
                step,
                subject,
                hint: Some(hint.into()),
                errno,
            },
            exec @ Failure::Exec(_) => exec,
        }
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> SandboxError {
        match failure {
            Failure::Setup {
                step,
                subject,
                hint,
                errno,
            } => {
                let source = io::Error::from_raw_os_error(errno);
                SandboxError::Setup {
                    step,
                    subject,
                    hint,
                    source,
                }
            }
            Failure::Exec(failure) => SandboxError::Exec(failure),
        }
    }
}

/// Names the step, and what it was about, where a system call fails.
pub(crate) trait At<T> {
    /// A step that is about one thing, if any.
    fn at(self, step: Step) -> Result<T, Failure>;
    /// A step of which there are several: `subject` tells which.
    fn at_path(self, step: Step, subject: &Path) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, "", errno))
    }

    fn at_path(self, step: Step, subject: &Path) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, subject.display().to_string(), errno))
    }
}

/// Names the step on the caller's side that failed.
pub(crate) fn host<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> SandboxError {
    let doing = doing.into();
    move |errno| SandboxError::Host {
        doing,
        source: errno.into(),
    }
}
