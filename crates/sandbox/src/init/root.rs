//! The image as one tree, with all mount points in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::bundles;
use super::scratch::Scratch;
use super::stubs::{Stubs, copy_root_attributes};
use crate::error::{At, Failure, Step};
use crate::locate::{Kind, Location, lexical, locate};
use crate::mount::{attach_at, restrict};
use crate::overlay::{Upper, assemble};
use crate::sandbox::{Sandbox, Writable};

/// Where something is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    pub(crate) directory: bool,
}

/// The tree, attached in the scratch directory.
pub(crate) struct Root {
    pub(crate) fd: OwnedFd,
    /// What the image trusts, with the host's certificates; empty unless they were asked for.
    pub(crate) trusted: bundles::Trusted,
}

/// Each round either sees all targets or makes those that it does not see; a link into a hidden
/// directory takes the most.
const ROUNDS_MAX: usize = 4;

pub(crate) fn assemble_root(
    sandbox: &Sandbox,
    scratch: &Scratch,
    targets: &[Target],
) -> Result<Root, Failure> {
    let mut stubs = Stubs::new(scratch);
    for target in targets {
        stubs
            .add_under(&lexical(&target.path), target.directory)
            .at_path(Step::Target, &target.path)?;
    }
    let mut image = survey(sandbox, scratch, &stubs)?;
    for _ in 0..ROUNDS_MAX {
        if !place_missing(&mut stubs, image.as_fd(), targets)? {
            break;
        }
        image = survey(sandbox, scratch, &stubs)?;
    }
    let trusted = match &sandbox.ca {
        Some(ca) => bundles::replace(&mut stubs, image.as_fd(), ca)?,
        None => bundles::Trusted::default(),
    };
    stubs.finish().at(Step::Layers)?;
    let tree = final_tree(sandbox, scratch, &stubs, image.as_fd())?;
    attach_at(&tree, &scratch.root()).at(Step::Root)?;
    Ok(Root { fd: tree, trusted })
}

/// The image and its stubs as they will be seen, mounted for looking only.
fn survey(sandbox: &Sandbox, scratch: &Scratch, stubs: &Stubs) -> Result<OwnedFd, Failure> {
    let mut lowers = layers(sandbox, scratch, stubs);
    if let Writable::Upper { upper, .. } = &sandbox.writable
        && !is_empty(upper)
    {
        lowers.push(upper.clone());
    }
    assemble(&lowers, None, &scratch.root())
}

fn layers(sandbox: &Sandbox, scratch: &Scratch, stubs: &Stubs) -> Vec<PathBuf> {
    let mut lowers = Vec::with_capacity(sandbox.lowers.len() + 3);
    // Without an upper overlayfs wants two lowers, and there may be no image.
    lowers.push(scratch.empty());
    lowers.push(scratch.under());
    lowers.extend(sandbox.lowers.iter().cloned());
    if stubs.uses_over() {
        lowers.push(scratch.over());
    }
    lowers
}

/// Whether a directory that cannot be read or is not there is empty does not matter: mounting it
/// will tell.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether something had to be made.
fn place_missing(
    stubs: &mut Stubs,
    image: BorrowedFd<'_>,
    targets: &[Target],
) -> Result<bool, Failure> {
    let mut has_placed = false;
    for target in targets {
        let Location { path, kind } = find(image, target)?;
        if kind == Kind::Missing {
            stubs
                .place(image, &path, target.directory)
                .at_path(Step::Target, &target.path)?;
            has_placed = true;
        }
    }
    Ok(has_placed)
}

/// Where a target leads; an error when a directory stands where a file is to be mounted, or the
/// other way round.
pub(crate) fn find(root: BorrowedFd<'_>, target: &Target) -> Result<Location, Failure> {
    let location = locate(root, &target.path).at_path(Step::Target, &target.path)?;
    let (errno, hint) = match (location.kind, target.directory) {
        (Kind::Directory, false) => (Errno::ISDIR, "a file is to be mounted there"),
        (Kind::NotDirectory, true) => (Errno::NOTDIR, "a directory is to be mounted there"),
        _ => return Ok(location),
    };
    Err(Failure::new(Step::Target, target.path.display().to_string(), errno).with_hint(hint))
}

fn final_tree(
    sandbox: &Sandbox,
    scratch: &Scratch,
    stubs: &Stubs,
    image: BorrowedFd<'_>,
) -> Result<OwnedFd, Failure> {
    let lowers = layers(sandbox, scratch, stubs);
    match &sandbox.writable {
        Writable::Upper { upper, work } => {
            assemble(&lowers, Some(Upper { upper, work }), &scratch.root())
        }
        Writable::Tmpfs => {
            let (upper, work) = scratch.upper_and_work();
            copy_root_attributes(image, &upper).at(Step::Layers)?;
            assemble(
                &lowers,
                Some(Upper {
                    upper: &upper,
                    work: &work,
                }),
                &scratch.root(),
            )
        }
        Writable::ReadOnly => {
            let tree = assemble(&lowers, None, &scratch.root())?;
            restrict(&tree, MountAttrFlags::MOUNT_ATTR_RDONLY, false).at(Step::Root)?;
            Ok(tree)
        }
    }
}
