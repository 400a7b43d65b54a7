//! `cairn inspect`: all that the store knows of an image.

use std::collections::BTreeMap;

use cairn_build::image::ImageRecord;
use cairn_build::image::named::{is_image, read_all};
use cairn_build::image::pack::{Image, pack_image};
use cairn_oci::{Compression, History, RunConfig, rfc3339};
use cairn_store::{Store, StoreError};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

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
    /// Print what is attested of the images instead: in-toto statements, as they leave with them
    #[arg(long)]
    attestations: bool,
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
    /// The kinds of what is attested of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attestations: Vec<String>,
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
    if args.attestations {
        let mut statements = Vec::new();
        for name in &args.images {
            for record in open_images(&store, name, platform.as_ref())? {
                statements.extend(statements_of(&store, &record)?);
            }
        }
        return Ok(session.printer.json(&statements)?);
    }
    let mut inspected = Vec::new();
    for name in &args.images {
        for record in open_images(&store, name, platform.as_ref())? {
            inspected.push(inspect(&store, record)?);
        }
    }
    Ok(session.printer.json(&inspected)?)
}

/// What is attested of an image, about the manifest that it leaves with.
fn statements_of(store: &Store, record: &ImageRecord) -> Result<Vec<Value>, CommandError> {
    let packed = pack_image(store, Image::One(record), Compression::default())?;
    let mut statements = Vec::new();
    for layer in packed.attestations().flat_map(|it| &it.statements) {
        let bytes = store.read_blob(&layer.digest)?;
        statements.push(serde_json::from_slice(&bytes).map_err(StoreError::decode)?);
    }
    Ok(statements)
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
    let attested = record.attestations(store)?.unwrap_or_default();
    let kinds = attested
        .list
        .iter()
        .map(|it| it.predicate_type().to_owned());
    Ok(Inspected {
        attestations: kinds.collect(),
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
