//! `cairn push`: one image of the store into a registry.

use std::time::Instant;

use cairn_build::image::pack::Image;
use cairn_build::image::push::Shipment;
use cairn_oci::{Compression, Reference};
use cairn_registry::{Pushed, Watch};
use cairn_sandbox::{Cancel, interrupt};
use clap::Args;

use super::images::open_images;
use super::load::reference;
use super::options::PlatformOption;
use crate::error::CommandError;
use crate::means::fetch_options;
use crate::registries;
use crate::session::Session;

/// Push an image of the store to a registry
///
/// Prints the repository with the image's digest. What the registry has already is not sent, and
/// the tag is moved when everything else is there. An image for several platforms goes as an index
/// of all of them. `cairn publish` does this for all images of a
/// stack, and moves their tags together.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn push app ghcr.io/lab/app:1
  cairn push ghcr.io/lab/app:1              an image that has this name in the store

Logins are those of `podman login` and `docker login`, with their credential helpers.")]
pub struct PushArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Registry, repository and tag [default: IMAGE]
    #[arg(value_name = "DEST")]
    destination: Option<String>,
    /// Compress layers so: gzip, zstd or none
    #[arg(long, value_name = "FORM", default_value_t)]
    compression: Compression,
    #[command(flatten)]
    platform: PlatformOption,
}

pub fn run(args: &PushArgs, session: &Session) -> Result<(), CommandError> {
    let destination = args.destination.as_deref().unwrap_or(&args.image);
    let destination = destination.strip_prefix("docker://").unwrap_or(destination);
    let destination = tagged(&reference(destination)?)?;
    let client = registries::client(&session.settings.environment, fetch_options(session))?;
    let platform = args.platform.named(session)?;
    let store = session.open_existing_store()?;
    let cancel = Cancel::new();
    interrupt::cancel_on_signals(&cancel)?;
    let watch = Watch {
        is_stopped: &|| cancel.is_cancelled(),
        moved: &|_| {},
    };
    let records = open_images(&store, &args.image, platform.as_ref())?;
    let shipment = Shipment::pack(&store, Image::of(&records), args.compression)?;
    session
        .printer
        .note(&format!("pushing to {}", destination.familiar()));
    let began = Instant::now();
    let pushed = shipment.send(&store, &client, &destination, watch)?;
    let digest = &shipment.root.descriptor.digest;
    session.printer.note(&in_words(&pushed, began));
    let name = destination.name();
    Ok(session.printer.data(&format!("{name}@{digest}\n"))?)
}

/// A tag is moved, so a digest cannot be pushed to.
pub fn tagged(destination: &Reference) -> Result<Reference, CommandError> {
    match destination.digest() {
        None => Ok(destination.clone()),
        Some(_) => Err(CommandError::usage(format!(
            "`{destination}` names a digest: what is pushed has its own"
        ))
        .hint("name a tag instead")),
    }
}

pub fn in_words(pushed: &Pushed, began: Instant) -> String {
    if pushed.sent == 0 && pushed.mounted == 0 {
        return "the registry has it already".to_owned();
    }
    format!(
        "{:.1} MB sent in {:.1} s; {} there, {} from other repositories",
        pushed.bytes as f64 / 1e6,
        began.elapsed().as_secs_f64(),
        match pushed.there {
            1 => "1 blob was".to_owned(),
            there => format!("{there} blobs were"),
        },
        pushed.mounted
    )
}
