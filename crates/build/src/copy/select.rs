//! Finds the files that the sources of one `COPY` or `ADD` mean.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cairn_dockerfile::ignore::Matched;
use cairn_sandbox::Cancel;

use super::error::{DanglingLink, SelectError};
use super::hash::digest_files;
use super::patterns::{Hiding, has_wildcards, name_pattern};
use super::resolve::{ResolveError, clean, resolve};
use super::selection::{Item, Role, Selection, Source, below};
use crate::context::{Kind, SourceEntry, SourceTree};

/// The sources of one instruction, as written and expanded.
#[derive(Debug)]
pub struct CopySources<'a> {
    /// Paths and wildcards.
    pub paths: &'a [String],
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: &'a [String],
    /// How many threads may read files.
    pub workers: usize,
    /// Asks to stop.
    pub cancel: &'a Cancel,
}

/// Finds the files and digests them.
pub fn select(tree: &dyn SourceTree, sources: &CopySources<'_>) -> Result<Selection, SelectError> {
    let mut selector = Selector {
        tree,
        excluded: Hiding::excluded(sources.exclude)?,
        workers: sources.workers,
        cancel: sources.cancel,
        found: Vec::new(),
    };
    for path in sources.paths {
        if sources.parents {
            selector.add_with_parents(path)?;
        } else {
            selector.add(path)?;
        }
    }
    let contents = digest_files(tree, &selector.found, sources.workers, sources.cancel)?;
    Selection::new(tree, selector.found, &contents)
}

struct Selector<'a> {
    tree: &'a dyn SourceTree,
    excluded: Hiding,
    workers: usize,
    cancel: &'a Cancel,
    found: Vec<Source>,
}

impl Selector<'_> {
    /// A source without `--parents`.
    fn add(&mut self, path: &str) -> Result<(), SelectError> {
        if !has_wildcards(path) {
            let (root, entry) = self.existing(path)?;
            return self.add_tree(base_name(&clean(path)), root, entry, &Hiding::nothing());
        }
        for (matched, root, entry) in self.matches(path)? {
            let name = base_name(&matched);
            // BuildKit's reference: excluded files are not copied even where the source names them.
            let excluded = !entry.is_dir() && self.excluded.hides(Path::new(&name));
            if !excluded {
                self.add_tree(name, root, entry, &Hiding::nothing())?;
            }
        }
        Ok(())
    }

    /// A source with `--parents`: what matches the part behind the pivot, with its directories.
    fn add_with_parents(&mut self, path: &str) -> Result<(), SelectError> {
        let (start, rest) = path.split_once("/./").unwrap_or(("/", path));
        let rest = clean(rest);
        let is_literal = !has_wildcards(start) && !has_wildcards(&rest.to_string_lossy());
        if is_literal {
            self.existing(&format!("{start}/{}", rest.display()))?;
        }
        let unmatched = match rest.as_os_str().is_empty() {
            true => Hiding::nothing(),
            false => Hiding::all_but(&rest)?,
        };
        let starts = match has_wildcards(start) {
            true => self.matches(start)?,
            false => {
                let (root, entry) = self.existing(start)?;
                vec![(clean(start), root, entry)]
            }
        };
        for (matched, root, entry) in starts {
            self.add_tree(base_name(&matched), root, entry, &unmatched)?;
        }
        Ok(())
    }

    /// What lies at a path without wildcards.
    fn existing(&self, path: &str) -> Result<(PathBuf, SourceEntry), SelectError> {
        let path = clean(path);
        match resolve(self.tree, &path).map_err(unresolved(&path))? {
            Some(found) => Ok(found),
            None => Err(self.not_found(&path)),
        }
    }

    /// What a wildcard matches, in order: the matched path, where it leads, what is there.
    fn matches(&self, path: &str) -> Result<Vec<(PathBuf, PathBuf, SourceEntry)>, SelectError> {
        let pattern = clean(path);
        let mut fixed = PathBuf::new();
        let mut components = pattern.iter().peekable();
        while let Some(name) = components.next_if(|name| !has_wildcards(&name.to_string_lossy())) {
            fixed.push(name);
        }
        let (base, entry) = self.existing(&fixed.to_string_lossy())?;
        let rest: Vec<&OsStr> = components.collect();
        let mut matched = Vec::new();
        if entry.is_dir() {
            self.match_below(&base, &rest, &mut matched)?;
        }
        let mut found = Vec::new();
        for path in matched {
            match resolve(self.tree, &path).map_err(unresolved(&path))? {
                Some((root, entry)) => found.push((path, root, entry)),
                None => return Err(self.not_found(&path)),
            }
        }
        Ok(found)
    }

    /// Matches one component per directory level; links are matched but not entered.
    fn match_below(
        &self,
        dir: &Path,
        patterns: &[&OsStr],
        matched: &mut Vec<PathBuf>,
    ) -> Result<(), SelectError> {
        let Some((pattern, rest)) = patterns.split_first() else {
            return Ok(());
        };
        let pattern = name_pattern(pattern)?;
        let listing = self.tree.read_dir(dir).map_err(SelectError::read(dir))?;
        for (name, entry) in listing.iter() {
            if !pattern.matches(&name.to_string_lossy()) {
                continue;
            }
            let path = dir.join(name);
            if rest.is_empty() {
                matched.push(path);
            } else if entry.is_dir() {
                self.match_below(&path, rest, matched)?;
            }
        }
        Ok(())
    }

    fn add_tree(
        &mut self,
        name: OsString,
        root: PathBuf,
        entry: SourceEntry,
        unmatched: &Hiding,
    ) -> Result<(), SelectError> {
        let is_dir = entry.is_dir();
        let mut walk = Walk {
            tree: self.tree,
            cancel: self.cancel,
            unmatched,
            excluded: &self.excluded,
            root: &root,
            items: vec![Item {
                path: PathBuf::new(),
                role: Role::Wanted,
                entry,
            }],
            passages: Vec::new(),
        };
        if is_dir {
            self.tree.read_ahead(&root, self.workers);
            walk.directory(Path::new(""), &Matched::default(), &Matched::default())?;
        }
        let items = walk.items;
        self.found.push(Source { name, root, items });
        Ok(())
    }

    fn not_found(&self, path: &Path) -> SelectError {
        let mut near = near(self.tree, path);
        if near.is_empty() {
            near = elsewhere(self.tree, path);
        }
        SelectError::NotFound {
            path: path.display().to_string(),
            near,
            hidden_by: self.tree.hidden_by(path),
            dangling: dangling_link(self.tree, path).map(Box::new),
        }
    }
}

/// A walk over one source directory.
struct Walk<'a> {
    tree: &'a dyn SourceTree,
    cancel: &'a Cancel,
    unmatched: &'a Hiding,
    excluded: &'a Hiding,
    root: &'a Path,
    items: Vec<Item>,
    /// Directories on the way here that are not wanted themselves and not taken yet.
    passages: Vec<(PathBuf, SourceEntry)>,
}

impl Walk<'_> {
    /// Takes what is wanted in a directory, given which patterns matched the directory itself.
    fn directory(
        &mut self,
        dir: &Path,
        unmatched_here: &Matched,
        excluded_here: &Matched,
    ) -> Result<(), SelectError> {
        if self.cancel.is_cancelled() {
            return Err(SelectError::Cancelled);
        }
        let place = below(self.root, dir);
        let listing = self
            .tree
            .read_dir(&place)
            .map_err(SelectError::read(place))?;
        for (name, entry) in listing.iter() {
            let path = dir.join(name);
            let (is_unmatched, unmatched) = self.unmatched.below(&path, unmatched_here);
            let (is_excluded, excluded) = self.excluded.below(&path, excluded_here);
            let is_wanted = !is_unmatched && !is_excluded;
            if is_wanted {
                self.take_passages();
                let item = Item {
                    path: path.clone(),
                    role: Role::Wanted,
                    entry: entry.clone(),
                };
                self.items.push(item);
            }
            let is_hopeless = (is_unmatched && self.unmatched.hides_all_below(&path))
                || (is_excluded && self.excluded.hides_all_below(&path));
            if !entry.is_dir() || is_hopeless {
                continue;
            }
            if is_wanted {
                self.directory(&path, &unmatched, &excluded)?;
            } else {
                self.passages.push((path.clone(), entry.clone()));
                self.directory(&path, &unmatched, &excluded)?;
                // It is gone already if something below was wanted.
                self.passages.pop_if(|(passage, _)| *passage == path);
            }
        }
        Ok(())
    }

    fn take_passages(&mut self) {
        for (path, entry) in self.passages.drain(..) {
            self.items.push(Item {
                path,
                role: Role::Passage,
                entry,
            });
        }
    }
}

fn base_name(path: &Path) -> OsString {
    path.file_name().unwrap_or_default().to_owned()
}

fn unresolved(path: &Path) -> impl FnOnce(ResolveError) -> SelectError {
    let path = path.to_owned();
    move |error| match error {
        ResolveError::Loop => SelectError::LinkLoop { path },
        ResolveError::Io(path, source) => SelectError::Read { path, source },
    }
}

/// The first link on a path that leads nowhere.
fn dangling_link(tree: &dyn SourceTree, path: &Path) -> Option<DanglingLink> {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    let lost = above
        .into_iter()
        .find(|path| !matches!(resolve(tree, path), Ok(Some(_))))?;
    // What is above it can be reached; what it is itself is asked for where it lies.
    let (parent, _) = resolve(tree, lost.parent()?).ok()??;
    let place = parent.join(lost.file_name()?);
    let entry = tree.lookup(&place).ok()??;
    if entry.kind != Kind::Symlink {
        return None;
    }
    let target = tree.read_link(&place, &entry).ok()?;
    Some(DanglingLink {
        path: lost.display().to_string(),
        target: target.display().to_string(),
    })
}

/// So many names are told.
const NAMES_MAX: usize = 3;

/// Names in the deepest directory of a path that exists which look like the missing one.
fn near(tree: &dyn SourceTree, path: &Path) -> Vec<String> {
    let mut dir = path.to_owned();
    let (listing, dir, missing) = loop {
        let Some(missing) = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            return Vec::new();
        };
        dir.pop();
        if let Ok(Some((real, entry))) = resolve(tree, &dir)
            && entry.is_dir()
            && let Ok(listing) = tree.read_dir(&real)
        {
            break (listing, dir, missing);
        }
    };
    let mut scored: Vec<(usize, String)> = listing
        .iter()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .map(|name| (strsim::osa_distance(&missing, &name), name))
        .filter(|(distance, _)| *distance <= missing.len().div_ceil(3))
        .collect();
    scored.sort();
    scored.truncate(NAMES_MAX);
    scored
        .into_iter()
        .map(|(_, name)| dir.join(name).display().to_string())
        .collect()
}

/// Where in the tree something of the same name lies: the nearest to the root first.
fn elsewhere(tree: &dyn SourceTree, path: &Path) -> Vec<String> {
    /// A search of a huge tree is not worth a hint.
    const DIRECTORIES_MAX: usize = 2000;
    let mut found = Vec::new();
    let mut waiting = VecDeque::from([PathBuf::new()]);
    let mut looked_at = 0;
    while let Some(directory) = waiting.pop_front() {
        looked_at += 1;
        let is_enough = found.len() == NAMES_MAX || looked_at > DIRECTORIES_MAX;
        let Some(wanted) = path.file_name().filter(|_| !is_enough) else {
            break;
        };
        let Ok(listing) = tree.read_dir(&directory) else {
            continue;
        };
        for (name, entry) in listing.iter() {
            let place = directory.join(name);
            if name == wanted {
                found.push(place.display().to_string());
            }
            if entry.is_dir() {
                waiting.push_back(place);
            }
        }
    }
    found.truncate(NAMES_MAX);
    found
}
