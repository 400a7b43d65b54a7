//! Images from registries into the store.

use std::collections::BTreeMap;

use cairn_oci::{Platform, Reference, parse_rfc3339};
use cairn_registry::{Described, RegistryClient, RegistryError, Watch};
use cairn_store::Store;

use super::dialect::Dialect;
use super::record::{ImageRecord, Inherited, RecordLayer};

/// Pulls an image for a platform; it has no name in the store yet.
///
/// An image for one platform only is taken whatever its platform is, unless it is `required`.
pub fn pull(
    store: &Store,
    client: &RegistryClient,
    reference: &Reference,
    platform: &Platform,
    is_required: bool,
    watch: Watch<'_>,
) -> Result<ImageRecord, RegistryError> {
    let pulled = client.pull(store, reference, platform, is_required, watch)?;
    let layers = pulled.layers.into_iter().map(|snapshot| {
        let content = store.snapshot_content(&snapshot)?;
        Ok(RecordLayer { snapshot, content })
    });
    let layers = layers.collect::<Result<_, RegistryError>>()?;
    Ok(record(reference, pulled.image, layers))
}

/// Its manifest and its digests stay as they came.
pub(super) fn record(
    reference: &Reference,
    described: Described,
    layers: Vec<RecordLayer>,
) -> ImageRecord {
    let config = described.config;
    let platform = config.platform();
    let created = config.created.as_deref().and_then(parse_rfc3339);
    let mut packed = described.manifest;
    packed.platform = Some(platform.clone());
    ImageRecord {
        platform,
        config: config.config,
        author: config.author,
        epoch: created.unwrap_or(0),
        epoch_is_given: false,
        layers,
        history: config.history,
        annotations: described.document.annotations,
        outer: Vec::new(),
        packed: Some(packed),
        results: Vec::new(),
        attested: None,
        pulled: Some(reference.with_digest(described.top.digest)),
        inherited: Inherited::default(),
        marked: None,
        dialect: Dialect::default(),
        absent: BTreeMap::new(),
    }
}
