//! Which files of a selection are not what an earlier copy of them holds: for `plan` and `why`,
//! which name the file that changed and not only the digest.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::selection::{Selection, Source, below};
use crate::context::{Kind, SourceEntry, SourceTree};

/// So many names are enough to see what happened.
const NAMES_MAX: usize = 10;
/// Larger files of equal size and another time are taken to differ without being read.
const READ_MAX: u64 = 16 << 20;

/// Names files of the selection that are new or other than in `earlier`, the changeset that an
/// earlier copy to the same destination made, and files that are gone.
pub fn changed_files(
    tree: &dyn SourceTree,
    selection: &Selection,
    dest: &str,
    earlier: &Path,
) -> Vec<String> {
    let mut changed = Vec::new();
    let mut present = HashSet::new();
    for source in &selection.sources {
        for item in &source.items {
            let copied = copied_to(source, &item.path, dest);
            let path = below(&source.root, &item.path);
            let is_file = item.entry.kind == Kind::File;
            if is_file && changed.len() < NAMES_MAX {
                let before = earlier.join(&copied);
                if !is_same(tree, &path, &item.entry, &before).unwrap_or(false) {
                    changed.push(path.display().to_string());
                }
            }
            present.insert(copied);
        }
    }
    if changed.len() < NAMES_MAX {
        let top = earlier.join(dest.trim_matches('/'));
        missing_below(&top, earlier, &present, &mut changed);
    }
    changed
}

/// Where an item of a source lies in the changeset.
fn copied_to(source: &Source, item: &Path, dest: &str) -> PathBuf {
    let base = Path::new(dest.trim_matches('/'));
    match (source.is_dir(), dest.ends_with('/')) {
        (true, _) => below(base, item),
        (false, true) => base.join(&source.name),
        (false, false) => base.to_owned(),
    }
}

fn is_same(
    tree: &dyn SourceTree,
    path: &Path,
    entry: &SourceEntry,
    before: &Path,
) -> io::Result<bool> {
    let known = fs::symlink_metadata(before)?;
    if !known.is_file() || known.len() != entry.size {
        return Ok(false);
    }
    if known.mode() & 0o7777 != entry.mode & 0o7777 {
        return Ok(false);
    }
    if (known.mtime(), known.mtime_nsec()) == (entry.mtime.0, i64::from(entry.mtime.1)) {
        return Ok(true);
    }
    if entry.size > READ_MAX {
        return Ok(false);
    }
    let mut new = Vec::new();
    tree.open(path, entry)?.read_to_end(&mut new)?;
    let mut old = Vec::new();
    File::open(before)?.read_to_end(&mut old)?;
    Ok(new == old)
}

/// Names files below a directory of the changeset that the selection no longer has.
fn missing_below(
    directory: &Path,
    root: &Path,
    present: &HashSet<PathBuf>,
    missing: &mut Vec<String>,
) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if missing.len() >= NAMES_MAX {
            return;
        }
        let path = entry.path();
        let Ok(relative) = path.strip_prefix(root) else {
            continue;
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            missing_below(&path, root, present, missing);
        } else if !present.contains(relative) {
            missing.push(format!("{} (gone)", relative.display()));
        }
    }
}
