//! `cairn rm`: names of images are forgotten.

use std::collections::BTreeSet;

use cairn_build::image::named::{is_image, read_all, remove};
use cairn_build::image::record::canonical;
use cairn_oci::Platform;
use cairn_store::Store;
use clap::Args;

use super::images::{open_image, open_images};
use super::options::PlatformOption;
use crate::error::CommandError;
use crate::session::Session;

/// Forget images of the store
///
/// A name goes and leaves other names of the same image; an id takes all names of its image. The
/// space on the disk comes back with the next `cairn gc`, which removes what no name needs; until
/// then a build may use it again. Prints the names that went, one per line. When one is not there, none goes.
#[derive(Debug, Clone, Args)]
pub struct RmArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    platform: PlatformOption,
}

pub fn run(args: &RmArgs, session: &Session) -> Result<(), CommandError> {
    let platform = args.platform.named(session)?;
    let store = session.open_store()?;
    let mut meant = BTreeSet::new();
    for image in &args.images {
        meant.extend(meant_by(&store, image, platform.as_ref())?);
    }
    for (name, platform) in meant {
        match &platform {
            Some(platform) => {
                remove(&store, &name, platform)?;
            }
            None => {
                store.remove_ref(&name)?;
            }
        }
        session.printer.data(&format!("{name}\n"))?;
    }
    Ok(())
}

/// A name, and the platform whose image it loses; without one it goes.
type Meant = (String, Option<Platform>);

/// The name itself, or all names of the image that has this id.
fn meant_by(
    store: &Store,
    image: &str,
    platform: Option<&Platform>,
) -> Result<Vec<Meant>, CommandError> {
    let name = canonical(image);
    if store.get_ref(&name)?.is_some_and(|found| is_image(&found)) {
        // One that is not there for the platform is told.
        open_images(store, image, platform)?;
        return Ok(vec![(name, platform.cloned())]);
    }
    let wanted = open_image(store, image, platform)?;
    let id = wanted.id();
    let mut meant = Vec::new();
    for (name, found) in store.list_refs()? {
        if is_image(&found) && read_all(store, &found)?.iter().any(|it| it.id() == id) {
            meant.push((name, Some(wanted.platform.clone())));
        }
    }
    Ok(meant)
}
