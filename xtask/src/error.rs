//! What can go wrong in a chore, and the exit code it gives.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a chore did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChoreError {
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// The chore ran and found the work wanting.
    #[error("{0}")]
    Unmet(String),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file says something that cannot be understood.
    #[error("{}: {detail}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program as it was called.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` ended with {status}{}", tail(output))]
    Failed {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote, when it was captured.
        output: String,
    },
}

impl ChoreError {
    /// Pairs a path with the system's error about it; made for `map_err`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The same numbers as Cairn's own: 1 the work failed, 2 wrong usage, 3 the environment.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Unmet(_) | Self::Failed { .. } => 1,
            Self::Usage(_) | Self::Content { .. } => 2,
            Self::File { .. } | Self::Start { .. } => 3,
        })
    }
}

/// The end of a program's output, on lines of its own.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    last.iter().map(|line| format!("\n    {line}")).collect()
}
