//! What is known of a base without its files: its documents, where it is, and its layers' DiffIds.
//!
//! It is remembered under its digests as results of steps are: what is forgotten is asked for again.

use cairn_oci::{Descriptor, DiffId, Manifest, Platform, Reference};
use cairn_registry::Described;
use cairn_store::{CacheKey, CacheRecord, ContentDigest, KeyHasher, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::pull;
use super::record::{ImageRecord, RecordLayer};

/// The input of the remembered record that holds the digest of what is known.
const RECORD: &str = "base";

/// What is known of a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KnownBase {
    /// Where it is, by digest.
    pub(super) from: Reference,
    /// The image, without layers.
    pub(super) record: ImageRecord,
    /// The blob and the DiffId of each layer, bottom first.
    pub(super) layers: Vec<(Descriptor, DiffId)>,
    /// What it is called in the store when its files are here.
    pub(super) names: Vec<String>,
}

impl KnownBase {
    /// What an image turned out to be that was asked for by this name.
    pub(super) fn new(reference: &Reference, described: Described, names: &[String]) -> Self {
        let layers = described.layers.clone();
        let from = reference.with_digest(described.manifest.digest.clone());
        Self {
            from,
            record: pull::record(reference, described, Vec::new()),
            layers,
            names: names.to_vec(),
        }
    }

    /// Remembers it under its digests. What a tag means is asked anew by each run.
    pub(super) fn keep(
        &self,
        store: &Store,
        asked: &Reference,
        platform: &Platform,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(StoreError::encode)?;
        let digest = store.put_blob_bytes(&bytes)?;
        let top = self.record.pulled.as_ref().and_then(Reference::digest);
        let manifest = self.record.packed.as_ref().map(|packed| &packed.digest);
        for of in [top, manifest].into_iter().flatten() {
            let name = format!("{}@{of}", asked.name());
            store.put_record(&CacheRecord {
                key: base_key(&name, platform),
                snapshot: None,
                content: ContentDigest::of(&bytes),
                created: 0,
                cost_ms: 0,
                description: format!("base {name}"),
                inputs: vec![(RECORD.to_owned(), digest.to_string())],
            })?;
        }
        Ok(())
    }

    /// What is remembered of a digest.
    pub(super) fn find(store: &Store, asked: &Reference, platform: &Platform) -> Option<Self> {
        let name = format!("{}@{}", asked.name(), asked.digest()?);
        let remembered = store.get_record(&base_key(&name, platform))?;
        let (_, digest) = remembered.inputs.iter().find(|(name, _)| name == RECORD)?;
        let bytes = store.read_blob(&digest.parse().ok()?).ok()?;
        let mut known: Self = serde_json::from_slice(&bytes).ok()?;
        let packed = known.record.packed.as_ref()?;
        // The tag that it was found by may mean something else by now.
        known.names = vec![format!("{}@{}", asked.name(), packed.digest)];
        // Without its documents it could not go out as it came.
        let manifest = store.read_blob(&packed.digest).ok()?;
        let manifest = Manifest::from_json_bytes(&manifest).ok()?;
        store.has_blob(&manifest.config.digest).then_some(known)
    }

    /// The image, if all its files are here.
    pub(super) fn whole(&self, store: &Store) -> Result<Option<ImageRecord>, StoreError> {
        let mut layers = Vec::new();
        for (_, diff_id) in &self.layers {
            let Some(snapshot) = store.imported_layer(diff_id) else {
                return Ok(None);
            };
            let content = store.snapshot_content(&snapshot)?;
            layers.push(RecordLayer { snapshot, content });
        }
        Ok(Some(ImageRecord {
            layers,
            ..self.record.clone()
        }))
    }
}

fn base_key(name: &str, platform: &Platform) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn known base");
    hasher.field("name", name.as_bytes());
    hasher.field("platform", platform.to_string().as_bytes());
    hasher.finish_key()
}
