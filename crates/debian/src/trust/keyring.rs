//! Keyrings, and whether one of their keys may sign at a given time.

use std::io::Cursor;
use std::sync::OnceLock;

use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};

use super::TrustError;

/// Debian's archive keys, from the `debian-archive-keyring` package.
const SHIPPED: [&str; 9] = [
    include_str!("../../keys/debian-archive-bookworm-automatic.asc"),
    include_str!("../../keys/debian-archive-bookworm-security-automatic.asc"),
    include_str!("../../keys/debian-archive-bookworm-stable.asc"),
    include_str!("../../keys/debian-archive-bullseye-automatic.asc"),
    include_str!("../../keys/debian-archive-bullseye-security-automatic.asc"),
    include_str!("../../keys/debian-archive-bullseye-stable.asc"),
    include_str!("../../keys/debian-archive-trixie-automatic.asc"),
    include_str!("../../keys/debian-archive-trixie-security-automatic.asc"),
    include_str!("../../keys/debian-archive-trixie-stable.asc"),
];

/// Public keys that are trusted to sign an archive.
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

/// A key of the keyring that may have made a signature.
pub(super) struct Candidate<'a> {
    certificate: &'a SignedPublicKey,
    subkey: Option<&'a SignedPublicSubKey>,
}

impl Keyring {
    /// The keys of Debian's archive that came with this program.
    pub fn shipped() -> &'static Keyring {
        static KEYRING: OnceLock<Keyring> = OnceLock::new();
        KEYRING.get_or_init(|| {
            let keys = SHIPPED.iter().map(|text| Keyring::parse(text.as_bytes()));
            let keys = keys.filter_map(Result::ok).flat_map(|ring| ring.keys);
            Keyring {
                keys: keys.collect(),
            }
        })
    }

    /// Reads a keyring, armored or binary.
    ///
    /// # Errors
    /// When the bytes are no public keys.
    pub fn parse(bytes: &[u8]) -> Result<Keyring, TrustError> {
        let unreadable = |source| TrustError::Keyring(Box::new(source));
        let (keys, _) =
            SignedPublicKey::from_reader_many(Cursor::new(bytes)).map_err(unreadable)?;
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        if keys.is_empty() {
            return Err(TrustError::EmptyKeyring);
        }
        Ok(Keyring { keys })
    }

    /// Joins several keyrings.
    #[must_use]
    pub fn joined(rings: impl IntoIterator<Item = Keyring>) -> Keyring {
        Keyring {
            keys: rings.into_iter().flat_map(|ring| ring.keys).collect(),
        }
    }

    /// The fingerprints of the primary keys, upper-case.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys
            .iter()
            .map(|key| format!("{:X}", key.fingerprint()))
            .collect()
    }

    /// Finds the key that a signature says it was made with.
    pub(super) fn signer_of(&self, signature: &Signature) -> Option<Candidate<'_>> {
        self.keys.iter().find_map(|certificate| {
            if issued_by(signature, certificate) {
                return Some(Candidate {
                    certificate,
                    subkey: None,
                });
            }
            let subkey = certificate
                .public_subkeys
                .iter()
                .find(|s| issued_by(signature, *s))?;
            Some(Candidate {
                certificate,
                subkey: Some(subkey),
            })
        })
    }
}

fn issued_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if !fingerprints.is_empty() {
        return fingerprints.contains(&&key.fingerprint());
    }
    signature.issuer_key_id().contains(&&key.legacy_key_id())
}

impl Candidate<'_> {
    /// How messages call this key: its user, or else its fingerprint.
    pub(super) fn name(&self) -> String {
        let fingerprint = format!("{:X}", self.certificate.fingerprint());
        let user = self
            .certificate
            .details
            .users
            .first()
            .and_then(|user| user.id.as_str());
        match user {
            Some(user) => format!("{fingerprint} ({})", user.trim()),
            None => fingerprint,
        }
    }

    /// Checks the signature itself.
    pub(super) fn verify(&self, signature: &Signature, text: &[u8]) -> pgp::errors::Result<()> {
        match self.subkey {
            Some(subkey) => signature.verify(&subkey.key, text),
            None => signature.verify(&self.certificate.primary_key, text),
        }
    }

    /// Checks that this key may sign at each of the given times.
    pub(super) fn check(&self, times: &[i64]) -> Result<(), TrustError> {
        let binding = self.primary_binding()?;
        self.check_not_expired(self.certificate.created_at().as_secs(), binding, times)?;
        match self.subkey {
            None if binding.key_flags().sign() => Ok(()),
            None => Err(self.unusable("may not sign")),
            Some(subkey) => {
                let binding = self.subkey_binding(subkey)?;
                self.check_not_expired(subkey.created_at().as_secs(), binding, times)
            }
        }
    }

    /// The newest valid statement of the primary key about itself, if it was not revoked.
    fn primary_binding(&self) -> Result<&Signature, TrustError> {
        let primary = &self.certificate.primary_key;
        let details = &self.certificate.details;
        let revocation = details
            .revocation_signatures
            .iter()
            .find(|s| s.verify_key(primary).is_ok());
        if let Some(revocation) = revocation {
            return Err(self.revoked(revocation));
        }
        let about_users = details.users.iter().flat_map(|user| {
            let valid = move |s: &&Signature| {
                s.typ() != Some(SignatureType::CertRevocation)
                    && s.verify_certification(primary, Tag::UserId, &user.id)
                        .is_ok()
            };
            user.signatures.iter().filter(valid)
        });
        let direct = details
            .direct_signatures
            .iter()
            .filter(|s| s.verify_key(primary).is_ok());
        about_users
            .chain(direct)
            .max_by_key(|s| s.created().map(|time| time.as_secs()))
            .ok_or_else(|| self.unusable("has no valid self-signature"))
    }

    /// The newest valid binding of a signing subkey, if it was not revoked.
    fn subkey_binding<'s>(
        &self,
        subkey: &'s SignedPublicSubKey,
    ) -> Result<&'s Signature, TrustError> {
        let primary = &self.certificate.primary_key;
        let valid = |s: &&Signature| s.verify_subkey_binding(primary, &subkey.key).is_ok();
        let (revocations, bindings): (Vec<_>, Vec<_>) = subkey
            .signatures
            .iter()
            .filter(valid)
            .partition(|s| s.typ() == Some(SignatureType::SubkeyRevocation));
        if let Some(revocation) = revocations.first() {
            return Err(self.revoked(revocation));
        }
        let binding = bindings
            .into_iter()
            .max_by_key(|s| s.created().map(|time| time.as_secs()))
            .ok_or_else(|| self.unusable("has a subkey that is not bound to it"))?;
        if !binding.key_flags().sign() {
            return Err(self.unusable("has a subkey that may not sign"));
        }
        let agrees = binding.embedded_signature().is_some_and(|back| {
            back.verify_primary_key_binding(&subkey.key, primary)
                .is_ok()
        });
        if !agrees {
            return Err(self.unusable("has a signing subkey that does not acknowledge it"));
        }
        Ok(binding)
    }

    fn check_not_expired(
        &self,
        created: u32,
        binding: &Signature,
        times: &[i64],
    ) -> Result<(), TrustError> {
        let lifetime = binding
            .key_expiration_time()
            .map_or(0, |time| time.as_secs());
        if lifetime == 0 {
            return Ok(());
        }
        let expired = i64::from(created) + i64::from(lifetime);
        if times.iter().any(|time| *time >= expired) {
            return Err(TrustError::ExpiredKey {
                key: self.name(),
                expired,
            });
        }
        Ok(())
    }

    fn revoked(&self, revocation: &Signature) -> TrustError {
        let reason = revocation
            .revocation_reason_string()
            .map(|reason| String::from_utf8_lossy(reason).trim().to_owned())
            .filter(|reason| !reason.is_empty())
            .map_or_else(String::new, |reason| format!(": {reason}"));
        TrustError::RevokedKey {
            key: self.name(),
            reason,
        }
    }

    fn unusable(&self, why: &'static str) -> TrustError {
        TrustError::UnusableKey {
            key: self.name(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shipped_keys_are_read() {
        assert_eq!(Keyring::shipped().keys.len(), SHIPPED.len());
    }

    #[test]
    fn shipped_keys_may_sign_until_they_expire() {
        let bookworm = "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8";
        let ring = Keyring::shipped();
        let certificate = ring
            .keys
            .iter()
            .find(|k| format!("{:X}", k.fingerprint()) == bookworm);
        let certificate = certificate.unwrap();
        let key = Candidate {
            certificate,
            subkey: certificate.public_subkeys.first(),
        };
        let (in_2026, in_2032) = (1_767_225_600, 1_956_528_000);
        key.check(&[in_2026]).unwrap();
        assert!(matches!(
            key.check(&[in_2026, in_2032]),
            Err(TrustError::ExpiredKey { .. })
        ));
    }

    #[test]
    fn what_holds_no_key_is_refused() {
        assert!(Keyring::parse(b"").is_err());
        assert!(
            Keyring::parse(b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n")
                .is_err()
        );
    }
}
