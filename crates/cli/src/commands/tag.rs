//! `cairn tag`: one more name for an image of the store.

use cairn_oci::Reference;
use clap::Args;

use super::images::open_image;
use super::load::reference;
use crate::error::CommandError;
use crate::session::Session;

/// Give an image of the store further names
///
/// A name that means another image already is moved. Prints the new names, one per line.
#[derive(Debug, Clone, Args)]
pub struct TagArgs {
    /// The image: a name or an id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// What it is to be called
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub fn run(args: &TagArgs, session: &Session) -> Result<(), CommandError> {
    let names: Vec<Reference> = args
        .names
        .iter()
        .map(|name| reference(name))
        .collect::<Result<_, _>>()?;
    let store = session.open_store()?;
    let image = open_image(&store, &args.image)?;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    image.save(&store, &names)?;
    Ok(session.printer.data(&(names.join("\n") + "\n"))?)
}
