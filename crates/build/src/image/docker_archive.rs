//! Reading what `docker save` and `podman save` write.
//!
//! `manifest.json` lists images: config file, layer files, names. There are no manifests, so one
//! is written around the layers as they are; the config's bytes stay, and with them the id that
//! docker shows.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use cairn_oci::{Descriptor, ImageConfig, MediaType, Platform};
use serde::Deserialize;

use super::bundle::Bundle;
use super::load::{LoadError, Loaded, Loader, layer_compression};

/// The file that lists the images.
pub(super) const MANIFEST: &str = "manifest.json";
/// An archive holds at most so many images.
const IMAGES_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Loads all images of an archive.
pub(super) fn load(loader: &Loader<'_>, bundle: &Bundle) -> Result<Vec<Loaded>, LoadError> {
    if !bundle.has(MANIFEST) {
        return Err(loader.no_image("it has no `manifest.json`"));
    }
    let bytes = bundle.document(MANIFEST);
    let bytes = bytes.map_err(|source| loader.unreadable(MANIFEST, source))?;
    let items: Vec<Item> = serde_json::from_slice(&bytes).map_err(|source| {
        loader.inconsistent(format!("`{MANIFEST}` is no list of images: {source}"))
    })?;
    if items.is_empty() || items.len() > IMAGES_MAX {
        return Err(loader.inconsistent(format!("`{MANIFEST}` lists {} images", items.len())));
    }
    items
        .iter()
        .map(|item| image(loader, bundle, item))
        .collect()
}

fn image(loader: &Loader<'_>, bundle: &Bundle, item: &Item) -> Result<Loaded, LoadError> {
    let bytes = bundle.document(&item.config);
    let bytes = bytes.map_err(|source| loader.unreadable(&item.config, source))?;
    let config = ImageConfig::from_json_bytes(&bytes)
        .map_err(|source| loader.broken(format!("`{}`", item.config), source))?;
    let wanted = &loader.options.platform;
    let platform = config.platform().normalised();
    if loader.options.platform_required && !wanted.matches(&platform) {
        return Err(LoadError::NoSuchPlatform {
            path: loader.path.clone(),
            wanted: wanted.to_string(),
            found: vec![Platform::to_string(&platform)],
        });
    }
    let mut layers = Vec::new();
    for name in item.layers.iter().flatten() {
        layers.push(layer(loader, bundle, name)?);
    }
    let manifest = loader.wrap(&bytes, layers.clone())?;
    let record = loader.record(manifest, &layers, config, BTreeMap::new())?;
    Ok(Loaded {
        record,
        names: item.repo_tags.clone().unwrap_or_default(),
    })
}

fn layer(loader: &Loader<'_>, bundle: &Bundle, name: &str) -> Result<Descriptor, LoadError> {
    let mut reader = BufReader::new(loader.open(bundle, name)?);
    let start = reader
        .fill_buf()
        .map_err(|source| loader.unreadable(name, source))?;
    let compression = layer_compression(start);
    let (digest, size) = loader.store.put_blob(None, &mut reader)?;
    Ok(Descriptor::new(
        MediaType::OciLayer(compression),
        digest,
        size,
    ))
}
