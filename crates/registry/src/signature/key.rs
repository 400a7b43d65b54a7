//! Keys that sign, and keys that check.

use cairn_oci::Digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, UnparsedPublicKey,
};
use thiserror::Error;

use super::pem;

/// What comes before the point of a public key on P-256, and what is of an Ed25519 key: the
/// algorithm and the kind of text, always the same bytes.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED25519_HEAD: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const P256_POINT: usize = 65;
const ED25519_POINT: usize = 32;
/// So many digits of its digest tell a key.
const NAME_DIGITS: usize = 12;

/// Why a text is no key that can be used; a phrase with what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeyError(String);

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key that checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    point: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

impl SigningKey {
    /// Reads a key in PEM, as `openssl genpkey` writes it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (label, bytes) = pem::parse(text).ok_or_else(no_key)?;
        match label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&bytes),
            "EC PRIVATE KEY" => Err(KeyError(
                "it is in the old form of OpenSSL; `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` \
                 gives it the one that is read here"
                    .to_owned(),
            )),
            label if label.starts_with("ENCRYPTED") => Err(KeyError(
                "it has a password, and only keys without one are read; keep the key out of the \
                 repository, as a file of the CI's secrets"
                    .to_owned(),
            )),
            label => Err(KeyError(format!(
                "it is no private key, but says that it is `{label}`"
            ))),
        }
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, bytes, &SystemRandom::new()) {
            let public = PublicKey {
                kind: Kind::P256,
                point: pair.public_key().as_ref().to_vec(),
            };
            let pair = Pair::P256(Box::new(pair));
            return Ok(Self { pair, public });
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(|_| other_kind())?;
        Ok(Self {
            public: PublicKey {
                kind: Kind::Ed25519,
                point: pair.public_key().as_ref().to_vec(),
            },
            pair: Pair::Ed25519(Box::new(pair)),
        })
    }

    /// The key that checks what this one signs.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError("this machine gives no random numbers".to_owned())),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl PublicKey {
    /// Reads a key in PEM, as `openssl pkey -pubout` and cosign write it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (label, bytes) = pem::parse(text).ok_or_else(no_key)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError(format!(
                "it is no public key, but says that it is `{label}`; `openssl pkey -pubout` makes \
                 one of a private key"
            )));
        }
        let of = |kind, head: &[u8], length| {
            let point = bytes.strip_prefix(head).filter(|it| it.len() == length)?;
            let point = point.to_vec();
            Some(Self { kind, point })
        };
        of(Kind::P256, P256_HEAD, P256_POINT)
            .or_else(|| of(Kind::Ed25519, ED25519_HEAD, ED25519_POINT))
            .ok_or_else(other_kind)
    }

    /// The start of its digest, to tell it from others.
    #[must_use]
    pub fn name(&self) -> String {
        self.digest().hex()[..NAME_DIGITS].to_owned()
    }

    /// The bytes of its digest: what tells readers of bundles which key to take.
    pub(super) fn digest_bytes(&self) -> Vec<u8> {
        let hex = self.digest();
        let pairs = hex.hex().as_bytes().chunks_exact(2);
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
        pairs
            .map(|two| digit(two[0]) << 4 | digit(two[1]))
            .collect()
    }

    fn digest(&self) -> Digest {
        let head = match self.kind {
            Kind::P256 => P256_HEAD,
            Kind::Ed25519 => ED25519_HEAD,
        };
        Digest::sha256(&[head, &self.point].concat())
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let checked = match self.kind {
            Kind::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
                .verify(message, signature),
            Kind::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, &self.point).verify(message, signature)
            }
        };
        checked.is_ok()
    }
}

fn no_key() -> KeyError {
    KeyError("it is no key in PEM, which begins with `-----BEGIN`".to_owned())
}

fn other_kind() -> KeyError {
    KeyError(
        "only keys on the curve P-256 and Ed25519 are known, as \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes them"
            .to_owned(),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Made by `openssl genpkey`; they are used nowhere else.
    pub(in crate::signature) const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgB+UeAxi1TxjB0zNt\n\
        LldQEHYFWWUOnaIyLEKHAz52P5ShRANCAAT2cqdBuoEAkfgYlXdezib9JtCv5Pf0\n\
        ulM351pvISd3XjzJ9uxDTQlXKySBSHjG7H7O2M4JD8nNP+2nPGRR4YA8\n\
        -----END PRIVATE KEY-----";
    const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9nKnQbqBAJH4GJV3Xs4m/SbQr+T3\n\
        9LpTN+dabyEnd148yfbsQ00JVyskgUh4xux+ztjOCQ/JzT/tpzxkUeGAPA==\n\
        -----END PUBLIC KEY-----";
    const ED25519_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIKuHPrkXQUIWfWRAuF17WRWImimjJRT2PHahMulyvMnk\n\
        -----END PRIVATE KEY-----";
    const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAsNsjc+cvRwQlkCVRQl8OHQhw2I/QrIUH+NYgjrS2W9Q=\n\
        -----END PUBLIC KEY-----";

    #[test]
    fn what_a_key_signed_its_public_half_finds_signed() {
        for (private, public) in [(P256, P256_PUBLIC), (ED25519_KEY, ED25519_PUBLIC)] {
            let private = SigningKey::parse(private).unwrap();
            let public = PublicKey::parse(public).unwrap();
            assert_eq!(private.public(), &public);
            let signature = private.sign(b"message").unwrap();
            assert!(public.has_signed(b"message", &signature));
            assert!(!public.has_signed(b"other message", &signature));
            assert!(!public.has_signed(b"message", &signature[1..]));
        }
        let (one, other) = (
            PublicKey::parse(P256_PUBLIC),
            PublicKey::parse(ED25519_PUBLIC),
        );
        let signature = SigningKey::parse(P256).unwrap().sign(b"m").unwrap();
        assert!(one.unwrap().has_signed(b"m", &signature));
        assert!(!other.unwrap().has_signed(b"m", &signature));
    }

    #[test]
    fn what_is_no_key_says_why() {
        let told = |text: &str| SigningKey::parse(text).unwrap_err().to_string();
        assert!(told("hello").contains("no key in PEM"));
        assert!(told(P256_PUBLIC).contains("says that it is `PUBLIC KEY`"));
        let named = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert!(told(&named("EC PRIVATE KEY")).contains("openssl pkcs8"));
        assert!(told(&named("ENCRYPTED SIGSTORE PRIVATE KEY")).contains("password"));
        assert!(told(&named("PRIVATE KEY")).contains("P-256"));
        let told = |text: &str| PublicKey::parse(text).unwrap_err().to_string();
        assert!(told(P256).contains("-pubout"));
        assert!(told(&named("PUBLIC KEY")).contains("Ed25519"));
    }
}
