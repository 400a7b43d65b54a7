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
    /// The folder to work in.
    pub(super) path: PathBuf,
    folder: TempDir,
}

impl Drop for Place {
    /// Nothing stays mounted in a folder that is about to be removed: not our own file system, and
    /// not what daemons leave behind (a network namespace, a storage folder bound to itself).
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for target in mounts_below(&table, self.folder.path()) {
            if let Err(error) = command::capture(Command::new("umount").arg(&target)) {
                eprintln!("{} stays mounted: {error}", target.display());
            }
        }
    }
}

/// The mount points below a folder, the last mounted first.
fn mounts_below(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let targets = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<PathBuf> = targets
        .map(PathBuf::from)
        .filter(|target| target.starts_with(folder))
        .collect();
    below.reverse();
    below
}

/// Makes the place.
pub(super) fn prepare(options: &Options) -> Result<Place, ChoreError> {
    let folder = tempfile::Builder::new()
        .prefix("cairn-bench-")
        .tempdir_in(&options.dir)
        .map_err(ChoreError::file(&options.dir))?;
    let mut place = Place {
        path: folder.path().to_path_buf(),
        folder,
    };
    if options.loop_ext4 {
        place.path = mount_fresh_ext4(place.folder.path())?;
    }
    Ok(place)
}

fn mount_fresh_ext4(folder: &Path) -> Result<PathBuf, ChoreError> {
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
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_undone_from_the_inside_out() {
        let table =
            "1 0 8:1 / / rw\n2 1 7:0 / /b/ext4 rw\n3 2 0:4 / /b/ext4/netns rw\n4 1 7:0 / /bc rw";
        let found = mounts_below(table, Path::new("/b"));
        assert_eq!(found, [Path::new("/b/ext4/netns"), Path::new("/b/ext4")]);
    }
}
