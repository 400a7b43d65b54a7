//! `cairn tag`: one more name for an image of the store.

use cairn_build::image::named::{Others, save};
use cairn_oci::Reference;
use clap::Args;

use super::images::open_images;
use super::load::reference;
use super::options::PlatformOption;
use crate::error::CommandError;
use crate::session::Session;

/// Give an image of the store further names
///
/// A name that means another image already is moved. An image for several platforms gets the name
/// with all of them. Prints the new names, one per line.
#[derive(Debug, Clone, Args)]
pub struct TagArgs {
    /// The image: a name or an id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// What it is to be called
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    platform: PlatformOption,
}

pub fn run(args: &TagArgs, session: &Session) -> Result<(), CommandError> {
    let names: Vec<Reference> = args
        .names
        .iter()
        .map(|name| reference(name))
        .collect::<Result<_, _>>()?;
    let platform = args.platform.named(session)?;
    let store = session.open_store()?;
    let images = open_images(&store, &args.image, platform.as_ref())?;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    save(&store, &names, &images, &Others::Go)?;
    Ok(session.printer.data(&(names.join("\n") + "\n"))?)
}
