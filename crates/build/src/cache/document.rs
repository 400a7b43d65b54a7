//! What a cache in a registry holds: a manifest of its layers, and a document of its results.
//!
//! ```text
//! manifest   artifact type application/vnd.cairn.cache.v1
//!   config   the document, JSON: what each key stands for
//!   layers   the layers that the document names, as tars compressed with zstd
//! ```

use std::collections::BTreeMap;

use cairn_oci::{Descriptor, Digest, Manifest};
use cairn_store::{CacheKey, ContentDigest};
use serde::{Deserialize, Serialize};

/// What kind of thing the manifest describes.
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.cairn.cache.v1";
/// The media type of the document.
pub(super) const CONFIG_TYPE: &str = "application/vnd.cairn.cache.config.v1+json";

const VERSION: u32 = 1;

/// All results of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CacheDocument {
    version: u32,
    pub(super) entries: BTreeMap<CacheKey, CacheEntry>,
}

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CacheEntry {
    pub(super) content: ContentDigest,
    /// Its layer; `None` for a step that changed nothing, and for one that is only known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<Descriptor>,
    /// Whether there is a layer that was not kept: what it holds is known by its digest alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) only_known: bool,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) created: i64,
    /// When a run that wrote the cache last had a use for it.
    #[serde(default)]
    pub(super) used: i64,
    #[serde(default)]
    pub(super) cost_ms: u64,
    #[serde(default)]
    pub(super) description: String,
}

impl Default for CacheDocument {
    fn default() -> Self {
        Self {
            version: VERSION,
            entries: BTreeMap::new(),
        }
    }
}

impl CacheDocument {
    /// Reads a document; `None` for one of another version.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(bytes).ok()?;
        (read.version == VERSION).then_some(read)
    }

    pub(super) fn print(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The layers, each once.
    pub(super) fn layers(&self) -> BTreeMap<&Digest, &Descriptor> {
        let layers = self
            .entries
            .values()
            .filter_map(|entry| entry.layer.as_ref());
        layers.map(|layer| (&layer.digest, layer)).collect()
    }

    /// How many bytes the layers have.
    pub(super) fn bytes(&self) -> u64 {
        self.layers().values().map(|layer| layer.size).sum()
    }

    /// Drops what was used longest ago until the layers fit into a limit.
    pub(super) fn fit(&mut self, limit: u64) -> usize {
        let mut order: Vec<(i64, CacheKey)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.layer.is_some())
            .map(|(key, entry)| (entry.used, *key))
            .collect();
        order.sort_by(|one, other| other.cmp(one));
        let mut dropped = 0;
        while self.bytes() > limit
            && let Some((_, key)) = order.pop()
        {
            self.entries.remove(&key);
            dropped += 1;
        }
        dropped
    }

    /// The manifest over a document that was printed.
    pub(super) fn manifest(&self, printed: &[u8]) -> Manifest {
        let layers = self.layers().into_values().cloned().collect();
        let mut manifest = Manifest::new(Descriptor::of(CONFIG_TYPE, printed), layers);
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        manifest
    }
}

#[cfg(test)]
mod tests {
    use cairn_oci::{Compression, MediaType};
    use cairn_store::KeyHasher;

    use super::*;

    fn entry(layer: &[u8], used: i64) -> CacheEntry {
        CacheEntry {
            content: ContentDigest::of(layer),
            layer: Some(Descriptor::of(
                MediaType::OciLayer(Compression::Zstd),
                layer,
            )),
            only_known: false,
            created: 1,
            used,
            cost_ms: 5,
            description: "RUN x".to_owned(),
        }
    }

    fn key(name: &str) -> CacheKey {
        KeyHasher::new("test").field("name", name).finish_key()
    }

    fn document(entries: &[(&str, &[u8], i64)]) -> CacheDocument {
        let entries = entries.iter();
        CacheDocument {
            entries: entries
                .map(|(name, layer, used)| (key(name), entry(layer, *used)))
                .collect(),
            ..CacheDocument::default()
        }
    }

    #[test]
    fn it_goes_there_and_back() {
        let made = document(&[("a", b"layer", 1)]);
        let printed = made.print();
        assert_eq!(CacheDocument::parse(&printed), Some(made.clone()));
        let other = String::from_utf8(printed.clone()).unwrap();
        let other = other.replace("\"version\":1", "\"version\":2");
        assert_eq!(CacheDocument::parse(other.as_bytes()), None);
        assert_eq!(CacheDocument::parse(b"{}"), None);
        let manifest = made.manifest(&printed);
        assert_eq!(manifest.config.digest, Digest::sha256(&printed));
        assert_eq!(manifest.layers.len(), 1);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut made = document(&[
            ("old", b"12345", 1),
            ("new", b"abc", 3),
            ("same", b"abc", 2),
        ]);
        assert_eq!(made.bytes(), 8, "a layer counts once");
        assert_eq!(made.fit(8), 0);
        assert_eq!(made.fit(3), 1);
        assert!(!made.entries.contains_key(&key("old")) && made.entries.len() == 2);
        assert_eq!(made.fit(0), 2);
    }
}
