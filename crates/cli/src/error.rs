//! Why a command stopped, what people are told, and which exit code follows.
//!
//! Every error of a library becomes a [`CommandError`] here, in the `From` table at the end: its
//! kind decides the exit code, its source chain is printed once, and hints are added where the
//! knowledge is.

use std::error::Error;
use std::io;

use cairn_build::image::export::ExportError;
use cairn_build::image::load::LoadError;
use cairn_diagnostic::Diagnostic;
use cairn_sandbox::{SandboxError, interrupt};
use cairn_store::{StoreError, write_advice};

use crate::exit;

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The work failed: a step, a test, a check.
    Work,
    /// The command line, the spec file or a Dockerfile is wrong.
    Usage,
    /// A registry, the disk or the kernel failed.
    Environment,
    /// Ctrl-C, or another signal that asks to stop.
    Interrupted(i32),
    /// Who reads our output went away: nothing is left to say and nothing went wrong.
    BrokenPipe,
    /// A code of its own: that of a container's process, or docker's 125 to 127.
    Code(u8),
}

impl Kind {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Work => exit::WORK_FAILED,
            Kind::Usage => exit::USAGE,
            Kind::Environment => exit::ENVIRONMENT,
            Kind::Interrupted(signal) => exit::interrupted(signal),
            Kind::BrokenPipe => exit::DONE,
            Kind::Code(code) => code,
        }
    }
}

/// The end of a command that did not do all it was asked for.
#[derive(Debug)]
pub struct CommandError {
    /// What sort of failure it is.
    pub kind: Kind,
    /// The message and, behind it, its causes, outermost first.
    pub messages: Vec<String>,
    /// Findings that point into a file; they are printed instead of a message if there is none.
    pub findings: Vec<Diagnostic>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl CommandError {
    /// A failure with a message of our own.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            messages: vec![message.into()],
            findings: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The command line or a spec is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The end of a command that Ctrl-C, or another signal, stopped.
    pub fn interrupted() -> Self {
        const CTRL_C: i32 = 2;
        let signal = interrupt::received().unwrap_or(CTRL_C);
        let text = "interrupted; steps that were finished are kept";
        Self::new(Kind::Interrupted(signal), text)
    }

    /// A failure that was told already; only the exit code is left.
    pub fn told(kind: Kind) -> Self {
        Self {
            kind,
            messages: Vec::new(),
            findings: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Takes over an error with its causes.
    pub fn from_error(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        let kind = if is_broken_pipe(error) {
            Kind::BrokenPipe
        } else {
            kind
        };
        Self {
            kind,
            messages: chain(error),
            findings: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Findings about files, all errors among them being the reason.
    pub fn from_findings(kind: Kind, findings: Vec<Diagnostic>) -> Self {
        Self {
            kind,
            messages: Vec::new(),
            findings,
            hints: Vec::new(),
        }
    }

    /// It in a line, for a report: what was told already is not told again.
    pub fn in_words(&self) -> String {
        let findings = self.findings.iter().map(|it| it.message.as_str());
        let messages = self.messages.iter().map(String::as_str);
        let first = match self.messages.is_empty() {
            true => findings.take(1).collect::<Vec<_>>(),
            false => messages.collect(),
        };
        match first.is_empty() {
            true => "the work failed, as standard error tells".to_owned(),
            false => first.join(": "),
        }
    }

    /// Says what was tried, in front of the message: `reading x: ...`.
    #[must_use]
    pub fn while_doing(mut self, what: impl Into<String>) -> Self {
        self.messages.insert(0, what.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The message of an error and of its causes. A cause whose text the message above it holds
/// already is left out.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !messages.last().is_some_and(|last| last.ends_with(&text)) {
            messages.push(text);
        }
        next = error.source();
    }
    messages
}

/// Whether standard output's reader went away. Only our own writes say so: a pipe of another
/// process that broke is inside a library's error and means something else.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<OutputError>()
        .is_some_and(|error| error.0.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub struct OutputError(#[source] pub std::io::Error);

impl From<OutputError> for CommandError {
    fn from(error: OutputError) -> Self {
        Self::from_error(Kind::Environment, &error)
    }
}

/// The table: which errors of libraries mean what.
impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            // Bytes that came in are at fault, not the disk.
            StoreError::DigestMismatch { .. }
            | StoreError::DiffIdMismatch { .. }
            | StoreError::Layer { .. }
            | StoreError::Tar { .. } => Kind::Work,
            StoreError::NoStore { .. } => Kind::Usage,
            _ => Kind::Environment,
        };
        let told = Self::from_error(kind, &error);
        match error {
            StoreError::Foreign { .. } => told.hint(
                "run this as that user, or name a store of your own: `--home DIR` or `CAIRN_HOME`",
            ),
            StoreError::NoStore { .. } => told
                .hint("`--home DIR` or `CAIRN_HOME` names another; building or loading makes one"),
            StoreError::SnapshotMissing { .. } => told.hint(
                "the store lost a layer of this image: build, load or pull it again; `cairn \
                 doctor` looks for further damage",
            ),
            _ => match write_advice(&error) {
                Some(advice) => told.hint(advice),
                None => told,
            },
        }
    }
}

impl From<SandboxError> for CommandError {
    fn from(error: SandboxError) -> Self {
        let kind = match &error {
            SandboxError::Invalid(_) => Kind::Usage,
            SandboxError::Exec(_) => Kind::Work,
            _ => Kind::Environment,
        };
        let told = Self::from_error(kind, &error);
        match error {
            SandboxError::Refused { .. } => told.hint("`cairn doctor` says what this host allows"),
            _ => told,
        }
    }
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => error.into(),
            // A file that ends early or makes no sense is one thing, a disk that fails another.
            LoadError::Read { ref source, .. } => {
                let kind = match source.kind() {
                    io::ErrorKind::NotFound
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::Other => Kind::Usage,
                    _ => Kind::Environment,
                };
                Self::from_error(kind, &error)
            }
            error => Self::from_error(Kind::Usage, &error),
        }
    }
}

impl From<ExportError> for CommandError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::Occupied(_) | ExportError::NoStream => {
                Self::from_error(Kind::Usage, &error)
            }
            ExportError::Collision { .. } => Self::from_error(Kind::Work, &error),
            ExportError::AttestationCollision(_) => Self::from_error(Kind::Work, &error).hint(
                "have it called otherwise: `--output type=local,dest=DIR,attestation-prefix=TEXT`",
            ),
            ExportError::OnePlatform => Self::from_error(Kind::Usage, &error)
                .hint("several go into an image layout: `type=oci`"),
            error => Self::from_error(Kind::Environment, &error),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading the lock")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Inner;

    #[test]
    fn causes_are_listed_once() {
        let error = CommandError::from_error(Kind::Environment, &Outer(Inner));
        assert_eq!(error.messages, ["reading the lock", "the disk is full"]);
        assert_eq!(error.kind.exit_code(), exit::ENVIRONMENT);
    }

    #[test]
    fn a_broken_pipe_is_a_clean_exit_only_on_our_output() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(CommandError::from(OutputError(pipe())).kind.exit_code(), 0);
        let other = CommandError::from_error(Kind::Environment, &pipe());
        assert_eq!(other.kind, Kind::Environment);
        let full = OutputError(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(CommandError::from(full).kind.exit_code(), exit::ENVIRONMENT);
    }
}
