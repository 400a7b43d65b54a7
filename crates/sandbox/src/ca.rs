//! The host's certificates, trusted inside for one run and gone from what it leaves behind.

use serde::{Deserialize, Serialize};

/// Certificates that programs inside are to trust on top of the image's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaTrust {
    /// One or more certificates in PEM form.
    pub pem: String,
    /// Whether the variables of [`ENVIRONMENT`] that the program's environment lacks are set.
    pub set_env: bool,
}

/// The variables by which common programs find their certificates.
pub const ENVIRONMENT: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
];
