//! Puts the host's certificates behind each certificate bundle that the image has.
//!
//! The changed copies are part of the layer over the image, not mounts: package scripts replace
//! bundles by renaming, which a mount point would refuse.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::scratch::errno_of;
use super::stubs::Stubs;
use crate::ca::{BUNDLES, CaTrust, block_of};
use crate::error::{At, Failure, Step};
use crate::locate::{self, Kind};

/// What was done about certificates.
#[derive(Debug, Default)]
pub(crate) struct Trusted {
    /// The bundle that the environment is to point to, if any.
    pub(crate) bundle: Option<Vec<u8>>,
    /// The files that have a changed copy over them, as paths below the root.
    pub(crate) replaced: Vec<PathBuf>,
}

/// A bundle is a few hundred kilobytes; a file beyond this is something else.
const BUNDLE_BYTES_MAX: u64 = 16 << 20;

pub(crate) fn replace(
    stubs: &mut Stubs,
    image: BorrowedFd<'_>,
    ca: &CaTrust,
) -> Result<Trusted, Failure> {
    let block = block_of(&ca.pem).map_err(errno_of).at(Step::Certificates)?;
    let mut bundle = None;
    let mut replaced = BTreeSet::new();
    for known in BUNDLES {
        let known = Path::new(known);
        let Ok(location) = locate::locate(image, known) else {
            continue;
        };
        if location.kind != Kind::NotDirectory || replaced.contains(&location.path) {
            continue;
        }
        let Some(mut content) = read(image, &location.path).at_path(Step::Certificates, known)?
        else {
            continue;
        };
        content.extend_from_slice(&block);
        stubs
            .replace_file(image, &location.path, &content)
            .at_path(Step::Certificates, known)?;
        bundle.get_or_insert(content);
        replaced.insert(location.path);
    }
    let bundle = Some(bundle.unwrap_or(block));
    Ok(Trusted {
        bundle,
        replaced: replaced.into_iter().collect(),
    })
}

/// The content of a regular file of sensible size.
fn read(image: BorrowedFd<'_>, path: &Path) -> Result<Option<Vec<u8>>, Errno> {
    let file = std::fs::File::from(locate::open_file(image, path)?);
    let metadata = file.metadata().map_err(errno_of)?;
    if !metadata.is_file() || metadata.len() > BUNDLE_BYTES_MAX {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(BUNDLE_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(errno_of)?;
    Ok(Some(content))
}
