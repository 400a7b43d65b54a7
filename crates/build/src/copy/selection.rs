//! The files that one `COPY` or `ADD` takes, and their digest.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cairn_store::{ContentDigest, KeyHasher};

use super::error::SelectError;
use crate::context::{Kind, LinkId, SourceEntry, SourceTree};

/// The files that one instruction takes.
#[derive(Debug, Clone)]
pub struct Selection {
    pub(super) sources: Vec<Source>,
    digest: ContentDigest,
}

/// One source: a path as written, or one match of a wildcard, with everything below it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its last name as written or matched: what it is called inside a destination directory.
    pub(super) name: OsString,
    /// Where it lies in the tree, links followed.
    pub(super) root: PathBuf,
    /// Itself first, then everything below it, sorted, parents before children.
    pub(super) items: Vec<Item>,
}

/// A directory entry that is taken.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Where it lies below the source; empty for the source itself.
    pub(super) path: PathBuf,
    /// Why it is here.
    pub(super) role: Role,
    pub(super) entry: SourceEntry,
}

/// Why an entry is part of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is wanted.
    Wanted,
    /// A directory on the way to something wanted.
    Passage,
}

impl Selection {
    /// The digest of everything selected.
    pub fn digest(&self) -> &ContentDigest {
        &self.digest
    }

    /// How many files, directories and links are selected.
    pub fn len(&self) -> usize {
        self.sources.iter().map(|source| source.items.len()).sum()
    }

    /// Whether nothing is selected: every wildcard matched nothing.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Bytes of the regular files selected.
    pub fn bytes(&self) -> u64 {
        let files = self.sources.iter().flat_map(|source| &source.items);
        files
            .filter(|item| item.entry.kind == Kind::File)
            .map(|item| item.entry.size)
            .sum()
    }

    /// A selection of nothing, for an instruction without sources in a tree.
    pub fn nothing() -> Self {
        let digest = KeyHasher::new(DOMAIN).finish_content();
        Self {
            sources: Vec::new(),
            digest,
        }
    }

    /// Digests sources whose regular files have the digests that `contents` gives, in order.
    pub(super) fn new(
        tree: &dyn SourceTree,
        sources: Vec<Source>,
        contents: &[ContentDigest],
    ) -> Result<Self, SelectError> {
        let mut contents = contents.iter();
        let mut hasher = KeyHasher::new(DOMAIN);
        let mut record = Vec::new();
        for source in &sources {
            let is_dir = source.is_dir();
            hasher.field("source", if is_dir { b"/" } else { source.name.as_bytes() });
            let mut names: HashMap<LinkId, u64> = HashMap::new();
            for (number, item) in (0..).zip(&source.items) {
                record.clear();
                // A source directory stands for its contents: nothing of its own is copied.
                if !(is_dir && item.path.as_os_str().is_empty()) {
                    item.describe(tree, &mut record);
                }
                match item.entry.kind {
                    Kind::File => {
                        let link = item.entry.link;
                        let first =
                            link.map_or(number, |link| *names.entry(link).or_insert(number));
                        record.extend_from_slice(&(number - first).to_le_bytes());
                        let content = contents.next().expect("one digest for each file");
                        record.extend_from_slice(content.as_bytes());
                    }
                    Kind::Symlink => {
                        let path = source.place(item);
                        let target = tree
                            .read_link(&path, &item.entry)
                            .map_err(SelectError::read(path.clone()))?;
                        push(&mut record, target.as_os_str().as_bytes());
                        push_xattrs(tree, &path, &item.entry, &mut record)?;
                    }
                    _ => {
                        let path = source.place(item);
                        push_xattrs(tree, &path, &item.entry, &mut record)?;
                    }
                }
                hasher.field("entry", &record);
            }
        }
        Ok(Self {
            digest: hasher.finish_content(),
            sources,
        })
    }
}

const DOMAIN: &str = "cairn selection 1";

impl Source {
    /// Where an item lies in the tree.
    pub(super) fn place(&self, item: &Item) -> PathBuf {
        below(&self.root, &item.path)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.items.first().is_some_and(|item| item.entry.is_dir())
    }
}

/// Joins two paths; an empty second one leaves no slash at the end.
pub(super) fn below(dir: &Path, path: &Path) -> PathBuf {
    match path.as_os_str().is_empty() {
        true => dir.to_owned(),
        false => dir.join(path),
    }
}

impl Item {
    fn describe(&self, tree: &dyn SourceTree, record: &mut Vec<u8>) {
        push(record, self.path.as_os_str().as_bytes());
        push(record, self.entry.kind.name().as_bytes());
        record.push(u8::from(self.role == Role::Passage));
        let (uid, gid) = match tree.keeps_owners() {
            true => (self.entry.uid, self.entry.gid),
            false => (0, 0),
        };
        let (major, minor) = self.entry.rdev;
        for number in [self.entry.mode, uid, gid, major, minor] {
            record.extend_from_slice(&number.to_le_bytes());
        }
    }
}

fn push_xattrs(
    tree: &dyn SourceTree,
    path: &Path,
    entry: &SourceEntry,
    record: &mut Vec<u8>,
) -> Result<(), SelectError> {
    for (name, value) in tree.xattrs(entry, None).map_err(SelectError::read(path))? {
        push(record, name.as_bytes());
        push(record, &value);
    }
    Ok(())
}

/// Appends bytes with their length, so that no two sequences give the same bytes.
fn push(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    record.extend_from_slice(bytes);
}
