//! Contexts: the files beside a Dockerfile that a build may copy from.
//!
//! A context is a directory of the host, an archive, or nothing. An ignore file hides part of it;
//! what is hidden is not there for any instruction. Directories that are hidden as a whole are
//! never read. Nothing of a context is hashed or copied unless an instruction selects it.
//!
//! Whatever lies in a context belongs to root: who happens to own the files on this machine is not
//! part of the build. Permission bits stay, setuid and all; of the extended attributes only file
//! capabilities do. A socket is an empty file.
//!
//! The digests of a directory's files are kept by device, inode, size and times
//! ([`FileDigestCache`]), so that an unchanged context costs a walk with `stat` and no reading.

mod directory;
mod ignore_file;
mod layers;
mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cairn_dockerfile::ignore::{Matched, Patterns};
use cairn_sandbox::Cancel;
use cairn_store::{ActiveSnapshot, ContentDigest, FileDigestCache, FileIdentity, Store};

use crate::copy::{ResolveError, clean, resolve};
use directory::Directory;

pub use ignore_file::{IgnoreFile, IgnoreFileError};
pub use layers::LayerTree;
pub(crate) use tree::is_private_xattr;
pub use tree::{HiddenBy, Kind, LinkId, Listing, SourceEntry, SourceTree, Xattrs};

/// Files that are read whole, Dockerfiles for one, are smaller than this.
const READ_MAX: u64 = 64 << 20;

/// The files that a build may copy from.
#[derive(Debug)]
pub struct Context {
    files: Files,
    /// Where they lie on the host.
    root: PathBuf,
    ignore: Option<IgnoreFile>,
    digests: Option<FileDigestCache>,
}

#[derive(Debug)]
enum Files {
    /// No file at all.
    None,
    Directory(Directory),
    /// An archive, unpacked for this build; goes when it is dropped.
    Unpacked {
        directory: Directory,
        _unpacked: ActiveSnapshot,
    },
}

impl Files {
    fn directory(&self) -> Option<&Directory> {
        match self {
            Files::None => None,
            Files::Directory(directory) | Files::Unpacked { directory, .. } => Some(directory),
        }
    }
}

/// Reads a file of a directory as a build would find it there: links are followed as if the
/// directory were the root, and what lies outside is not there. `None` if there is no such file.
pub fn read_inside(directory: &Path, name: &Path) -> io::Result<Option<Vec<u8>>> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let root = std::path::absolute(directory)?;
    let bare = Context {
        files: Files::Directory(Directory::open(&root)?),
        root,
        ignore: None,
        digests: None,
    };
    bare.read_at(name)
}

impl Context {
    /// A directory beside a Dockerfile, whose ignore file may be `<Dockerfile>.dockerignore`.
    pub fn directory(path: &Path, dockerfile: &Path) -> Result<Self, ContextError> {
        Self::open(path, Some(dockerfile))
    }

    /// A directory with a name: only its own `.dockerignore` counts.
    pub fn named_directory(path: &Path) -> Result<Self, ContextError> {
        Self::open(path, None)
    }

    fn open(path: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let root = std::path::absolute(path);
        let opened = root.and_then(|root| Ok((Directory::open(&root)?, root)));
        let (directory, root) = opened.map_err(|source| ContextError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            files: Files::Directory(directory),
            root,
            ignore: IgnoreFile::find(path, dockerfile)?,
            digests: None,
        })
    }

    /// Keeps digests of the directory's files in a store from build to build.
    #[must_use]
    pub fn keeping_digests(mut self, store: &Store) -> Self {
        if let Files::Directory(_) = self.files {
            self.digests = Some(store.file_digests(&self.root));
        }
        self
    }

    /// The files of a tar archive, plain or compressed. No ignore file applies, as in BuildKit.
    pub fn archive(
        reader: impl io::Read + Send + 'static,
        name: &str,
        store: &Store,
        cancel: &Cancel,
    ) -> Result<Self, ContextError> {
        let active = store.begin_snapshot()?;
        crate::copy::unpack_context(reader, name, store, &active, cancel).map_err(|source| {
            ContextError::Archive {
                name: name.to_owned(),
                source: Box::new(source),
            }
        })?;
        Self::of_snapshot(active)
    }

    /// The files that `fetch` puts into an empty directory: a repository's, or a download.
    pub fn checked_out<E: From<ContextError>>(
        store: &Store,
        fetch: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Self, E> {
        let active = store.begin_snapshot().map_err(ContextError::from)?;
        fetch(active.upper())?;
        Ok(Self::of_snapshot(active)?)
    }

    fn of_snapshot(active: ActiveSnapshot) -> Result<Self, ContextError> {
        let root = active.upper().to_owned();
        let directory = Directory::open(&root).map_err(|source| ContextError::Open {
            path: root.clone(),
            source,
        })?;
        let files = Files::Unpacked {
            directory,
            _unpacked: active,
        };
        Ok(Self {
            files,
            root,
            ignore: None,
            digests: None,
        })
    }

    /// Reads a file of the context, links followed inside it; `None` if there is no such file.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.read_at(&clean(path))
    }

    fn read_at(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let found = resolve(self, path).map_err(|error| match error {
            ResolveError::Loop => io::Error::other("too many levels of symbolic links"),
            ResolveError::Io(_, error) => error,
        })?;
        let Some((path, entry)) = found.filter(|(_, entry)| entry.kind == Kind::File) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let file = self.open(&path, &entry)?;
        file.take(READ_MAX + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > READ_MAX {
            true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
            false => Ok(Some(bytes)),
        }
    }

    /// What lies in one directory of an unpacked context, links followed inside it.
    pub fn below(self, subdir: &str) -> Result<Self, ContextError> {
        let missing = |source| ContextError::Open {
            path: PathBuf::from(subdir),
            source,
        };
        let found = resolve(&self, &clean(subdir)).ok().flatten();
        let (path, _) = found
            .filter(|(_, entry)| entry.is_dir())
            .ok_or_else(|| missing(io::ErrorKind::NotFound.into()))?;
        let root = self.root.join(path);
        let directory = Directory::open(&root).map_err(missing)?;
        let files = match self.files {
            Files::Unpacked { _unpacked, .. } => Files::Unpacked {
                directory,
                _unpacked,
            },
            Files::Directory(_) | Files::None => Files::Directory(directory),
        };
        Ok(Self {
            files,
            root,
            ignore: self.ignore,
            digests: None,
        })
    }

    /// Has another ignore file count in place of its own.
    pub fn ignoring(mut self, ignore_file: &Path) -> Result<Self, ContextError> {
        self.ignore = Some(IgnoreFile::at(ignore_file)?);
        Ok(self)
    }

    /// No files.
    pub fn empty() -> Self {
        Self {
            files: Files::None,
            root: PathBuf::new(),
            ignore: None,
            digests: None,
        }
    }

    /// Writes down the digests that were learned.
    pub fn save_digests(&self) -> Result<(), cairn_store::StoreError> {
        self.digests.as_ref().map_or(Ok(()), FileDigestCache::save)
    }

    /// Folders are read again when somebody asks for them: people may have changed files meanwhile.
    pub(crate) fn forget_listings(&self) {
        if let Some(directory) = self.files.directory() {
            directory.forget_listings();
        }
    }

    /// What of the files is hidden.
    pub(crate) fn patterns(&self) -> Option<&Patterns> {
        self.ignore.as_ref().map(|ignore| &ignore.patterns)
    }

    /// Whether a path that is there may be seen: it is not hidden, or leads to what is not.
    fn shows(&self, directory: &Directory, path: &Path, entry: &SourceEntry) -> io::Result<bool> {
        let Some(patterns) = self.patterns() else {
            return Ok(true);
        };
        let text = path.to_string_lossy();
        if text.is_empty() || !patterns.matches(&text) {
            return Ok(true);
        }
        if !entry.is_dir() || patterns.can_skip(&text) {
            return Ok(false);
        }
        holds_shown(directory, patterns, path)
    }
}

/// Whether something below a hidden directory is taken back.
fn holds_shown(directory: &Directory, patterns: &Patterns, path: &Path) -> io::Result<bool> {
    for (name, entry) in directory.read_dir(path)?.iter() {
        let below = path.join(name);
        let text = below.to_string_lossy();
        if !patterns.matches(&text) {
            return Ok(true);
        }
        let may_hold = entry.is_dir() && !patterns.can_skip(&text);
        if may_hold && holds_shown(directory, patterns, &below)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl SourceTree for Context {
    fn lookup(&self, path: &Path) -> io::Result<Option<SourceEntry>> {
        let Some(directory) = self.files.directory() else {
            return Ok(path.as_os_str().is_empty().then(tree::empty_root));
        };
        let Some(entry) = directory.lookup(path)? else {
            return Ok(None);
        };
        Ok(self.shows(directory, path, &entry)?.then_some(entry))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        let Some(directory) = self.files.directory() else {
            return Ok(Listing::default());
        };
        let listing = directory.read_dir(path)?;
        let Some(patterns) = self.patterns().filter(|patterns| !patterns.is_empty()) else {
            return Ok(listing);
        };
        let mut matched = Matched::default();
        for above in ancestors(path) {
            (_, matched) = patterns.below(&above.to_string_lossy(), &matched);
        }
        let mut shown = Vec::with_capacity(listing.len());
        for (name, entry) in listing.iter() {
            let below = path.join(name);
            let text = below.to_string_lossy();
            let (is_hidden, _) = patterns.below(&text, &matched);
            let may_hold = is_hidden && entry.is_dir() && !patterns.can_skip(&text);
            if !is_hidden || (may_hold && holds_shown(directory, patterns, &below)?) {
                shown.push((name.clone(), entry.clone()));
            }
        }
        Ok(Arc::new(shown))
    }

    fn open(&self, path: &Path, _entry: &SourceEntry) -> io::Result<File> {
        self.files
            .directory()
            .ok_or(io::ErrorKind::NotFound)?
            .open_file(path)
    }

    fn read_link(&self, path: &Path, _entry: &SourceEntry) -> io::Result<PathBuf> {
        self.files
            .directory()
            .ok_or(io::ErrorKind::NotFound)?
            .read_link(path)
    }

    fn xattrs(&self, _entry: &SourceEntry, file: Option<&File>) -> io::Result<Xattrs> {
        file.map_or(Ok(Vec::new()), directory::capability)
    }

    fn known_digest(&self, _path: &Path, entry: &SourceEntry) -> Option<ContentDigest> {
        self.digests.as_ref()?.lookup(&identity(entry))
    }

    fn learn_digest(
        &self,
        _path: &Path,
        entry: &SourceEntry,
        digest: ContentDigest,
        read_began: SystemTime,
    ) {
        if let Some(digests) = &self.digests {
            digests.insert(identity(entry), digest, read_began);
        }
    }

    fn read_ahead(&self, path: &Path, workers: usize) {
        let Some(directory) = self.files.directory() else {
            return;
        };
        directory.read_ahead(path, workers, &|path| {
            let text = path.to_string_lossy();
            !self
                .patterns()
                .is_some_and(|patterns| patterns.matches(&text) && patterns.can_skip(&text))
        });
    }

    fn keeps_owners(&self) -> bool {
        false
    }

    fn is_unchanged(&self, entry: &SourceEntry, file: &File) -> io::Result<bool> {
        directory::is_unchanged(entry, file)
    }

    fn hidden_by(&self, path: &Path) -> Option<HiddenBy> {
        let ignore = self.ignore.as_ref()?;
        let directory = self.files.directory()?;
        let is_there = directory.lookup(path).ok()?.is_some();
        let pattern = ignore.patterns.deciding(&path.to_string_lossy())?;
        (is_there && !pattern.is_exception()).then(|| HiddenBy {
            file: ignore.name.clone(),
            line: pattern.line().unwrap_or(0),
            pattern: pattern.text().to_owned(),
        })
    }
}

/// Every part of a path from the top: `a`, `a/b`, `a/b/c`.
fn ancestors(path: &Path) -> Vec<&Path> {
    let mut ancestors: Vec<&Path> = path
        .ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .collect();
    ancestors.reverse();
    ancestors
}

fn identity(entry: &SourceEntry) -> FileIdentity {
    FileIdentity {
        dev: entry.inode.0,
        ino: entry.inode.1,
        size: entry.size,
        mtime_ns: nanoseconds(entry.mtime),
        ctime_ns: nanoseconds(entry.ctime),
    }
}

/// A time as one number; times no file has are at the end of what the number can hold.
fn nanoseconds((seconds, nanoseconds): (i64, u32)) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(nanoseconds))
}

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// No directory, or not to be read.
    #[error("cannot open the context {}", path.display())]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its ignore file cannot be used.
    #[error("cannot use the context's ignore file")]
    Ignore(#[from] IgnoreFileError),
    /// Not an archive, or a broken one.
    #[error("cannot unpack the context {name}")]
    Archive {
        /// The archive.
        name: String,
        /// Why.
        source: Box<crate::copy::CopyError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] cairn_store::StoreError),
}
