//! Cache mounts: directories that outlive the steps which use them.
//!
//! ```text
//! mounts/<hex>/lock          held for a moment, while a directory is chosen or filled
//! mounts/<hex>/about         what the cache is called and how it starts
//! mounts/<hex>/<n>/claim     shared by runs that use the files; exclusive to clear them
//! mounts/<hex>/<n>/use       shared or exclusive, as the steps ask that have it mounted
//! mounts/<hex>/<n>/fs        the files
//! ```
//!
//! A cache is known by its [`CacheMountStart`]: two that begin differently are different caches. It
//! lies in one directory, and in more where one is not enough: when a step that shares meets one
//! that does not, when steps want a directory of their own, and when a run wants to start afresh
//! while another still works with what is there. No file is ever taken from under a step: clearing
//! needs the exclusive claim, and a run keeps its claims until it ends, so that its later steps
//! find what its earlier ones left.
//!
//! Claims change hands only under the cache's `lock`, so a shared claim never waits. The kernel
//! lets go of all locks however a process ends.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::collect::inventory::{bytes_below, list};
use crate::error::{At, StoreError};
use crate::home::read_if_there;
use crate::remove::remove_tree;
use crate::store::Store;
use crate::{ContentDigest, KeyHasher, record_file};

/// The part of the home that holds cache mounts.
pub(crate) const MOUNTS: &str = "mounts";
const RECORD: &str = "cache-mount/1";
const LOCK: &str = "lock";
pub(crate) const ABOUT: &str = "about";
const CLAIM: &str = "claim";
const USE: &str = "use";
const FILES: &str = "fs";
const UNFILLED: &str = "fs.new";
/// How often a step that waits for another looks whether it may go on.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// What a cache is called and how it starts: everything that makes two caches the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheMountStart {
    /// Its id.
    pub name: String,
    /// Mode of its root.
    pub mode: u32,
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
    /// The files it starts with, if it starts with any.
    pub content: Option<ContentDigest>,
}

/// Who may have a cache mounted at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMountSharing {
    /// All who share it.
    Shared,
    /// One; others get another directory.
    Private,
    /// One; others wait.
    Locked,
}

/// A cache that a step may mount. Dropping it lets others in.
#[derive(Debug)]
pub struct CacheMount {
    directory: PathBuf,
    _use: File,
    /// Held until the directory is filled: nobody else can choose an unfilled one.
    choosing: Option<File>,
}

/// What is known of a cache without using it.
#[derive(Debug, Clone, Serialize)]
pub struct CacheMountUse {
    /// What it is called and how it starts.
    #[serde(flatten)]
    pub start: CacheMountStart,
    /// The name of its directory.
    pub key: String,
    /// What it takes on the disk.
    pub bytes: u64,
    /// When a step last took it, in seconds since 1970.
    pub last_use: u64,
    /// In how many directories it lies.
    pub directories: usize,
}

/// The claims of one run. Dropping them lets others clear.
#[derive(Debug, Default)]
pub struct CacheMountClaims {
    held: Mutex<BTreeMap<PathBuf, File>>,
}

impl CacheMountStart {
    /// The name of its directory.
    pub fn key(&self) -> String {
        let mut hasher = KeyHasher::new("cairn cache mount");
        hasher.field("name", self.name.as_bytes());
        hasher.number("mode", u64::from(self.mode));
        hasher.number("uid", u64::from(self.uid));
        hasher.number("gid", u64::from(self.gid));
        let content = self.content.as_ref().map(ContentDigest::as_bytes);
        hasher.list("content", content.iter());
        hasher.finish_key().hex()
    }
}

impl CacheMount {
    /// Where the files are, once it is filled.
    pub fn files(&self) -> PathBuf {
        self.directory.join(FILES)
    }

    /// Whether it must be filled before it is used.
    pub fn is_new(&self) -> bool {
        self.choosing.is_some()
    }

    /// Makes the files: `make` gets an empty directory, which then appears at once and whole.
    pub fn fill<E: From<StoreError>>(
        &mut self,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let unfilled = self.directory.join(UNFILLED);
        // What a killed process left half filled.
        remove_tree(&unfilled).at("remove", &unfilled)?;
        fs::create_dir(&unfilled).at("create", &unfilled)?;
        make(&unfilled)?;
        let files = self.files();
        fs::rename(&unfilled, &files).at("write", &files)?;
        self.choosing = None;
        Ok(())
    }
}

impl Store {
    /// Takes a cache for a step of a run; waits for [`CacheMountSharing::Locked`], or gives
    /// `None` when `keep_waiting` says no.
    ///
    /// `afresh`: what other runs left is not for this one. What this run left is.
    pub fn take_cache_mount(
        &self,
        start: &CacheMountStart,
        sharing: CacheMountSharing,
        afresh: bool,
        claims: &CacheMountClaims,
        keep_waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<CacheMount>, StoreError> {
        let cache = self.layout().part(MOUNTS).join(start.key());
        fs::create_dir_all(&cache).at("create", &cache)?;
        let choosing = open_lock(&cache.join(LOCK))?;
        choosing.lock().at("lock", &cache)?;
        self.describe(&cache, start)?;

        let directories = directories(&cache)?;
        let mine = directories.iter().filter(|path| claims.has(path));
        let others = directories
            .iter()
            .filter(|path| !afresh && !claims.has(path));
        let usable: Vec<&PathBuf> = mine.chain(others).collect();
        for directory in &usable {
            if let Some(using) = try_use(directory, sharing)? {
                claims.add(directory)?;
                return Ok(Some(opened(directory, using, choosing)));
            }
        }
        if sharing == CacheMountSharing::Locked
            && let Some(directory) = usable.first()
        {
            claims.add(directory)?;
            drop(choosing);
            let Some(using) = wait_for(directory, keep_waiting)? else {
                return Ok(None);
            };
            // Should it be unfilled, its exclusive use keeps others away as the lock would.
            return Ok(Some(opened(
                directory,
                using,
                open_lock(&cache.join(LOCK))?,
            )));
        }
        let directory = match afresh {
            true => cleared(&directories)?,
            false => None,
        };
        let directory = match directory {
            Some(directory) => directory,
            None => next_directory(&cache, &directories)?,
        };
        claims.add(&directory)?;
        // Nobody else can have it: whoever uses a directory claims it.
        let using = try_use(&directory, sharing)?.ok_or_else(|| StoreError::Busy {
            home: directory.clone(),
        })?;
        Ok(Some(opened(&directory, using, choosing)))
    }

    /// Lists the caches, by name.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMountUse>, StoreError> {
        let mut caches = Vec::new();
        for cache in list(&self.layout().part(MOUNTS))? {
            let Some(start) = read_about(&cache.join(ABOUT))? else {
                continue;
            };
            let directories = directories(&cache)?;
            if directories.is_empty() {
                continue;
            }
            let last_use = directories.iter().map(|path| last_use(path)).max();
            let since = last_use.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            caches.push(CacheMountUse {
                key: start.key(),
                start,
                bytes: directories.iter().map(|path| bytes_below(path)).sum(),
                last_use: since.map_or(0, |since| since.as_secs()),
                directories: directories.len(),
            });
        }
        caches.sort_by(|one, other| one.start.name.cmp(&other.start.name));
        Ok(caches)
    }

    fn describe(&self, cache: &Path, start: &CacheMountStart) -> Result<(), StoreError> {
        let about = cache.join(ABOUT);
        if read_about(&about)?.as_ref() == Some(start) {
            return Ok(());
        }
        self.session()?
            .write(&about, &record_file::print(RECORD, start))
    }
}

/// Reads what a cache's directory says of itself.
pub(crate) fn read_about(about: &Path) -> Result<Option<CacheMountStart>, StoreError> {
    Ok(read_if_there(about)?.and_then(|bytes| record_file::parse(RECORD, &bytes)))
}

impl CacheMountClaims {
    fn has(&self, directory: &Path) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.contains_key(directory)
    }

    /// Claims a directory; the cache's lock is held, so nobody has the exclusive claim.
    fn add(&self, directory: &Path) -> Result<(), StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.contains_key(directory) {
            let claim = open_lock(&directory.join(CLAIM))?;
            claim.lock_shared().at("lock", directory)?;
            held.insert(directory.to_owned(), claim);
        }
        Ok(())
    }
}

fn opened(directory: &Path, using: File, choosing: File) -> CacheMount {
    // When a cache was last used decides what goes first when room is needed.
    let _ = using.set_modified(SystemTime::now());
    CacheMount {
        choosing: (!directory.join(FILES).exists()).then_some(choosing),
        directory: directory.to_owned(),
        _use: using,
    }
}

/// When a step last took a cache's directory.
pub(crate) fn last_use(directory: &Path) -> SystemTime {
    fs::metadata(directory.join(USE))
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The directories of a cache, oldest first.
pub(crate) fn directories(cache: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(cache).at("read", cache)? {
        let name = entry.at("read", cache)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    let path = |number: u32| cache.join(number.to_string());
    Ok(numbers.into_iter().map(path).collect())
}

fn next_directory(cache: &Path, there: &[PathBuf]) -> Result<PathBuf, StoreError> {
    let free = (0u32..)
        .map(|number| cache.join(number.to_string()))
        .find(|path| !there.contains(path))
        .expect("fewer than 2^32 directories");
    fs::create_dir(&free).at("create", &free)?;
    Ok(free)
}

/// Empties the first directory that nobody claims.
fn cleared(directories: &[PathBuf]) -> Result<Option<PathBuf>, StoreError> {
    for directory in directories {
        let claim = open_lock(&directory.join(CLAIM))?;
        if try_exclusive(&claim, directory)? {
            set_aside(directory)?;
            return Ok(Some(directory.clone()));
        }
    }
    Ok(None)
}

/// Takes the files away at once, to be removed when the directory is filled: whoever is killed
/// meanwhile leaves an unfilled directory, not one with half of its files.
fn set_aside(directory: &Path) -> Result<(), StoreError> {
    let (files, unfilled) = (directory.join(FILES), directory.join(UNFILLED));
    remove_tree(&unfilled).at("remove", &unfilled)?;
    match fs::rename(&files, &unfilled) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed.at("remove", &files),
    }
}

fn try_use(directory: &Path, sharing: CacheMountSharing) -> Result<Option<File>, StoreError> {
    let file = open_lock(&directory.join(USE))?;
    let is_free = match sharing {
        CacheMountSharing::Shared => match file.try_lock_shared() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(error).at("lock", directory),
        },
        CacheMountSharing::Private | CacheMountSharing::Locked => try_exclusive(&file, directory)?,
    };
    Ok(is_free.then_some(file))
}

fn wait_for(
    directory: &Path,
    keep_waiting: &mut dyn FnMut() -> bool,
) -> Result<Option<File>, StoreError> {
    while keep_waiting() {
        if let Some(using) = try_use(directory, CacheMountSharing::Locked)? {
            return Ok(Some(using));
        }
        std::thread::sleep(WAIT_STEP);
    }
    Ok(None)
}

fn try_exclusive(file: &File, directory: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).at("lock", directory),
    }
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .at("open", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fixture;

    use CacheMountSharing::{Locked, Private, Shared};

    fn start() -> CacheMountStart {
        CacheMountStart {
            name: "/cache".into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            content: None,
        }
    }

    fn take(
        store: &Store,
        sharing: CacheMountSharing,
        afresh: bool,
        claims: &CacheMountClaims,
    ) -> CacheMount {
        let mut cache = store
            .take_cache_mount(&start(), sharing, afresh, claims, &mut || true)
            .unwrap()
            .unwrap();
        if cache.is_new() {
            cache.fill::<StoreError>(|_| Ok(())).unwrap();
        }
        cache
    }

    #[test]
    fn sharers_meet_and_private_ones_do_not() {
        let (_home, store) = fixture();
        let claims = CacheMountClaims::default();
        let one = take(&store, Shared, false, &claims);
        let two = take(&store, Shared, false, &CacheMountClaims::default());
        assert_eq!(one.files(), two.files());
        let alone = take(&store, Private, false, &claims);
        assert_ne!(alone.files(), one.files());
        let other = take(&store, Private, false, &claims);
        assert_ne!(other.files(), alone.files());
        let third = take(&store, Shared, false, &claims);
        assert_eq!(third.files(), one.files(), "not where one is alone");
        let known = alone.files();
        drop((alone, other));
        assert_eq!(take(&store, Private, false, &claims).files(), known);
    }

    #[test]
    fn the_locked_wait_for_each_other_until_told_to_stop() {
        let (_home, store) = fixture();
        let claims = CacheMountClaims::default();
        let first = take(&store, Locked, false, &claims);
        let mut asked = 0;
        let mut patience = || {
            asked += 1;
            asked < 3
        };
        let second = store
            .take_cache_mount(&start(), Locked, false, &claims, &mut patience)
            .unwrap();
        assert!(second.is_none());
        let files = first.files();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| take(&store, Locked, false, &claims).files());
            drop(first);
            assert_eq!(waiting.join().unwrap(), files);
        });
    }

    #[test]
    fn a_fresh_start_takes_nothing_from_another_run() {
        let (_home, store) = fixture();
        let (one, two) = (CacheMountClaims::default(), CacheMountClaims::default());
        let first = take(&store, Shared, true, &one);
        fs::write(first.files().join("left"), "by the first").unwrap();
        let files = first.files();
        drop(first);
        // The first run is between two steps.
        let second = take(&store, Shared, true, &two);
        assert_ne!(second.files(), files);
        assert!(
            take(&store, Shared, true, &one)
                .files()
                .join("left")
                .exists()
        );
        drop((one, second));
        // The first run is over: its directory is emptied and used again.
        let third = take(&store, Shared, true, &CacheMountClaims::default());
        assert_eq!(third.files(), files);
        assert!(!third.files().join("left").exists());
    }

    #[test]
    fn what_was_left_half_filled_is_filled_again() {
        let (_home, store) = fixture();
        let claims = CacheMountClaims::default();
        let mut cache = store
            .take_cache_mount(&start(), Shared, false, &claims, &mut || true)
            .unwrap()
            .unwrap();
        let failed = cache.fill(|path| {
            fs::write(path.join("half"), "").unwrap();
            Err(StoreError::Busy {
                home: path.to_owned(),
            })
        });
        assert!(failed.is_err() && cache.is_new());
        drop(cache);
        let again = take(&store, Shared, false, &claims);
        assert_eq!(fs::read_dir(again.files()).unwrap().count(), 0);
    }

    #[test]
    fn who_clears_leaves_nothing_half_cleared() {
        let (_home, store) = fixture();
        let first = take(&store, Shared, false, &CacheMountClaims::default());
        fs::write(first.files().join("left"), "").unwrap();
        drop(first);
        let claims = CacheMountClaims::default();
        let cleared = store.take_cache_mount(&start(), Shared, true, &claims, &mut || true);
        let cleared = cleared.unwrap().unwrap();
        assert!(cleared.is_new(), "killed here, it is filled by the next");
        drop((cleared, claims));
        let next = take(&store, Shared, false, &CacheMountClaims::default());
        assert_eq!(fs::read_dir(next.files()).unwrap().count(), 0);
    }

    #[test]
    fn caches_that_start_differently_are_different() {
        let mut other = start();
        other.mode = 0o700;
        assert_ne!(start().key(), other.key());
        assert_eq!(start().key(), start().key());
    }
}
