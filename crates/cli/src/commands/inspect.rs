//! `cairn inspect`: all that the store knows of an image.

use std::collections::BTreeMap;

use cairn_build::image::ImageRecord;
use cairn_build::image::named::{is_image, read_all};
use cairn_oci::{History, RunConfig, rfc3339};
use cairn_store::Store;
use clap::Args;
use serde::Serialize;

use super::images::open_images;
use super::options::PlatformOption;
use crate::error::CommandError;
use crate::session::Session;

/// Print what is known of images, as JSON
///
/// An image for several platforms is told once for each.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    platform: PlatformOption,
}

/// What is printed of an image; settings have docker's names.
#[derive(Debug, Serialize)]
struct Inspected {
    /// The image's id, equal in every store.
    id: String,
    names: Vec<String>,
    /// The manifest's digest, for images that came with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    platform: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    config: RunConfig,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    history: Vec<History>,
    layers: Vec<InspectedLayer>,
    /// The digest of all that a container of this image can observe.
    content: String,
}

#[derive(Debug, Serialize)]
struct InspectedLayer {
    snapshot: String,
    content: String,
}

pub fn run(args: &InspectArgs, session: &Session) -> Result<(), CommandError> {
    let platform = args.platform.named(session)?;
    let store = session.open_existing_store()?;
    let mut inspected = Vec::new();
    for name in &args.images {
        for record in open_images(&store, name, platform.as_ref())? {
            inspected.push(inspect(&store, record)?);
        }
    }
    Ok(session.printer.json(&inspected)?)
}

fn inspect(store: &Store, record: ImageRecord) -> Result<Inspected, CommandError> {
    let id = record.id();
    let mut names = Vec::new();
    for (name, found) in store.list_refs()? {
        if is_image(&found) && read_all(store, &found)?.iter().any(|it| it.id() == id) {
            names.push(name);
        }
    }
    let layer = |layer: &cairn_build::image::record::RecordLayer| InspectedLayer {
        snapshot: layer.snapshot.to_string(),
        content: layer.content.to_string(),
    };
    Ok(Inspected {
        id: id.to_string(),
        names,
        content: record.content().to_string(),
        layers: record.layers.iter().map(layer).collect(),
        digest: record.packed.map(|manifest| manifest.digest.to_string()),
        platform: record.platform.to_string(),
        created: rfc3339(record.epoch),
        author: record.author,
        config: record.config,
        annotations: record.annotations,
        history: record.history,
    })
}
