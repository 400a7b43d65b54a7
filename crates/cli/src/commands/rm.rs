//! `cairn rm`: names of images are forgotten.

use std::collections::BTreeSet;

use cairn_build::image::ImageRecord;
use cairn_build::image::record::canonical;
use cairn_store::Store;
use clap::Args;

use super::images::{is_image, open_image};
use crate::error::CommandError;
use crate::session::Session;

/// Forget images of the store
///
/// A name goes and leaves other names of the same image; an id takes all names of its image. What
/// no name needs any more is removed by the next `cairn gc`; until then a build may use it again.
/// Prints the names that went, one per line. When one is not there, none goes.
#[derive(Debug, Clone, Args)]
pub struct RmArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub fn run(args: &RmArgs, session: &Session) -> Result<(), CommandError> {
    let store = session.open_store()?;
    let mut names = BTreeSet::new();
    for image in &args.images {
        names.extend(names_meant(&store, image)?);
    }
    for name in names {
        store.remove_ref(&name)?;
        session.printer.data(&format!("{name}\n"))?;
    }
    Ok(())
}

/// The name itself, or all names of the image that has this id.
fn names_meant(store: &Store, image: &str) -> Result<Vec<String>, CommandError> {
    let name = canonical(image);
    if store.get_ref(&name)?.is_some_and(|found| is_image(&found)) {
        return Ok(vec![name]);
    }
    let id = open_image(store, image)?.id();
    let mut names = Vec::new();
    for (name, found) in store.list_refs()? {
        if is_image(&found) && ImageRecord::read(store, &found)?.id() == id {
            names.push(name);
        }
    }
    Ok(names)
}
