//! Images from outside that must be signed, and by whom.
//!
//! A rule concerns the images of some registry or namespace and names public keys, one of which must
//! have signed what is used: the digest that the name means, an index for most. An image that
//! several rules concern must satisfy all of them. What was found of signatures is kept in the
//! store and checked anew each time, so that nothing but a key is believed, with or without a
//! network.

use cairn_oci::{Digest, Reference};
use cairn_registry::signature::{Evidence, PublicKey};
use cairn_registry::{RegistryClient, RegistryError, Watch};
use cairn_store::{Store, StoreError};

/// What to do about an image that is not signed as it must be.
pub(super) const SIGN_ADVICE: &str = "whoever has the private key signs it with `cairn registry \
     sign IMAGE --key FILE`; whose signature counts is said in `[verify]` of the spec";

/// Which images must be signed.
#[derive(Debug, Default)]
pub struct Trust {
    /// The rules; without any, nothing must be.
    pub rules: Vec<TrustRule>,
}

/// Images that must be signed by one of some keys.
pub struct TrustRule {
    /// What it concerns, as it was written.
    pub pattern: String,
    /// Whether it concerns an image of this name, `HOST/PATH`.
    pub concerns: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// The keys.
    pub keys: Vec<PublicKey>,
}

impl std::fmt::Debug for TrustRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustRule")
            .field("pattern", &self.pattern)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Why an image is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// Nobody who is asked for has signed it.
    #[error(
        "`[verify]` asks for a signature by the key {keys} on `{pattern}`, and {digest} has {found}"
    )]
    Unsigned {
        /// The rule.
        pattern: String,
        /// Its keys.
        keys: String,
        /// The image.
        digest: Digest,
        /// What it has instead.
        found: String,
    },
    /// It was loaded by hand: nobody can have signed it.
    #[error(
        "`[verify]` asks for a signature on `{0}`, and the image was not pulled from a registry"
    )]
    Loaded(String),
    /// The registry does not say what it has.
    #[error("its signatures cannot be read")]
    Unknown(#[source] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Untrusted {
    /// What can be done about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Loaded(_) => "pull it from its registry, with its signature",
            _ => SIGN_ADVICE,
        }
    }
}

impl Trust {
    /// Whether any rule concerns an image.
    pub fn concerns(&self, image: &Reference) -> bool {
        self.rules_for(image).next().is_some()
    }

    fn rules_for(&self, image: &Reference) -> impl Iterator<Item = &TrustRule> {
        let name = image.name();
        self.rules.iter().filter(move |rule| (rule.concerns)(&name))
    }

    /// Refuses an image that is not signed as it must be. A registry is asked only for what the
    /// store does not know, and only if there is a client.
    pub fn check(
        &self,
        store: &Store,
        client: Option<&RegistryClient>,
        image: &Reference,
        digest: Option<&Digest>,
        watch: Watch<'_>,
    ) -> Result<(), Untrusted> {
        for rule in self.rules_for(image) {
            let digest = digest.ok_or_else(|| Untrusted::Loaded(rule.pattern.clone()))?;
            let mut evidence = Evidence::kept(store, digest)?;
            if let Some(client) = client
                && evidence.signer(digest, &rule.keys).is_none()
            {
                evidence = client
                    .signatures(store, image, digest, watch)
                    .map_err(Untrusted::Unknown)?;
                if !evidence.is_empty() {
                    evidence.keep(store, digest)?;
                }
            }
            if evidence.signer(digest, &rule.keys).is_none() {
                let keys: Vec<String> = rule.keys.iter().map(PublicKey::name).collect();
                return Err(Untrusted::Unsigned {
                    pattern: rule.pattern.clone(),
                    keys: keys.join(" or "),
                    digest: digest.clone(),
                    found: match evidence.len() {
                        0 => "none that is known".to_owned(),
                        1 => "one by somebody else".to_owned(),
                        number => format!("{number} by others"),
                    },
                });
            }
        }
        Ok(())
    }
}
