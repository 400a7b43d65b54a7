//! The image record: what a reference in the store points to.

use std::collections::BTreeMap;

use cairn_oci::{
    Descriptor, DiffId, History, Platform, Reference, RunConfig, annotation, parse_rfc3339, rfc3339,
};
use cairn_store::{ContentDigest, KeyHasher, SnapshotId, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::annotated::Annotation;
use super::dialect::Dialect;
use super::named;
use crate::cache::inline::InlineEntry;

/// The media type of an image record's blob.
pub const MEDIA_TYPE: &str = "application/vnd.cairn.image.v1+json";

/// An image as the store knows it, packed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// What it runs on.
    pub platform: Platform,
    /// Its settings.
    pub config: RunConfig,
    /// Its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When it was made, in seconds since 1970.
    pub epoch: i64,
    /// Whether somebody gave that time: see [`Self::layer_epoch`].
    #[serde(default)]
    pub epoch_is_given: bool,
    /// Its layers from the bottom up.
    pub layers: Vec<RecordLayer>,
    /// Its history; entries without `empty_layer` stand for the layers, in order.
    pub history: Vec<History>,
    /// Annotations of its manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Annotations that stand outside of its manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outer: Vec<Annotation>,
    /// The manifest it came with, if it was loaded: kept so that its digest stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Descriptor>,
    /// The results of its steps that its config carries, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<InlineEntry>,
    /// What is attested of it: a document that [`super::attested`] writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<Descriptor>,
    /// Where it was pulled from: the reference, and the digest that it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<Reference>,
    /// How much of it came with its base.
    #[serde(default, skip_serializing_if = "Inherited::is_nothing")]
    pub inherited: Inherited,
    /// What its layers are said to be clamped to when it is packed: see [`super::dating`].
    #[serde(skip)]
    pub marked: Option<i64>,
    /// In which words it is packed.
    #[serde(skip)]
    pub dialect: Dialect,
    /// Its layers that the store does not have, by the names that stand for their snapshots. Such an
    /// image can leave the store and do nothing else: it is never saved.
    #[serde(skip)]
    pub absent: BTreeMap<SnapshotId, AbsentLayer>,
}

/// A layer of a base that is still where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentLayer {
    /// Its blob.
    pub blob: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Where the blob is.
    pub homes: Vec<Reference>,
    /// Whether it is known what is in it; else its content is a stand-in.
    pub is_known: bool,
}

/// The part of an image that stood in its base already, from the bottom up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inherited {
    /// How many of its layers.
    pub layers: usize,
    /// How many entries of its history.
    pub history: usize,
}

impl Inherited {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One layer of an image record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLayer {
    /// The snapshot that holds it.
    pub snapshot: SnapshotId,
    /// The digest of the changeset's content.
    pub content: ContentDigest,
}

impl ImageRecord {
    /// The digest of the filesystem's content, from the bottom up.
    pub fn filesystem(&self) -> ContentDigest {
        chain(self.layers.iter().map(|layer| &layer.content))
    }

    /// The digest of all that a container of this image can observe: files and settings.
    ///
    /// Test results belong to it: they hold for every image that has it, whatever its times,
    /// names and packing.
    pub fn content(&self) -> ContentDigest {
        let mut hasher = KeyHasher::new("cairn image");
        hasher.field("files", self.filesystem().to_string().as_bytes());
        hasher.field("platform", self.platform.to_string().as_bytes());
        // Where a commit is told changes nothing that a container does.
        let mut config = self.config.clone();
        config.labels.retain(|name, _| name != annotation::REVISION);
        let config = serde_json::to_vec(&config).unwrap_or_default();
        hasher.field("config", &config);
        hasher.finish_content()
    }

    /// Seconds since 1970 that times in its layers are clamped to.
    ///
    /// An epoch that somebody gave (`SOURCE_DATE_EPOCH`, `epoch` of the spec) counts for layers, too.
    /// Of a commit's time the beginning of its month counts: commits of one month have the layers of
    /// what they did not change in common, and these are sent and pulled once.
    pub fn layer_epoch(&self) -> i64 {
        let date = rfc3339(self.epoch);
        let month = date.get(..7).filter(|_| !self.epoch_is_given);
        month
            .and_then(|month| parse_rfc3339(&format!("{month}-01T00:00:00Z")))
            .unwrap_or(self.epoch)
    }

    /// Whether it is known what is in all layers: without that, neither the content nor the id says
    /// anything to others.
    pub fn is_known(&self) -> bool {
        self.absent.values().all(|layer| layer.is_known)
    }

    /// The snapshots from the bottom up.
    pub fn snapshots(&self) -> Vec<SnapshotId> {
        self.layers.iter().map(|layer| layer.snapshot).collect()
    }

    /// Writes the record and makes each name point to it.
    pub fn save(&self, store: &Store, names: &[String]) -> Result<Descriptor, StoreError> {
        let bytes = serde_json::to_vec(self).map_err(StoreError::encode)?;
        let digest = store.put_blob_bytes(&bytes)?;
        self.remember_id(store, &digest)?;
        let mut descriptor = Descriptor::new(MEDIA_TYPE, digest, bytes.len() as u64);
        descriptor.platform = Some(self.platform.clone());
        for name in names {
            store.set_ref(name, &descriptor)?;
        }
        Ok(descriptor)
    }

    /// Reads the image of that name, for this machine where there are several; `None` if the store
    /// has none.
    pub fn open(store: &Store, name: &str) -> Result<Option<Self>, StoreError> {
        let records = named::open_all(store, name)?;
        Ok(records.and_then(|records| named::choose(records, None)))
    }

    /// Reads the record that a descriptor names.
    pub fn read(store: &Store, descriptor: &Descriptor) -> Result<Self, StoreError> {
        let bytes = store.read_blob(&descriptor.digest)?;
        serde_json::from_slice(&bytes).map_err(StoreError::decode)
    }
}

/// The content digest of layers on top of each other. Nothing at all has one too.
pub fn chain<'a>(layers: impl Iterator<Item = &'a ContentDigest>) -> ContentDigest {
    layers.fold(
        KeyHasher::new("cairn scratch").finish_content(),
        |below, layer| stack(&below, layer),
    )
}

/// The content digest of one more layer on a filesystem.
pub fn stack(below: &ContentDigest, layer: &ContentDigest) -> ContentDigest {
    let mut hasher = KeyHasher::new("cairn chain");
    hasher.field("below", below.to_string().as_bytes());
    hasher.field("layer", layer.to_string().as_bytes());
    hasher.finish_content()
}

/// The name a reference is kept under: fully qualified, with its tag.
///
/// What is no reference (an image of a stack with its variant, say) is kept as it is.
pub fn canonical(name: &str) -> String {
    name.parse::<Reference>()
        .map_or_else(|_| name.to_owned(), |found| found.to_string())
}
