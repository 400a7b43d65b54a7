//! Why a step failed, and what to tell people about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cairn_diagnostic::Diagnostic;
use cairn_sandbox::{Emulator, ExecFailure, Exit, SandboxError};
use cairn_store::{StoreError, write_advice};

use crate::account::AccountError;
use crate::clue::{Clue, Missing};
use crate::copy::{CopyError, SelectError};
use crate::device::DeviceError;
use crate::event::VertexId;
use crate::graph::Vertex;
use crate::resolve::whole;

/// Why a vertex gave no result.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Its process ended badly.
    #[error("process {command} did not complete successfully: {}", ending(.exit))]
    Process {
        /// The command, quoted.
        command: String,
        /// How it ended.
        exit: Exit,
        /// Whether the disk of the store was full at its end.
        disk_full: bool,
        /// What its output tells of the cause.
        clue: Option<Clue>,
    },
    /// Its process could not be started.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The files it names cannot be found.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Its files cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A user or group is unknown.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Files that it takes from elsewhere are not where a cache said.
    #[error(transparent)]
    Cache(#[from] crate::cache::BrokenPromise),
    /// Files that it takes from elsewhere are not here, and a run that only looks fetches none.
    #[error("the files that it takes are not here")]
    Unseen {
        /// What has them.
        of: VertexId,
    },
    /// The files of an image from outside cannot be fetched.
    #[error("the files of `{image}` cannot be fetched: {reason}")]
    Base {
        /// Its name.
        image: String,
        /// Why not.
        reason: String,
    },
    /// A file cannot be fetched.
    #[error(transparent)]
    Fetch(Box<cairn_registry::FetchError>),
    /// Fetched files cannot be used.
    #[error(transparent)]
    Context(#[from] crate::context::ContextError),
    /// A repository cannot be fetched.
    #[error("failed to load the git repository")]
    Git(#[source] Box<cairn_registry::git::GitError>),
    /// A file's checksum is not the one asked for.
    #[error("digest mismatch for {url}: expected {expected}, got {found}")]
    Checksum {
        /// The address.
        url: String,
        /// `--checksum`.
        expected: String,
        /// What came.
        found: String,
    },
    /// A mode is none.
    #[error(transparent)]
    Mode(cairn_dockerfile::chmod::ChmodError),
    /// A required secret or agent was not given.
    #[error("{} {}: not found", .0.kind, .0.name)]
    NotGiven(Missing),
    /// A device cannot be handed out.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A base image cannot be assembled.
    #[error("cannot assemble the Debian base")]
    Debian(#[source] Box<cairn_debian::DebianError>),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the store or the host cannot be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Somebody asked the run to stop.
    #[error("stopped")]
    Cancelled,
}

impl StepError {
    /// Whether the environment is at fault rather than what was to be built.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Store(_)
            | Self::Io { .. }
            | Self::Fetch(_)
            | Self::Device(_)
            | Self::Base { .. } => true,
            Self::Git(error) => error.is_environment(),
            Self::Debian(error) => error.is_environment(),
            Self::Process { disk_full, .. } => *disk_full,
            Self::Sandbox(SandboxError::Exec(_)) => false,
            Self::Sandbox(_) => true,
            Self::Copy(error) => matches!(error, CopyError::Store(_) | CopyError::Write { .. }),
            _ => false,
        }
    }

    /// Advice on the likely cause.
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Process {
                disk_full: true, ..
            } => write_advice(&io::Error::from(io::ErrorKind::StorageFull))
                .map(str::to_owned)
                .into_iter()
                .collect(),
            Self::Process {
                clue: Some(clue), ..
            } => vec![clue.hint()],
            Self::Process { exit, .. } => exit_hint(*exit).into_iter().collect(),
            Self::Sandbox(SandboxError::Exec(failure)) => exec_hint(failure).into_iter().collect(),
            // What cannot be read is the source's affair, not the store's.
            Self::Store(_)
            | Self::Io { .. }
            | Self::Copy(CopyError::Store(_) | CopyError::Write { .. }) => {
                write_advice(self).map(str::to_owned).into_iter().collect()
            }
            Self::Select(SelectError::NotFound {
                dangling: Some(link),
                ..
            }) => vec![format!(
                "`{}` is a link to `{}`: links are followed inside the source only, where that is \
                 not. Put the file there, or name its directory with `--build-context`.",
                link.path, link.target
            )],
            Self::Select(SelectError::NotFound {
                near, hidden_by, ..
            }) => missing_file_hints(near, hidden_by.is_some()),
            Self::NotGiven(missing) => vec![format!("Give it with {}.", missing.flag())],
            Self::Copy(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Fetch(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Git(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Debian(error) => error.hint().into_iter().collect(),
            Self::Account(_) => {
                vec!["Names are looked up in the image's own /etc/passwd and /etc/group.".into()]
            }
            _ => Vec::new(),
        }
    }
}

fn missing_file_hints(near: &[String], is_hidden: bool) -> Vec<String> {
    if is_hidden {
        return vec!["Take it back with a `!` line in the ignore file.".to_owned()];
    }
    if near.is_empty() {
        return vec!["Paths are relative to the context, not to the Dockerfile.".to_owned()];
    }
    let near: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    vec![format!("There is {}.", near.join(" and "))]
}

fn ending(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code: {code}"),
        Exit::Signal(signal) => format!("exit code: {} (signal {signal})", 128 + signal),
        Exit::TimedOut => "time limit reached".to_owned(),
        Exit::OutOfMemory => "exit code: 137 (out of memory)".to_owned(),
        Exit::Cancelled => "stopped".to_owned(),
    }
}

fn exit_hint(exit: Exit) -> Option<String> {
    Some(match exit {
        Exit::Code(127) => "127 means that a program was not found: is it installed in this \
                            stage, and is it in PATH?"
            .to_owned(),
        Exit::Code(126) => {
            "126 means that a file was found but could not be executed: is it executable (`COPY \
             --chmod=755`), and for this CPU?"
                .to_owned()
        }
        Exit::Code(137) | Exit::Signal(9) => {
            "137 is signal 9 (SIGKILL): something ended the process at once. The kernel counted \
             no kill for want of memory meanwhile, so it was a program of the step or of this \
             machine that sent it."
                .to_owned()
        }
        Exit::OutOfMemory => {
            "137 is signal 9 (SIGKILL), which the kernel sent for want of memory: give the \
             machine more, or lower what the step needs (fewer parallel jobs)."
                .to_owned()
        }
        Exit::Code(139) | Exit::Signal(11) => {
            "139 is signal 11 (SIGSEGV): the program crashed. Programs of another CPU that an \
             emulator runs and mixed versions of libraries are common causes."
                .to_owned()
        }
        Exit::Code(132) | Exit::Signal(4) => {
            "132 is signal 4 (SIGILL): the program is built for instructions that this CPU does \
             not have."
                .to_owned()
        }
        Exit::TimedOut => "Raise the time limit, or make the step faster.".to_owned(),
        _ => return None,
    })
}

fn exec_hint(failure: &ExecFailure) -> Option<String> {
    Some(match failure {
        ExecFailure::NotInPath { .. } | ExecFailure::NoSuchFile { .. } => {
            "Install it in this stage, or name the program by its path. The shell form (`RUN a b`) \
             needs a /bin/sh in the stage."
                .to_owned()
        }
        ExecFailure::Foreign { .. } => {
            let order = Emulator::how_to_get_one();
            format!(
                "This machine cannot run it: {order}. Or build the stage with \
                 `FROM --platform=$BUILDPLATFORM`."
            )
        }
        ExecFailure::NotExecutable { reason, .. } if reason.starts_with("its mode") => {
            "Copy it with `--chmod=755`, or make it executable in a step before.".to_owned()
        }
        _ => return None,
    })
}

/// A failed vertex, ready to be shown.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which.
    pub vertex: VertexId,
    /// The image it was built for.
    pub image: String,
    /// What happened, where, and what to do.
    pub diagnostic: Diagnostic,
    /// Whether the environment is at fault rather than what was to be built.
    pub environment: bool,
    /// The step's log, if it printed anything.
    pub log: Option<PathBuf>,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Failure {
    /// Points an error at the instruction it comes from.
    pub(crate) fn new(
        id: VertexId,
        vertex: &Vertex,
        error: &StepError,
        log: Option<PathBuf>,
        elapsed: Duration,
    ) -> Self {
        let mut diagnostic = Diagnostic::error(whole(error));
        diagnostic.label.clone_from(&vertex.origin.label);
        diagnostic.hints = error.hints();
        Self {
            vertex: id,
            image: vertex.origin.image.clone(),
            diagnostic,
            environment: error.is_environment(),
            log,
            elapsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what is known is said: the sandbox counts the kernel's kills.
    #[test]
    fn memory_is_blamed_only_when_the_kernel_says_so() {
        let hint = |exit| exit_hint(exit).unwrap_or_default();
        assert!(hint(Exit::OutOfMemory).contains("sent for want of memory"));
        for exit in [Exit::Code(137), Exit::Signal(9)] {
            assert!(hint(exit).contains("signal 9"), "{exit:?}");
            assert!(
                hint(exit).contains("no kill for want of memory"),
                "{exit:?}"
            );
        }
        assert!(hint(Exit::TimedOut).contains("time limit"));
        assert_eq!(hint(Exit::Code(1)), "");
    }
}
