//! Where a benchmark works: a fresh folder, or a fresh ext4 file system in one.
//!
//! What is measured is often the disk. A loop-mounted ext4 made for the run is the same on every
//! machine, has no history, and is gone afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::options::Options;
use crate::command;
use crate::error::ChoreError;

/// The size of the file system's file; sparse, so it costs what is written.
const LOOP_SIZE: &str = "40G";

/// A folder that exists for one benchmark.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder.
    pub(super) path: PathBuf,
    /// Unmounted before the folder goes.
    _mounted: Option<Mounted>,
    _folder: TempDir,
}

/// Makes the place.
pub(super) fn prepare(options: &Options) -> Result<Place, ChoreError> {
    let folder = tempfile::Builder::new()
        .prefix("cairn-bench-")
        .tempdir_in(&options.dir)
        .map_err(ChoreError::file(&options.dir))?;
    if !options.loop_ext4 {
        return Ok(Place {
            path: folder.path().to_path_buf(),
            _mounted: None,
            _folder: folder,
        });
    }
    let mounted = mount_fresh_ext4(folder.path())?;
    Ok(Place {
        path: mounted.target.clone(),
        _mounted: Some(mounted),
        _folder: folder,
    })
}

#[derive(Debug)]
struct Mounted {
    target: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = command::capture(Command::new("umount").arg(&self.target)) {
            eprintln!("{} stays mounted: {error}", self.target.display());
        }
    }
}

fn mount_fresh_ext4(folder: &Path) -> Result<Mounted, ChoreError> {
    let image = folder.join("ext4.img");
    let target = folder.join("ext4");
    std::fs::create_dir(&target).map_err(ChoreError::file(&target))?;
    command::capture(Command::new("truncate").args(["-s", LOOP_SIZE]).arg(&image))?;
    let mkfs = command::find("mkfs.ext4").unwrap_or_else(|| "mkfs.ext4".into());
    command::capture(
        Command::new(mkfs)
            // Without lazy initialisation nothing is written behind our back while we measure.
            .args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image),
    )?;
    command::capture(
        Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&target),
    )?;
    Ok(Mounted { target })
}
