//! Who may speak for an archive: OpenPGP keys, signatures over Release files, and the policy.
//!
//! rPGP checks the mathematics; it has no policy. The policy is here:
//! - a text is trusted when at least one signature by a key of the keyring is good;
//! - a signature that names a key of the keyring and does not fit the text is an attack, whatever
//!   the other signatures say (as apt's gpgv method does);
//! - a key counts only if it is bound, allowed to sign, not revoked, and not expired, both when
//!   it signed and now;
//! - MD5, SHA-1 and RIPEMD-160 count for nothing.
//!
//! The clearsigned form is read strictly: the text that is handed on is the very text that was
//! signed, with nothing before or after it.

mod keyring;
mod signed;

use thiserror::Error;

pub use keyring::Keyring;
pub use signed::{Signer, verify_clearsigned, verify_detached};

/// Why a text is not trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The text is not of the signed form.
    #[error("it is not a clearsigned text with nothing around it")]
    NotClearsigned(#[source] Box<pgp::errors::Error>),
    /// The signature block cannot be read.
    #[error("its signature cannot be read")]
    UnreadableSignature(#[source] Box<pgp::errors::Error>),
    /// There is no signature at all.
    #[error("it carries no signature")]
    Unsigned,
    /// The text and a signature by a known key do not belong together.
    #[error("bad signature: the text is not what {key} signed")]
    BadSignature {
        /// The key that is said to have signed.
        key: String,
    },
    /// None of the signing keys is in the keyring.
    #[error("unknown key: it is signed by {}, and none of them is in the keyring", .keys.join(", "))]
    UnknownKey {
        /// The ids of the keys that signed.
        keys: Vec<String>,
    },
    /// The signing key has expired.
    #[error("expired key: {key} expired on {}", crate::date::day(*.expired))]
    ExpiredKey {
        /// The key.
        key: String,
        /// When it expired, in seconds since the epoch.
        expired: i64,
    },
    /// The signing key was revoked.
    #[error("revoked key: {key} was revoked{reason}")]
    RevokedKey {
        /// The key.
        key: String,
        /// The reason given, with a leading colon, or nothing.
        reason: String,
    },
    /// The key is in the keyring, but may not sign, or is not bound to its certificate.
    #[error("unusable key: {key} {why}")]
    UnusableKey {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The signature is made with a hash that can be forged.
    #[error("weak hash: {key} signed with {hash}")]
    WeakHash {
        /// The key.
        key: String,
        /// The hash.
        hash: String,
    },
    /// The signature has expired, or is dated in the future.
    #[error("the signature by {key} is not valid at this time")]
    OutOfTime {
        /// The key.
        key: String,
    },
    /// A keyring cannot be read.
    #[error("the keyring cannot be read")]
    Keyring(#[source] Box<pgp::errors::Error>),
    /// A keyring holds no key.
    #[error("the keyring holds no key")]
    EmptyKeyring,
}

impl TrustError {
    /// Which of several failures to tell: the more it says, the higher.
    fn weight(&self) -> u8 {
        match self {
            TrustError::BadSignature { .. } => 6,
            TrustError::RevokedKey { .. } => 5,
            TrustError::ExpiredKey { .. } => 4,
            TrustError::WeakHash { .. } => 3,
            TrustError::OutOfTime { .. } => 2,
            TrustError::UnusableKey { .. } => 1,
            _ => 0,
        }
    }
}
