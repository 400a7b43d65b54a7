//! Content digests of a context's files, remembered by what `stat` says of them.
//!
//! A file whose device, inode, size and both times are as they were has the bytes it had, with one
//! exception: a write in the same tick of the file system's clock as the last one does not show.
//! So a digest is remembered only if both times were older, when the file was read, than any clock
//! in use is coarse ([`MARGIN`]). A file younger than that is read again the next time.
//!
//! Known weakness: a process that keeps a file mapped writable can change it without a new time
//! until the kernel writes the page back.
//!
//! One file per context root: a header, then fixed-size entries sorted by device and inode, found
//! by binary search in the bytes as they were read.
//!
//! ```text
//! "cairn files 1\n\0\0"  count (u64)  first 16 bytes of the BLAKE3 of the entries
//! entries: dev ino size mtime_ns ctime_ns (8 bytes each, little endian)  digest (32 bytes)
//! ```

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ContentDigest;
use crate::error::StoreError;
use crate::home::read_if_there;
use crate::store::Store;

const MAGIC: &[u8; 16] = b"cairn files 1\n\0\0";
const HEADER: usize = 16 + 8 + 16;
const NUMBERS: usize = 5;
const ENTRY: usize = NUMBERS * 8 + 32;

/// Coarser than the clock of any file system in use (FAT: two seconds), with room for the jitter
/// between the kernel's coarse and fine clocks.
const MARGIN: Duration = Duration::from_millis(2_200);

/// So many entries that were not asked for may stay; they may belong to another target.
const UNUSED_MAX: usize = 65_536;

/// What `stat` says of a file. Take it before the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIdentity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the bytes, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of anything, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl FileIdentity {
    /// Takes it from the standard library's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn place(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Whether a later write would show in the times.
    fn is_settled(&self, read_began: SystemTime) -> bool {
        let youngest = u64::try_from(self.mtime_ns.max(self.ctime_ns)).unwrap_or(0);
        let youngest = UNIX_EPOCH + Duration::from_nanos(youngest);
        read_began
            .duration_since(youngest)
            .is_ok_and(|age| age > MARGIN)
    }
}

/// The remembered digests of one context root. Safe to share between threads.
#[derive(Debug)]
pub struct FileDigestCache {
    store: Store,
    path: PathBuf,
    /// The whole file; its entries are sorted.
    bytes: Vec<u8>,
    used: Vec<AtomicBool>,
    added: Mutex<BTreeMap<(u64, u64), (FileIdentity, ContentDigest)>>,
}

impl Store {
    /// What is remembered of the files below a context root. Nothing, if its file is damaged.
    pub fn file_digests(&self, root: &Path) -> FileDigestCache {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.into());
        let name = blake3::hash(root.as_os_str().as_bytes()).to_hex();
        let path = self.layout().part("files").join(&name.as_str()[..32]);
        let bytes = read_if_there(&path).ok().flatten();
        let bytes = bytes.filter(|bytes| is_whole(bytes)).unwrap_or_default();
        let count = bytes.len().saturating_sub(HEADER) / ENTRY;
        let used = (0..count).map(|_| AtomicBool::new(false)).collect();
        FileDigestCache {
            store: self.clone(),
            path,
            bytes,
            used,
            added: Mutex::default(),
        }
    }
}

impl FileDigestCache {
    /// The digest of a file that is as it was.
    pub fn lookup(&self, identity: &FileIdentity) -> Option<ContentDigest> {
        if let Some(position) = self.position(identity.place()) {
            let (known, digest) = read_entry(self.entry(position));
            if known == *identity {
                self.used[position].store(true, Ordering::Relaxed);
                return Some(digest);
            }
        }
        let added = self.added.lock().expect("no panics while held");
        let (known, digest) = added.get(&identity.place())?;
        (known == identity).then_some(*digest)
    }

    /// Remembers a digest, unless the file is too young for its times to be trusted.
    ///
    /// `read_began` is when reading began, `identity` from before that.
    pub fn insert(&self, identity: FileIdentity, digest: ContentDigest, read_began: SystemTime) {
        if identity.is_settled(read_began) {
            let mut added = self.added.lock().expect("no panics while held");
            added.insert(identity.place(), (identity, digest));
        }
    }

    /// Writes what was added; nothing to add, nothing written.
    pub fn save(&self) -> Result<(), StoreError> {
        let added = self.added.lock().expect("no panics while held");
        if added.is_empty() {
            return Ok(());
        }
        let entries = self.merged(&added);
        let mut bytes = Vec::with_capacity(HEADER + entries.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&((entries.len() / ENTRY) as u64).to_le_bytes());
        bytes.extend_from_slice(&checksum(&entries));
        bytes.extend_from_slice(&entries);
        self.store.session()?.write(&self.path, &bytes)
    }

    fn merged(&self, added: &BTreeMap<(u64, u64), (FileIdentity, ContentDigest)>) -> Vec<u8> {
        let unused = self
            .used
            .iter()
            .filter(|used| !used.load(Ordering::Relaxed))
            .count();
        let keeps_unused = unused <= UNUSED_MAX;
        let mut merged = Vec::with_capacity(self.bytes.len() + added.len() * ENTRY);
        let mut new = added.values().peekable();
        for (position, used) in self.used.iter().enumerate() {
            let old = self.entry(position);
            let place = read_entry(old).0.place();
            while let Some((identity, digest)) = new.next_if(|(new, _)| new.place() < place) {
                write_entry(&mut merged, identity, digest);
            }
            if let Some((identity, digest)) = new.next_if(|(new, _)| new.place() == place) {
                write_entry(&mut merged, identity, digest);
            } else if keeps_unused || used.load(Ordering::Relaxed) {
                merged.extend_from_slice(old);
            }
        }
        for (identity, digest) in new {
            write_entry(&mut merged, identity, digest);
        }
        merged
    }

    fn position(&self, place: (u64, u64)) -> Option<usize> {
        let (mut low, mut high) = (0, self.used.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle);
            match (number(entry, 0), number(entry, 1)).cmp(&place) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn entry(&self, position: usize) -> &[u8] {
        let start = HEADER + position * ENTRY;
        &self.bytes[start..start + ENTRY]
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(entries) = bytes.get(HEADER..) else {
        return false;
    };
    let count = usize::try_from(number(&bytes[16..24], 0)).ok();
    &bytes[..16] == MAGIC
        && count.and_then(|count| count.checked_mul(ENTRY)) == Some(entries.len())
        && bytes[24..HEADER] == checksum(entries)
}

fn checksum(entries: &[u8]) -> [u8; 16] {
    let mut checksum = [0; 16];
    checksum.copy_from_slice(&blake3::hash(entries).as_bytes()[..16]);
    checksum
}

fn number(entry: &[u8], index: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&entry[index * 8..index * 8 + 8]);
    u64::from_le_bytes(bytes)
}

fn read_entry(entry: &[u8]) -> (FileIdentity, ContentDigest) {
    let mut digest = [0; 32];
    digest.copy_from_slice(&entry[NUMBERS * 8..ENTRY]);
    let identity = FileIdentity {
        dev: number(entry, 0),
        ino: number(entry, 1),
        size: number(entry, 2),
        mtime_ns: number(entry, 3) as i64,
        ctime_ns: number(entry, 4) as i64,
    };
    (identity, ContentDigest::from_bytes(digest))
}

fn write_entry(bytes: &mut Vec<u8>, identity: &FileIdentity, digest: &ContentDigest) {
    let numbers = [
        identity.dev,
        identity.ino,
        identity.size,
        identity.mtime_ns as u64,
        identity.ctime_ns as u64,
    ];
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(digest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{fixture, open};
    use std::fs;

    fn identity(ino: u64) -> FileIdentity {
        FileIdentity {
            dev: ino % 3,
            ino,
            size: ino * 7,
            mtime_ns: 1_000 + ino as i64,
            ctime_ns: -5,
        }
    }

    fn digest(ino: u64) -> ContentDigest {
        ContentDigest::of(&ino.to_le_bytes())
    }

    fn fill(cache: &FileDigestCache, inodes: impl IntoIterator<Item = u64>) {
        for ino in inodes {
            cache.insert(identity(ino), digest(ino), SystemTime::now());
        }
        cache.save().unwrap();
    }

    #[test]
    fn digests_come_back() {
        let (home, store) = fixture();
        let root = Path::new("/a/context");
        fill(
            &store.file_digests(root),
            (0..1000).filter(|ino| ino % 2 == 0),
        );
        fill(
            &store.file_digests(root),
            (0..1000).filter(|ino| ino % 3 == 0),
        );
        drop(store);
        let store = open(home.path());
        let cache = store.file_digests(root);
        for ino in 0..1000 {
            let expected = (ino % 2 == 0 || ino % 3 == 0).then(|| digest(ino));
            assert_eq!(cache.lookup(&identity(ino)), expected, "{ino}");
        }
        assert_eq!(
            store
                .file_digests(Path::new("/another"))
                .lookup(&identity(0)),
            None
        );
    }

    #[test]
    fn any_change_is_a_miss() {
        let (_home, store) = fixture();
        let root = Path::new("/c");
        fill(&store.file_digests(root), [5]);
        let cache = store.file_digests(root);
        let changes: [fn(&mut FileIdentity); 5] = [
            |file| file.dev += 1,
            |file| file.ino += 1,
            |file| file.size += 1,
            |file| file.mtime_ns += 1,
            |file| file.ctime_ns += 1,
        ];
        for change in changes {
            let mut changed = identity(5);
            change(&mut changed);
            assert_eq!(cache.lookup(&changed), None);
        }
        assert_eq!(cache.lookup(&identity(5)), Some(digest(5)));
    }

    #[test]
    fn a_changed_file_replaces_its_entry() {
        let (_home, store) = fixture();
        let root = Path::new("/c");
        fill(&store.file_digests(root), [5, 6]);
        let cache = store.file_digests(root);
        let changed = FileIdentity {
            size: 1,
            ..identity(5)
        };
        cache.insert(changed, digest(99), SystemTime::now());
        cache.save().unwrap();
        let cache = store.file_digests(root);
        assert_eq!(cache.lookup(&changed), Some(digest(99)));
        assert_eq!(cache.lookup(&identity(5)), None);
        assert_eq!(cache.used.len(), 2);
    }

    #[test]
    fn young_files_are_not_trusted() {
        let (home, store) = fixture();
        let cache = store.file_digests(Path::new("/c"));
        let path = home.path().join("young");
        fs::write(&path, "1").unwrap();
        let young = FileIdentity::of(&fs::metadata(&path).unwrap());
        cache.insert(young, digest(1), SystemTime::now());
        assert_eq!(cache.lookup(&young), None);
        // An old time that somebody set does not help: the other time tells.
        let old = SystemTime::now() - Duration::from_secs(10_000);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        let disguised = FileIdentity::of(&fs::metadata(&path).unwrap());
        cache.insert(disguised, digest(1), SystemTime::now());
        assert_eq!(cache.lookup(&disguised), None);
        let later = SystemTime::now() + Duration::from_secs(10);
        cache.insert(disguised, digest(1), later);
        assert_eq!(cache.lookup(&disguised), Some(digest(1)));
    }

    #[test]
    fn a_damaged_file_is_empty() {
        let (_home, store) = fixture();
        let root = Path::new("/c");
        let cache = store.file_digests(root);
        fill(&cache, [1, 2, 3]);
        let whole = fs::read(&cache.path).unwrap();
        for length in [0, 10, HEADER, whole.len() - 1] {
            fs::write(&cache.path, &whole[..length]).unwrap();
            assert_eq!(store.file_digests(root).lookup(&identity(1)), None);
        }
        let mut flipped = whole.clone();
        flipped[HEADER + 70] ^= 1;
        fs::write(&cache.path, &flipped).unwrap();
        assert_eq!(store.file_digests(root).lookup(&identity(1)), None);
    }

    #[test]
    fn nothing_new_writes_nothing() {
        let (home, store) = fixture();
        store.file_digests(Path::new("/c")).save().unwrap();
        let unfinished = std::fs::read_dir(home.path().join("tmp")).unwrap();
        assert_eq!(unfinished.count(), 0);
    }

    #[test]
    fn what_is_long_unused_goes() {
        let (_home, store) = fixture();
        let root = Path::new("/c");
        fill(&store.file_digests(root), 0..UNUSED_MAX as u64 + 10);
        let cache = store.file_digests(root);
        for ino in 0..5 {
            assert!(cache.lookup(&identity(ino)).is_some());
        }
        fill(&cache, [1_000_000]);
        assert_eq!(store.file_digests(root).used.len(), 6);
    }
}
