//! The results that an image carries in its config: `--cache-to type=inline`.
//!
//! A result there is a key, the content digest of what it stands for, and the number of the layer
//! of the image that holds it. Of the stages beside, whose layers the image does not hold, it tells
//! the digests alone: while nothing else is asked of their files, they need not be built again.
//! Nothing of it depends on a machine or a time, so equal images stay equal. BuildKit's own field
//! beside it is left alone: its keys are made of definitions.

use cairn_oci::Manifest;
use cairn_store::{CacheKey, ContentDigest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{CacheDocument, CacheEntry};

/// The field of an image's config.
pub const FIELD: &str = "dev.cairn.cache.v1";
const BUILDKIT_FIELD: &str = "moby.buildkit.cache.v0";

/// One result that an image carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineEntry {
    /// The key.
    pub key: CacheKey,
    /// What it stands for.
    pub content: ContentDigest,
    /// Which layer of the image it is, from the bottom; none for a step that made none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// Whether it made a layer that the image does not hold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_known: bool,
}

/// Reads the results that an image's config carries; says what there is instead.
pub(super) fn read(config: &[u8], manifest: &Manifest) -> Result<CacheDocument, &'static str> {
    let config: Value = serde_json::from_slice(config).map_err(|_| "a config that is no JSON")?;
    let Some(field) = config.get(FIELD) else {
        return Err(match config.get(BUILDKIT_FIELD) {
            Some(_) => "an image with results of BuildKit, whose keys are others",
            None => "an image that carries no results of steps",
        });
    };
    let entries: Vec<InlineEntry> = serde_json::from_value(field.clone())
        .map_err(|_| "an image with results that cannot be read")?;
    let mut document = CacheDocument::default();
    for entry in entries {
        let layer = entry
            .layer
            .map(|number| manifest.layers.get(number).cloned());
        // A number that no layer has is a result that is not there.
        if layer == Some(None) {
            continue;
        }
        let found = CacheEntry {
            content: entry.content,
            layer: layer.flatten(),
            only_known: entry.only_known,
            created: 0,
            used: 0,
            cost_ms: 0,
            description: String::new(),
        };
        document.entries.insert(entry.key, found);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use cairn_oci::{Compression, Descriptor, MediaType};
    use cairn_store::KeyHasher;

    use super::*;

    #[test]
    fn what_an_image_carries_is_found() {
        let layer = Descriptor::of(MediaType::OciLayer(Compression::Gzip), b"layer");
        let config = Descriptor::of(MediaType::OciConfig, b"{}");
        let manifest = Manifest::new(config, vec![layer.clone()]);
        let entry = |name: &str, layer| InlineEntry {
            key: KeyHasher::new("test").field("name", name).finish_key(),
            content: ContentDigest::of(name.as_bytes()),
            layer,
            only_known: name == "d",
        };
        let entries = [
            entry("a", Some(0)),
            entry("b", None),
            entry("c", Some(7)),
            entry("d", None),
        ];
        let config = serde_json::json!({ FIELD: entries, "architecture": "amd64" });
        let found = read(config.to_string().as_bytes(), &manifest)
            .unwrap()
            .entries;
        assert_eq!(found[&entries[0].key].layer.as_ref(), Some(&layer));
        assert_eq!(found[&entries[1].key].layer, None);
        assert!(!found.contains_key(&entries[2].key), "no such layer");
        let known = |number: usize| found[&entries[number].key].only_known;
        assert!(known(3) && !known(0) && !known(1));
    }

    #[test]
    fn what_others_wrote_breaks_nothing() {
        let manifest = Manifest::new(Descriptor::of(MediaType::OciConfig, b"{}"), vec![]);
        for config in [
            "{\"moby.buildkit.cache.v0\":\"W3siayI6MX1d\"}",
            "{\"moby.buildkit.cache.v0\":{}}",
            "{}",
            "[]",
            "<html>",
            "{\"dev.cairn.cache.v1\":\"x\"}",
            "{\"dev.cairn.cache.v1\":[{\"key\":\"x\"}]}",
        ] {
            assert!(read(config.as_bytes(), &manifest).is_err(), "{config}");
        }
    }
}
