//! Why a Debian base could not be locked or assembled.

use std::path::PathBuf;

use cairn_registry::{FetchError, FetchProblem};
use cairn_sandbox::{Emulator, Exit, SandboxError};
use cairn_store::StoreError;
use thiserror::Error;

use crate::deb::DebError;
use crate::lock::LockedPackage;
use crate::release::ReleaseError;
use crate::solve::SolveError;
use crate::trust::TrustError;

/// Why a Debian base could not be locked or assembled.
#[derive(Debug, Error)]
pub enum DebianError {
    /// A Release file is not signed by someone who may.
    #[error("the Release of {suite} at {mirror} is not trusted")]
    Untrusted {
        /// The suite.
        suite: String,
        /// Where the file came from.
        mirror: String,
        /// What is wrong with its signatures.
        #[source]
        source: TrustError,
    },
    /// A Release file is trusted, but not usable now.
    #[error("the Release of {suite} at {mirror} is refused")]
    Refused {
        /// The suite.
        suite: String,
        /// Where the file came from.
        mirror: String,
        /// Why.
        #[source]
        source: ReleaseError,
    },
    /// No mirror has the suite.
    #[error("the suite {suite} cannot be fetched from {}", .mirrors.join(", "))]
    NoRelease {
        /// The suite.
        suite: String,
        /// All mirrors that were tried.
        mirrors: Vec<String>,
        /// What the last one answered.
        #[source]
        source: Box<FetchError>,
    },
    /// A suite has no such component or architecture.
    #[error("the suite {suite} has no {component} for {arch}")]
    NoIndex {
        /// The suite.
        suite: String,
        /// The component.
        component: String,
        /// The architecture.
        arch: String,
    },
    /// An index is not the one the Release names, or cannot be had.
    #[error("the index {path} of {suite} cannot be fetched as its Release describes it")]
    Index {
        /// The suite.
        suite: String,
        /// The index's path below the suite.
        path: String,
        /// What happened.
        #[source]
        source: Box<FetchError>,
    },
    /// An index cannot be unpacked.
    #[error("the index {path} of {suite} cannot be unpacked")]
    UnreadableIndex {
        /// The suite.
        suite: String,
        /// The index's path below the suite.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The packages cannot be chosen.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// A chosen package's stanza lacks what is needed to fetch it.
    #[error("the index entry of {package} has no usable {field}")]
    Stanza {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
    },
    /// Locked packages are on no mirror any more.
    #[error("no mirror has {}", shown(.packages))]
    Gone {
        /// The packages.
        packages: Vec<LockedPackage>,
    },
    /// Locked packages are not in the store, and nothing may be fetched.
    #[error("the store lacks {}, and `--offline` forbids to fetch", shown(.packages))]
    Offline {
        /// The packages.
        packages: Vec<LockedPackage>,
    },
    /// A package could not be fetched.
    #[error("the package {package} cannot be fetched")]
    Fetch {
        /// The package.
        package: String,
        /// What happened.
        #[source]
        source: Box<FetchError>,
    },
    /// A package file is damaged or of another kind than it should be.
    #[error("the package {package} cannot be read")]
    Deb {
        /// The package.
        package: String,
        /// Why.
        #[source]
        source: DebError,
    },
    /// Two packages bring the same file and neither says that it replaces the other.
    #[error("the packages {first} and {second} both bring {path}")]
    FileConflict {
        /// One package.
        first: String,
        /// The other.
        second: String,
        /// The path.
        path: String,
    },
    /// The base's architecture cannot run here.
    #[error("maintainer scripts of {arch} cannot run on {host}: there is no emulator")]
    ForeignArch {
        /// The base's architecture.
        arch: String,
        /// This machine's.
        host: String,
    },
    /// A maintainer script or dpkg failed.
    #[error("{what} {}", ended(.exit))]
    Script {
        /// What ran.
        what: String,
        /// How it ended.
        exit: Exit,
        /// The last lines it printed.
        output: String,
    },
    /// The sandbox could not run.
    #[error("the maintainer scripts cannot be run")]
    Sandbox(#[source] SandboxError),
    /// The lock cannot be understood.
    #[error("the lock cannot be read: {why}")]
    Lock {
        /// Why.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the tree could not be written or read.
    #[error("{}: {action} failed", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        action: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl DebianError {
    /// Whether the network, the disk or the kernel is at fault, rather than what was asked for or
    /// what the archive says.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            // A mirror that answers, and does not know the suite.
            DebianError::NoRelease { source, .. } => !source.is_gone(),
            DebianError::NoIndex { .. }
            | DebianError::Solve(_)
            | DebianError::Stanza { .. }
            | DebianError::Deb { .. }
            | DebianError::FileConflict { .. }
            | DebianError::ForeignArch { .. }
            | DebianError::Script { .. }
            | DebianError::Lock { .. }
            | DebianError::Cancelled => false,
            _ => true,
        }
    }

    /// Says what the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            DebianError::Untrusted {
                source: TrustError::ExpiredKey { .. },
                ..
            } => "the archive's key has expired; give a newer `keyring`".to_owned(),
            DebianError::Untrusted {
                source: TrustError::UnknownKey { .. },
                ..
            } => "give the archive's own keys as `keyring`".to_owned(),
            DebianError::Untrusted { .. } => {
                "the mirror is damaged or hostile; use another one".to_owned()
            }
            DebianError::Refused {
                source: ReleaseError::Expired { .. },
                ..
            } => {
                "the mirror is no longer updated, or the clock is wrong; a build from `cairn.lock` \
                 needs no index"
                    .to_owned()
            }
            DebianError::Gone { .. } => {
                "`cairn lock --update` takes the versions that the mirrors have now".to_owned()
            }
            DebianError::Offline { .. } => {
                "run it once without `--offline`: packages stay in the store".to_owned()
            }
            DebianError::ForeignArch { arch, .. } => {
                format!(
                    "{}, or build on a machine of {arch}",
                    Emulator::how_to_get_one()
                )
            }
            DebianError::NoRelease { source, .. }
            | DebianError::Index { source, .. }
            | DebianError::Fetch { source, .. } => source.hint()?.to_owned(),
            DebianError::Script { output, .. } if !output.is_empty() => output.clone(),
            _ => return None,
        })
    }

    /// Tells a stopped download from a failed one.
    pub(crate) fn from_fetch(
        source: FetchError,
        failed: impl FnOnce(Box<FetchError>) -> DebianError,
    ) -> DebianError {
        match source.problem {
            FetchProblem::Cancelled => DebianError::Cancelled,
            _ => failed(Box::new(source)),
        }
    }
}

fn shown(packages: &[LockedPackage]) -> String {
    let names = packages.iter().map(|p| format!("{} {}", p.name, p.version));
    names.collect::<Vec<_>>().join(", ")
}

fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("failed with exit code {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
        Exit::TimedOut => "took too long".to_owned(),
        Exit::OutOfMemory => "ran out of memory".to_owned(),
        Exit::Cancelled => "was cancelled".to_owned(),
    }
}
