//! The content digest of a tree of files.
//!
//! What enters, entry by entry in walking order (parents first, siblings sorted by bytes), every
//! number little endian, every string with its length (u32) before it:
//!
//! | field | for |
//! | --- | --- |
//! | path relative to the tree's root | all |
//! | kind: one letter | all |
//! | mode bits (u32), 0 for symbolic links | all but whiteouts |
//! | uid, gid (u32 each), or nothing where owners do not count | all but whiteouts |
//! | size (u64) and BLAKE3 of the bytes | files |
//! | which entry it is another name of (u64) | further names of a hard-linked file, instead |
//! | target | symbolic links |
//! | major, minor (u32 each) | devices |
//! | opaque: one byte | directories |
//! | attributes: count (u32), then name and value each | files and directories |
//!
//! Times stay out: two runs of one step differ in them and in nothing else. Sockets stay out:
//! they mean nothing without the process that made them, and no layer can hold them.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::ContentDigest;
use crate::error::{At, StoreError};
use crate::layer_dir::{EntryKind, open_plain, read_xattrs};
use crate::parallel;

/// Entries are hashed in batches, so that memory stays bounded whatever the tree's size.
const BATCH: usize = 2048;

/// One entry on its way into a digest.
#[derive(Debug)]
pub(crate) struct TreeItem {
    pub(crate) path: PathBuf,
    pub(crate) host: PathBuf,
    pub(crate) kind: ItemKind,
    pub(crate) mode: u32,
    /// `None` where owners do not count.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) size: u64,
    pub(crate) rdev: (u32, u32),
    /// What tells that two names are one file, where that can be.
    pub(crate) hardlink: Option<(usize, u64, u64)>,
}

/// What an entry is, as far as the digest cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Plain(EntryKind),
    OpaqueDirectory,
    Whiteout,
}

/// What must be read from the disk for an entry.
#[derive(Debug, Default)]
struct Facts {
    content: Option<ContentDigest>,
    target: Vec<u8>,
    attributes: Vec<(OsString, Vec<u8>)>,
}

/// Takes entries in walking order and gives the digest of all.
#[derive(Debug)]
pub(crate) struct TreeHasher {
    hasher: blake3::Hasher,
    pending: Vec<(TreeItem, Option<u64>)>,
    entries: u64,
    first_names: HashMap<(usize, u64, u64), u64>,
}

impl TreeHasher {
    pub(crate) fn new() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"cairn tree 1\n");
        Self {
            hasher,
            pending: Vec::new(),
            entries: 0,
            first_names: HashMap::new(),
        }
    }

    pub(crate) fn add(&mut self, item: TreeItem) -> Result<(), StoreError> {
        if item.kind == ItemKind::Plain(EntryKind::Socket) {
            return Ok(());
        }
        let mut same_as = None;
        if let Some(link) = item.hardlink {
            match self.first_names.entry(link) {
                MapEntry::Occupied(first) => same_as = Some(*first.get()),
                MapEntry::Vacant(first) => {
                    first.insert(self.entries);
                }
            }
        }
        self.entries += 1;
        self.pending.push((item, same_as));
        if self.pending.len() >= BATCH {
            self.hash_pending()?;
        }
        Ok(())
    }

    /// How many entries were taken.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn finish(mut self) -> Result<ContentDigest, StoreError> {
        self.hash_pending()?;
        Ok(ContentDigest::from_bytes(
            *self.hasher.finalize().as_bytes(),
        ))
    }

    fn hash_pending(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        let facts = parallel::map(&pending, |(item, same_as)| {
            read_facts(item, same_as.is_some())
        })?;
        for ((item, same_as), facts) in pending.iter().zip(&facts) {
            self.absorb(item, *same_as, facts);
        }
        Ok(())
    }

    fn absorb(&mut self, item: &TreeItem, same_as: Option<u64>, facts: &Facts) {
        self.string(item.path.as_os_str().as_bytes());
        self.hasher.update(&[letter(item.kind, same_as.is_some())]);
        if let Some(first) = same_as {
            self.hasher.update(&first.to_le_bytes());
            return;
        }
        let ItemKind::Plain(kind) = item.kind.without_opaque() else {
            return;
        };
        let mode = if kind == EntryKind::Symlink {
            0
        } else {
            item.mode
        };
        self.number(mode);
        if let Some((uid, gid)) = item.owner {
            self.number(uid);
            self.number(gid);
        }
        match kind {
            EntryKind::File => {
                self.hasher.update(&item.size.to_le_bytes());
                if let Some(content) = &facts.content {
                    self.hasher.update(content.as_bytes());
                }
            }
            EntryKind::Directory => {
                let is_opaque = item.kind == ItemKind::OpaqueDirectory;
                self.hasher.update(&[u8::from(is_opaque)]);
            }
            EntryKind::Symlink => self.string(&facts.target),
            EntryKind::CharDevice | EntryKind::BlockDevice => {
                self.number(item.rdev.0);
                self.number(item.rdev.1);
            }
            EntryKind::Fifo | EntryKind::Socket => {}
        }
        if matches!(kind, EntryKind::File | EntryKind::Directory) {
            self.number(facts.attributes.len() as u32);
            for (name, value) in &facts.attributes {
                self.string(name.as_bytes());
                self.string(value);
            }
        }
    }

    fn number(&mut self, number: u32) {
        self.hasher.update(&number.to_le_bytes());
    }

    fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        self.hasher.update(bytes);
    }
}

impl ItemKind {
    fn without_opaque(self) -> Self {
        match self {
            Self::OpaqueDirectory => Self::Plain(EntryKind::Directory),
            other => other,
        }
    }
}

fn letter(kind: ItemKind, is_further_name: bool) -> u8 {
    match kind {
        _ if is_further_name => b'h',
        ItemKind::Whiteout => b'w',
        ItemKind::OpaqueDirectory => b'd',
        ItemKind::Plain(kind) => match kind {
            EntryKind::File => b'f',
            EntryKind::Directory => b'd',
            EntryKind::Symlink => b'l',
            EntryKind::CharDevice => b'c',
            EntryKind::BlockDevice => b'b',
            EntryKind::Fifo => b'p',
            EntryKind::Socket => b's',
        },
    }
}

fn read_facts(item: &TreeItem, is_further_name: bool) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    if is_further_name {
        return Ok(facts);
    }
    match item.kind.without_opaque() {
        ItemKind::Plain(EntryKind::File) => {
            facts.content = Some(hash_file(&item.host)?);
            facts.attributes = read_xattrs(&item.host)?;
        }
        ItemKind::Plain(EntryKind::Directory) => facts.attributes = read_xattrs(&item.host)?,
        ItemKind::Plain(EntryKind::Symlink) => {
            let target = rustix::fs::readlink(&item.host, Vec::new()).at("read", &item.host)?;
            facts.target = target.into_bytes();
        }
        _ => {}
    }
    Ok(facts)
}

fn hash_file(host: &Path) -> Result<ContentDigest, StoreError> {
    let mut file = open_plain(host)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = [0; 32 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).at("read", host),
        };
    }
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}
