//! Identities made of BLAKE3, and of chance: cache keys, content digests, snapshot names.
//!
//! Images that are published carry OCI digests (SHA-256) instead; keys and content digests leave the
//! machine in caches for other machines only, the names of snapshots never.
//!
//! [`KeyHasher`] is a written contract, because keys live on disk for years:
//! - the hash begins with the domain's name; two domains never share a key;
//! - a field is its label's length (u32, little endian), its label, a type byte, its value;
//! - bytes (type 1) are a length (u64) and the bytes; a number (type 2) is a u64; a list (type 3)
//!   is a count (u64) and, for each part, its length (u64) and its bytes.
//!
//! No two different sequences of fields hash the same bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! hex_newtype {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $length]);

        impl $name {
            /// Takes bytes as they are.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The hex digits.
            pub fn hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $length];
                let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) if lower => Ok(Self(bytes)),
                    _ => Err(HexError {
                        text: text.into(),
                        expected: $length * 2,
                    }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = HexError;

            fn try_from(text: String) -> Result<Self, HexError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.hex())
            }
        }
    };
}

/// A text that is not the hex digits it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected} lower-case hex digits")]
pub struct HexError {
    text: String,
    expected: usize,
}

hex_newtype! {
    /// The identity of a vertex with all its inputs.
    CacheKey, 32
}

hex_newtype! {
    /// The digest of file content or of a tree: equal digests, equal content. No times in it.
    ContentDigest, 32
}

hex_newtype! {
    /// The name of a snapshot in this store; random, says nothing of the content.
    SnapshotId, 16
}

impl SnapshotId {
    /// Makes a name nobody has.
    pub(crate) fn random() -> Self {
        Self(random_bytes())
    }
}

/// Bytes from the kernel's generator.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // The only errors of getrandom(2) are EINTR and flags that we do not use.
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags).unwrap_or(0);
    }
    bytes
}

impl ContentDigest {
    /// Hashes bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes what a reader gives.
    pub fn of_reader(reader: impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }
}

/// Hashes labelled fields; see the contract in the module's words.
#[derive(Debug, Clone)]
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts with a domain: a constant that says what is being named, with a version.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.bytes(domain.as_bytes());
        hasher
    }

    /// Adds bytes.
    pub fn field(&mut self, label: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.label(label, 1);
        self.bytes(value.as_ref());
        self
    }

    /// Adds a number.
    pub fn number(&mut self, label: &str, value: u64) -> &mut Self {
        self.label(label, 2);
        self.0.update(&value.to_le_bytes());
        self
    }

    /// Adds a list; order counts.
    pub fn list<P: AsRef<[u8]>>(
        &mut self,
        label: &str,
        parts: impl IntoIterator<Item = P>,
    ) -> &mut Self {
        self.label(label, 3);
        let parts: Vec<P> = parts.into_iter().collect();
        self.0.update(&(parts.len() as u64).to_le_bytes());
        for part in &parts {
            self.bytes(part.as_ref());
        }
        self
    }

    /// Ends it as a cache key.
    pub fn finish_key(&self) -> CacheKey {
        CacheKey(*self.0.finalize().as_bytes())
    }

    /// Ends it as a content digest.
    pub fn finish_content(&self) -> ContentDigest {
        ContentDigest(*self.0.finalize().as_bytes())
    }

    fn label(&mut self, label: &str, kind: u8) {
        self.0.update(&(label.len() as u32).to_le_bytes());
        self.0.update(label.as_bytes());
        self.0.update(&[kind]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_there_and_back() {
        let digest = ContentDigest::of(b"a");
        assert_eq!(digest.hex().parse::<ContentDigest>().unwrap(), digest);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(
            serde_json::from_str::<ContentDigest>(&json).unwrap(),
            digest
        );
        for text in [
            "",
            "00",
            "../../etc/passwd",
            &"AB".repeat(16),
            &"zz".repeat(16),
        ] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
        assert_ne!(SnapshotId::random(), SnapshotId::random());
    }

    /// The contract: this value must never change, or every cache on every machine is lost.
    #[test]
    fn key_hasher_is_stable() {
        let key = KeyHasher::new("test 1")
            .field("op", "RUN")
            .number("n", 7)
            .list("inputs", ["a", "b"])
            .finish_key();
        let mut expected = blake3::Hasher::new();
        for part in [
            &6u64.to_le_bytes()[..],
            b"test 1",
            &2u32.to_le_bytes(),
            b"op\x01",
            &3u64.to_le_bytes(),
            b"RUN",
            &1u32.to_le_bytes(),
            b"n\x02",
            &7u64.to_le_bytes(),
            &6u32.to_le_bytes(),
            b"inputs\x03",
            &2u64.to_le_bytes(),
            &1u64.to_le_bytes(),
            b"a",
            &1u64.to_le_bytes(),
            b"b",
        ] {
            expected.update(part);
        }
        assert_eq!(key.as_bytes(), expected.finalize().as_bytes());
    }

    #[test]
    fn boundaries_count() {
        let key = |parts: &[&str]| KeyHasher::new("t").list("l", parts).finish_key();
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&[]), key(&[""]));
        let one = KeyHasher::new("t").field("a", "b").finish_key();
        assert_ne!(one, KeyHasher::new("t").field("ab", "").finish_key());
        assert_ne!(one, KeyHasher::new("u").field("a", "b").finish_key());
    }
}
