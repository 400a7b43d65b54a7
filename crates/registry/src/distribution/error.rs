//! What can go wrong between a registry and the store.

use cairn_oci::{JsonError, Reference};
use cairn_store::StoreError;
use thiserror::Error;

use crate::http::{FetchError, FetchProblem};

/// Something went wrong with a registry, or with what it has.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// A request failed.
    #[error("{failure}")]
    Request {
        /// What happened.
        #[source]
        failure: Box<FetchError>,
        /// The registry.
        registry: String,
        /// Whether there was a login for it.
        has_login: bool,
        /// What was wrong with files and programs that might have had one.
        troubles: Vec<String>,
        /// What was wrong with mirrors that were asked before.
        mirrors: Vec<String>,
    },
    /// A document of the registry is broken.
    #[error("{what} of {reference} is broken")]
    Document {
        /// Which.
        what: String,
        /// The image.
        reference: Box<Reference>,
        /// What is wrong.
        #[source]
        source: JsonError,
    },
    /// What the reference names is no image that can be used, or contradicts itself.
    #[error("{reference} cannot be used: {reason}")]
    Unusable {
        /// The image.
        reference: Box<Reference>,
        /// Why not.
        reason: String,
    },
    /// The caller's rules do not let it be used.
    #[error("{reference} is not used: {reason}")]
    Refused {
        /// The image.
        reference: Box<Reference>,
        /// What is missing.
        reason: String,
    },
    /// There is no image for the platform.
    #[error("{reference} has no image for {wanted}; it has {}", listed(found))]
    NoPlatform {
        /// The image.
        reference: Box<Reference>,
        /// The platform asked for.
        wanted: String,
        /// The platforms it has.
        found: Vec<String>,
    },
    /// The store failed, or refused the bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryError {
    /// Whether the registry is there and has no such thing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Request { failure, .. } if failure.is_gone())
    }

    /// Whether the registry could not be reached at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Request { failure, .. }
        if matches!(
            failure.problem,
            FetchProblem::Connection(_) | FetchProblem::UnknownHost { .. }
        ))
    }

    /// Whether the registry, or the service that it names for its tokens, refused to let us in.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Request { failure, .. } if is_denied(&failure.problem))
    }

    /// Whether the registry misses something that a manifest names, or cannot read it.
    pub(crate) fn misses_parts(&self) -> bool {
        matches!(self, Self::Request { failure, .. } if failure.problem.misses_parts())
    }

    /// Whether the registry surely did nothing: it could not be reached, or said no.
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        match self {
            Self::Request { failure, .. } => match &failure.problem {
                FetchProblem::Connection(source) => source.is_connect(),
                FetchProblem::Status { status, .. } => (400..500).contains(status),
                FetchProblem::UnknownHost { .. } | FetchProblem::Token(_) => true,
                _ => false,
            },
            _ => true,
        }
    }

    /// The same, with what was wrong with mirrors.
    pub(super) fn with_mirrors(mut self, told: Vec<String>) -> Self {
        if let Self::Request { mirrors, .. } = &mut self {
            *mirrors = told;
        }
        self
    }

    /// What happened, with its causes, on one line.
    pub(super) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let said = cause.to_string();
            if !text.ends_with(&said) {
                text = format!("{text}: {said}");
            }
            next = cause.source();
        }
        text
    }

    /// Whether the caller stopped it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Request { failure, .. } if failure.is_cancelled())
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let Self::Request {
            failure,
            registry,
            has_login,
            troubles,
            mirrors,
        } = self
        else {
            return Vec::new();
        };
        let is_denied = is_denied(&failure.problem);
        let mut hints = Vec::new();
        if is_denied {
            hints.extend(troubles.iter().cloned());
            hints.push(match has_login {
                true => format!(
                    "the login for {registry} was not enough: check the name, or log in again \
                     with `podman login {registry}` or `docker login {registry}`"
                ),
                false => format!(
                    "there is no login for {registry}: check the name, or log in with \
                     `podman login {registry}` or `docker login {registry}`"
                ),
            });
        } else if failure.is_gone() {
            hints.push("check the registry, the repository and the tag".to_owned());
        } else {
            hints.extend(failure.hint().map(str::to_owned));
            if failure.problem.is_of_unknown_issuer() {
                hints.push(format!(
                    "for this registry alone, lay it as `ca.crt` into /etc/containers/certs.d/{registry}"
                ));
            }
        }
        hints.extend(mirrors.iter().cloned());
        hints
    }
}

fn listed(platforms: &[String]) -> String {
    match platforms {
        [] => "none that names its platform".to_owned(),
        platforms => platforms.join(", "),
    }
}

/// Registries also answer so where there is nothing.
fn is_denied(problem: &FetchProblem) -> bool {
    match problem {
        FetchProblem::Token(inner) => is_denied(&inner.problem),
        FetchProblem::Status { status, .. } => matches!(status, 401 | 403),
        _ => false,
    }
}
