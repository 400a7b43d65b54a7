//! The signatures of an image as they were found: enough to check them again without a registry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_oci::{Descriptor, Digest, MediaType};
use cairn_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::key::PublicKey;
use super::payload::is_about;

const KIND: &str = "application/vnd.cairn.signatures.v1+json";

/// What was found for one image. Nothing of it is true before it was checked with a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub(super) signatures: Vec<Signature>,
}

/// A text and its signature, both in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signature {
    pub(super) payload: String,
    pub(super) signature: String,
}

impl Evidence {
    /// How many signatures there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.signatures.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// The first of the keys that signed an image, if one did.
    #[must_use]
    pub fn signer<'k>(&self, digest: &Digest, keys: &'k [PublicKey]) -> Option<&'k PublicKey> {
        keys.iter().find(|key| {
            self.signatures.iter().any(|one| {
                let payload = STANDARD.decode(&one.payload).unwrap_or_default();
                let signature = STANDARD.decode(&one.signature).unwrap_or_default();
                key.has_signed(&payload, &signature) && is_about(&payload, digest)
            })
        })
    }

    /// Keeps it in the store, for when no registry can be asked.
    pub fn keep(&self, store: &Store, digest: &Digest) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(StoreError::encode)?;
        store.put_blob_bytes(&bytes)?;
        let kind = MediaType::from(KIND.to_owned());
        store.set_ref(&kept_as(digest), &Descriptor::of(kind, &bytes))
    }

    /// What the store keeps of an image.
    pub fn kept(store: &Store, digest: &Digest) -> Result<Self, StoreError> {
        let Some(kept) = store.get_ref(&kept_as(digest))? else {
            return Ok(Self::default());
        };
        let bytes = store.read_blob(&kept.digest)?;
        serde_json::from_slice(&bytes).map_err(StoreError::decode)
    }
}

fn kept_as(digest: &Digest) -> String {
    format!("cairn:signatures/{digest}")
}
