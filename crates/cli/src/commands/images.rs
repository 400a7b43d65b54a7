//! `cairn images`: what the store has a name for.

use cairn_build::image::ImageRecord;
use cairn_build::image::named::{choose, is_image, open_all, read_all};
use cairn_build::image::source::StoreImages;
use cairn_build::resolve::ResolveError;
use cairn_oci::{Platform, Reference, rfc3339};
use cairn_store::{Store, StoreError};
use clap::Args;
use serde::Serialize;

use super::options::JsonOption;
use crate::error::{CommandError, Kind};
use crate::session::Session;
use crate::style::Tone;
use crate::table::{Align, Cell, Table};

/// List the images of the store
#[derive(Debug, Clone, Args)]
pub struct ImagesArgs {
    /// Only images whose name holds this text
    #[arg(value_name = "TEXT")]
    filter: Option<String>,
    /// Print only names
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    json: JsonOption,
}

/// One image of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    /// The image's id, equal in every store.
    id: String,
    platform: String,
    created: String,
    layers: usize,
    /// The manifest's digest, for images that came with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

pub fn run(args: &ImagesArgs, session: &Session) -> Result<(), CommandError> {
    let images = match session.store_if_there()? {
        Some(store) => list(&store, args.filter.as_deref())?,
        None => {
            session.tell_no_store()?;
            Vec::new()
        }
    };
    if args.json.json {
        return Ok(session.printer.json(&images)?);
    }
    if args.quiet {
        let names: String = images
            .iter()
            .map(|image| familiar(&image.name) + "\n")
            .collect();
        return Ok(session.printer.data(&names)?);
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("ID", Align::Left),
        ("PLATFORM", Align::Left),
        ("LAYERS", Align::Right),
        ("CREATED", Align::Left),
    ]);
    for image in &images {
        table.row([
            Cell::new(Tone::Strong, familiar(&image.name)),
            short_id(&image.id).into(),
            image.platform.as_str().into(),
            image.layers.to_string().into(),
            image.created.as_str().into(),
        ]);
    }
    Ok(session.printer.lines(&table.lines())?)
}

fn list(store: &Store, filter: Option<&str>) -> Result<Vec<Listed>, CommandError> {
    let mut images = Vec::new();
    for (name, descriptor) in store.list_refs()? {
        let wanted = filter.is_none_or(|text| name.contains(text));
        if wanted && is_image(&descriptor) {
            let records = read_all(store, &descriptor)?.into_iter();
            images.extend(records.map(|record| listed(name.clone(), record)));
        }
    }
    Ok(images)
}

fn listed(name: String, record: ImageRecord) -> Listed {
    Listed {
        name,
        id: record.id().to_string(),
        platform: record.platform.to_string(),
        created: rfc3339(record.epoch),
        layers: record.layers.len(),
        digest: record.packed.map(|manifest| manifest.digest.to_string()),
    }
}

/// Opens an image by its name or id; one that is not there is told with names that are near. Of
/// several it is the one for the platform, else the one for this machine.
pub fn open_image(
    store: &Store,
    name: &str,
    platform: Option<&Platform>,
) -> Result<ImageRecord, CommandError> {
    let records = open_images(store, name, platform)?;
    choose(records, platform).ok_or_else(|| unknown(name, &[]))
}

/// As [`open_image`], but gives all that the name leads to where no platform is asked for.
pub fn open_images(
    store: &Store,
    name: &str,
    platform: Option<&Platform>,
) -> Result<Vec<ImageRecord>, CommandError> {
    let images = StoreImages { store };
    let mut records = match open_all(store, name)? {
        Some(records) => records,
        None => match images.find(name)? {
            Some(record) => vec![record],
            None => match by_id(store, name)? {
                Some(record) => vec![record],
                None => return Err(unknown(name, &images.near(name))),
            },
        },
    };
    let Some(platform) = platform else {
        return Ok(records);
    };
    let there: Vec<String> = records.iter().map(|it| it.platform.to_string()).collect();
    records.retain(|record| platform.matches(&record.platform));
    match records.is_empty() {
        false => Ok(records),
        true => Err(CommandError::usage(format!(
            "`{name}` is there for {}, not for {platform}",
            there.join(", ")
        ))),
    }
}

/// Finds an image by its whole id, or by the start of one that has a name.
fn by_id(store: &Store, text: &str) -> Result<Option<ImageRecord>, StoreError> {
    const DIGITS_MIN: usize = 6;
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if hex.len() < DIGITS_MIN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    if let Ok(id) = format!("sha256:{hex}").parse() {
        return ImageRecord::find_by_id(store, &id);
    }
    for (_, found) in store.list_refs()? {
        if is_image(&found) {
            let mut records = read_all(store, &found)?.into_iter();
            if let Some(record) = records.find(|record| record.id().hex().starts_with(hex)) {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

/// Tells that there is no image of that name.
pub fn unknown(name: &str, near: &[String]) -> CommandError {
    let error = CommandError::usage(format!("the store has no image `{name}`"));
    match near {
        [] => error.hint("`cairn images` lists what there is"),
        near => {
            let near: Vec<String> = near
                .iter()
                .map(|name| format!("`{}`", familiar(name)))
                .collect();
            error.hint(format!("did you mean {}?", near.join(" or ")))
        }
    }
}

/// The short form of a name, as people write it.
pub fn familiar(name: &str) -> String {
    name.parse::<Reference>()
        .map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Twelve digits of a digest, as docker shows ids.
pub fn short_id(digest: &str) -> String {
    const DIGITS: usize = 12;
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    hex.chars().take(DIGITS).collect()
}

impl From<ResolveError> for CommandError {
    fn from(error: ResolveError) -> Self {
        match &error {
            ResolveError::Unknown { reference, near } => unknown(reference, near),
            ResolveError::Store { .. } => Self::from_error(Kind::Environment, &error),
            _ => Self::from_error(Kind::Usage, &error),
        }
    }
}
