//! What can go wrong with a download, told with the method, the redacted URL and what to do.

use std::path::PathBuf;
use std::time::Duration;

use cairn_oci::{Digest, redact};
use thiserror::Error;

/// A download that did not succeed.
#[derive(Debug, Error)]
#[error("{method} {url}: {problem}")]
pub struct FetchError {
    /// The HTTP method.
    pub method: &'static str,
    /// The URL that was asked, without secrets.
    pub url: String,
    /// How many requests were sent in a row without progress.
    pub attempts: u32,
    /// What happened last.
    #[source]
    pub problem: FetchProblem,
}

/// Why a download failed.
#[derive(Debug, Error)]
pub enum FetchProblem {
    /// The server answered, but not with the file.
    #[error("the server answered {status}{}", server_words(.said))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the server's own words, cleaned of control characters.
        said: String,
        /// The codes of a registry's errors, as the distribution spec names them.
        codes: Vec<String>,
        /// How long the server asks to wait before the next request.
        retry_after: Option<Duration>,
    },
    /// No answer, or the connection broke and stayed broken.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    /// The host's name leads nowhere.
    #[error("the name `{host}` cannot be resolved: {reason}")]
    UnknownHost {
        /// The host.
        host: String,
        /// What the resolver made of it.
        reason: &'static str,
    },
    /// Reading the answer failed and went on failing.
    #[error("the transfer broke off after {received} bytes")]
    Broken {
        /// How many bytes had arrived.
        received: u64,
        /// The last failure.
        #[source]
        source: std::io::Error,
    },
    /// The file ended early, again and again.
    #[error("the file ended after {received} of {expected} bytes")]
    Short {
        /// How many bytes arrived.
        received: u64,
        /// How many were announced or known.
        expected: u64,
    },
    /// The file is larger than the caller allows.
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The most that was acceptable.
        limit: u64,
    },
    /// The file has another size than the one that is known.
    #[error("the file has {actual} bytes instead of {expected}")]
    WrongSize {
        /// The size that was known beforehand.
        expected: u64,
        /// What the server sent or announced.
        actual: u64,
    },
    /// The file has another content than the one that is known.
    #[error("the file has the digest {actual} instead of {expected}")]
    WrongDigest {
        /// The digest that was known beforehand.
        expected: Digest,
        /// The digest of what the server sent.
        actual: Digest,
    },
    /// A document came otherwise than it was sent, again and again.
    #[error("it came damaged: with the digest {actual} instead of {expected}")]
    Damaged {
        /// The digest that was asked for, or told with it.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The file changed on the server while it was read in several pieces.
    #[error("the file changed on the server during the transfer")]
    Changed,
    /// The received bytes could not be kept.
    #[error("the received bytes could not be written")]
    Write(#[source] std::io::Error),
    /// The store refused the bytes.
    #[error("the store did not take the file")]
    Store(#[source] Box<cairn_store::StoreError>),
    /// The text is no URL that can be fetched.
    #[error("not an http or https URL")]
    NotHttp,
    /// Nothing may be fetched.
    #[error("it is not here, and `--offline` forbids to fetch it")]
    Offline,
    /// An extra certificate file cannot be used.
    #[error("the certificate file {} cannot be used", .path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service that a registry names for its tokens gave none.
    #[error("no token for it could be had")]
    Token(#[source] Box<FetchError>),
    /// The server answered, but not as the protocol asks for.
    #[error("{0}")]
    Answer(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

pub(crate) fn fetch_error(
    method: &'static str,
    url: &str,
    attempts: u32,
    problem: FetchProblem,
) -> FetchError {
    FetchError {
        method,
        url: redact(url),
        attempts,
        problem,
    }
}

fn server_words(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

impl FetchError {
    /// Says whether the server is there and does not have the file.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(
            self.problem,
            FetchProblem::Status {
                status: 404 | 410,
                ..
            }
        )
    }

    /// Says whether the caller stopped the download.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.problem, FetchProblem::Cancelled)
    }

    /// Says what the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match &self.problem {
            FetchProblem::Token(source) => return source.hint(),
            FetchProblem::Status {
                status: 401 | 403, ..
            } => {
                "the server wants other credentials, or a proxy refuses the address; files \
                 of `ADD` are asked for with the secret `HTTP_AUTH_TOKEN_<host>` or \
                 `HTTP_AUTH_HEADER_<host>`"
            }
            FetchProblem::Status {
                status: 404 | 410, ..
            } => "the server does not have this file; check the address or try another mirror",
            FetchProblem::Status { status: 407, .. } => "the proxy wants credentials",
            FetchProblem::Status { status: 429, .. } => "the server limits requests; try later",
            FetchProblem::Status { status: 500.., .. } => "the server has a problem; try later",
            FetchProblem::UnknownHost { .. } => {
                "check the spelling of the address, and whether this machine has a name server \
                 (/etc/resolv.conf) or needs a proxy"
            }
            problem if problem.is_of_unknown_issuer() => {
                "nobody whom this machine trusts signed the server's certificate: name the file of \
                 a private authority (PEM) with `SSL_CERT_FILE`"
            }
            FetchProblem::Connection(source) if source.is_connect() => {
                "check the network, the proxy settings and, behind a company proxy, the CA file"
            }
            FetchProblem::Connection(_)
            | FetchProblem::Broken { .. }
            | FetchProblem::Short { .. } => "check the network, or try another mirror",
            FetchProblem::WrongSize { .. }
            | FetchProblem::WrongDigest { .. }
            | FetchProblem::Damaged { .. } => {
                "the mirror is damaged, out of step or hostile; try another one"
            }
            FetchProblem::Changed => "try again",
            FetchProblem::Offline => "run it once without `--offline`: what was fetched is kept",
            _ => return None,
        })
    }
}

impl FetchProblem {
    /// Says whether sending the request again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            FetchProblem::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=529)
            }
            FetchProblem::Connection(source) => {
                let is_final = source.is_builder() || source.is_redirect();
                !is_final && certificate_error(source).is_none()
            }
            // A name server that was slow may have an answer the next time; "no such name" is one.
            FetchProblem::UnknownHost { reason, .. } => *reason == NO_ANSWER,
            FetchProblem::Broken { .. } | FetchProblem::Short { .. } => true,
            // A document is small: asking for it again costs less than being wrong about it.
            FetchProblem::Damaged { .. } => true,
            _ => false,
        }
    }

    /// Says whether the server's certificate is not believed.
    pub(crate) fn is_about_a_certificate(&self) -> bool {
        matches!(self, FetchProblem::Connection(source) if certificate_error(source).is_some())
    }

    /// Says whether nobody whom this machine trusts signed the server's certificate.
    pub(crate) fn is_of_unknown_issuer(&self) -> bool {
        use rustls::CertificateError::UnknownIssuer;
        matches!(self, FetchProblem::Connection(source)
            if certificate_error(source) == Some(UnknownIssuer))
    }

    /// Says whether a registry misses something that a manifest names, or cannot read it.
    pub(crate) fn misses_parts(&self) -> bool {
        const CODES: [&str; 4] = [
            "MANIFEST_BLOB_UNKNOWN",
            "BLOB_UNKNOWN",
            "MANIFEST_UNKNOWN",
            "DIGEST_INVALID",
        ];
        matches!(self, FetchProblem::Status { status: 400 | 404, codes, .. }
            if codes.iter().any(|code| CODES.contains(&code.as_str())))
    }

    /// Why a request got no answer, in as few words as there are for it.
    pub(crate) fn of_request(error: reqwest::Error) -> Self {
        match unresolved(&error) {
            Some((host, reason)) => FetchProblem::UnknownHost { host, reason },
            None => FetchProblem::Connection(error.without_url()),
        }
    }
}

/// Why the certificate of a server is not believed, if that is what failed.
fn certificate_error(error: &reqwest::Error) -> Option<rustls::CertificateError> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why.clone());
        }
        // Such an error's source is that of what it wraps, not what it wraps.
        let wrapped = error.downcast_ref::<std::io::Error>();
        next = match wrapped.and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

const NO_SUCH_NAME: &str = "there is no such host";
const NO_ANSWER: &str = "no name server answers";

/// The name that could not be resolved and why, if that is what failed. The resolver's errors have
/// no type that we could see.
fn unresolved(error: &reqwest::Error) -> Option<(String, &'static str)> {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    let mut is_about_names = false;
    let mut innermost = String::new();
    while let Some(error) = next {
        innermost = error.to_string();
        is_about_names |= innermost.starts_with("dns error");
        next = error.source();
    }
    if !is_about_names {
        return None;
    }
    let reason = match innermost.contains("no records found") {
        true => NO_SUCH_NAME,
        false => NO_ANSWER,
    };
    // Behind a proxy it is the proxy's name.
    let named = innermost.split("Name(\"").nth(1);
    let named = named.and_then(|rest| rest.split('"').next());
    let host = match named {
        Some(name) => name.trim_end_matches('.'),
        None => error.url()?.host_str()?,
    };
    Some((host.to_owned(), reason))
}
