//! Paths in a source tree, with links followed, never out of the tree.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::context::{Kind, SourceEntry, SourceTree};

/// As many as the kernel's limit for one path lookup allows, and then some: BuildKit's.
pub(crate) const LINKS_MAX: usize = 255;

/// Why a path leads nowhere.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// More links than any sane path has.
    Loop,
    /// Reading failed.
    Io(PathBuf, io::Error),
}

/// Follows every link of a path, the last included.
///
/// Absolute targets start at the tree's root; `..` at the root stays there. Gives the literal path
/// with its entry, or `None` if nothing is there.
pub(crate) fn resolve(
    tree: &dyn SourceTree,
    path: &Path,
) -> Result<Option<(PathBuf, SourceEntry)>, ResolveError> {
    let mut open: VecDeque<Step> = steps(path);
    let mut reached = PathBuf::new();
    let mut entry = look_up(tree, &reached)?;
    let mut links = 0;
    while let Some(step) = open.pop_front() {
        let Some(here) = &entry else { return Ok(None) };
        if !here.is_dir() {
            return Ok(None);
        }
        match step {
            Step::Root => reached = PathBuf::new(),
            Step::Up => drop(reached.pop()),
            Step::Into(name) => {
                reached.push(name);
                entry = look_up(tree, &reached)?;
                let Some(found) = &entry else { return Ok(None) };
                if found.kind != Kind::Symlink {
                    continue;
                }
                links += 1;
                if links > LINKS_MAX {
                    return Err(ResolveError::Loop);
                }
                let target = tree
                    .read_link(&reached, found)
                    .map_err(|error| ResolveError::Io(reached.clone(), error))?;
                reached.pop();
                for step in steps(&target).into_iter().rev() {
                    open.push_front(step);
                }
            }
        }
        entry = look_up(tree, &reached)?;
    }
    Ok(entry.map(|entry| (reached, entry)))
}

/// Makes a path relative to the root and clean, by its text alone: `..` cannot leave the root.
pub(crate) fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// One step on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the root.
    Root,
    /// To the parent.
    Up,
    /// To a name in the directory reached.
    Into(OsString),
}

/// The steps that a path or a link's target asks for.
pub(crate) fn steps(path: &Path) -> VecDeque<Step> {
    path.components()
        .filter_map(|component| match component {
            Component::RootDir => Some(Step::Root),
            Component::ParentDir => Some(Step::Up),
            Component::Normal(name) => Some(Step::Into(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn look_up(tree: &dyn SourceTree, path: &Path) -> Result<Option<SourceEntry>, ResolveError> {
    tree.lookup(path)
        .map_err(|error| ResolveError::Io(path.to_owned(), error))
}
