//! Digests: of stored bytes, of uncompressed layer tars, and of stacks of layers.
//!
//! The three are different types because mixing them up is the classic mistake of image tools:
//! a [`Digest`] names bytes as they are stored or sent, a [`DiffId`] names a layer's tar before
//! compression, a [`ChainId`] names a stack of layers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The algorithm and hash of stored bytes: `sha256:<64 hex digits>` or `sha512:<128>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

/// A hash algorithm that a [`Digest`] may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what everybody writes.
    Sha256,
    /// SHA-512, allowed by the spec.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon.
    #[error("`{0}` is no digest: expected `sha256:` and 64 hex digits")]
    NoAlgorithm(String),
    /// The algorithm is none that we verify.
    #[error("unsupported digest algorithm `{0}`: sha256 and sha512 can be verified")]
    Algorithm(String),
    /// Too long, too short, or other than lower-case hex digits.
    #[error("`{text}` is no digest: expected {expected} lower-case hex digits after the colon")]
    Hex {
        /// The whole text.
        text: String,
        /// How many digits the algorithm has.
        expected: usize,
    },
}

impl Digest {
    /// Hashes bytes with SHA-256.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// Takes the result of a SHA-256 computation made elsewhere.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(hash)).into())
    }

    /// Takes the result of a SHA-512 computation made elsewhere.
    pub fn from_sha512(hash: [u8; 64]) -> Self {
        Self(format!("sha512:{}", hex::encode(hash)).into())
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.as_bytes()[3] {
            b'2' => Algorithm::Sha256,
            _ => Algorithm::Sha512,
        }
    }

    /// The hex digits, without the algorithm.
    pub fn hex(&self) -> &str {
        // Both algorithm names have six letters; parsing has checked the rest.
        &self.0["sha256:".len()..]
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((name, hex)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm(text.into()));
        };
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(name.into())),
        };
        let expected = algorithm.hex_length();
        let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != expected || !hex.bytes().all(is_hex) {
            let text = text.into();
            return Err(DigestError::Hex { text, expected });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digest of an uncompressed layer tar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DiffId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

/// The digest of a stack of layers, bottom to top.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Names a stack of layers, bottom first; `None` for no layers.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (bottom, above) = layers.split_first()?;
        let chain = above.iter().fold(bottom.0.clone(), |chain, layer| {
            Digest::sha256(format!("{chain} {layer}").as_bytes())
        });
        Some(Self(chain))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_value() {
        assert_eq!(Digest::sha256(b"").as_str(), EMPTY);
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest, Digest::sha256(b""));
        assert_eq!(digest.hex(), &EMPTY[7..]);
        assert_eq!(digest.algorithm(), Algorithm::Sha256);
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn sha512_is_accepted() {
        let text = format!("sha512:{}", "ab".repeat(64));
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.algorithm(), Algorithm::Sha512);
        assert_eq!(digest.hex().len(), 128);
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &EMPTY.to_uppercase(),
            &EMPTY.replace("e3b0", "E3B0"),
            &format!("{EMPTY}0"),
            &EMPTY.replace("e3b0", "../."),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn serde_validates() {
        assert!(serde_json::from_str::<Digest>("\"sha256:zz\"").is_err());
        let json = serde_json::to_string(&DiffId(Digest::sha256(b""))).unwrap();
        assert_eq!(json, format!("\"{EMPTY}\""));
    }

    #[test]
    fn chain_of_layers() {
        let layers = [DiffId(Digest::sha256(b"a")), DiffId(Digest::sha256(b"b"))];
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&layers[..1]).unwrap().0, layers[0].0);
        let text = format!("{} {}", layers[0], layers[1]);
        let both = ChainId::of(&layers).unwrap();
        assert_eq!(both.0, Digest::sha256(text.as_bytes()));
    }
}
