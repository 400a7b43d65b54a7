//! Cache records: what a vertex gave when it last ran with these inputs.
//!
//! A record that names a snapshot which is not there, or not believed, is a miss. Reading a record
//! is reading two small files. A record's modification time is when it was last used, to the hour:
//! collection takes the oldest first.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::home::read_if_there;
use crate::keys::KeyHasher;
use crate::record_file;
use crate::store::Store;
use crate::{CacheKey, ContentDigest, SnapshotId};

const RECORD_KIND: &str = "record/1";
const EQUAL_KIND: &str = "equal/1";
const USE_GRANULARITY: Duration = Duration::from_secs(3600);

/// What a vertex gave, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The identity of the vertex with all its inputs.
    pub key: CacheKey,
    /// The layer it made; `None` for a vertex that makes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// The content digest of what it made.
    pub content: ContentDigest,
    /// When, in seconds since 1970.
    pub created: i64,
    /// How long it took: what a hit saves.
    pub cost_ms: u64,
    /// The instruction, for people.
    pub description: String,
    /// What entered the key, as name and value: how `why` tells what changed.
    pub inputs: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EqualRecord {
    pub(crate) snapshot: SnapshotId,
}

impl Store {
    /// Remembers what a vertex gave. Overwrites what was known of the key.
    pub fn put_record(&self, record: &CacheRecord) -> Result<(), StoreError> {
        let path = self.layout().cache_record(&record.key);
        let bytes = record_file::print(RECORD_KIND, record);
        self.session()?.write(&path, &bytes)
    }

    /// What a vertex gave, if its snapshot is still there.
    pub fn get_record(&self, key: &CacheKey) -> Option<CacheRecord> {
        let bytes = read_and_touch(&self.layout().cache_record(key))?;
        let record: CacheRecord = record_file::parse(RECORD_KIND, &bytes)?;
        let is_there = |snapshot: &SnapshotId| self.snapshot_exists(snapshot);
        (&record.key == key && record.snapshot.as_ref().is_none_or(is_there)).then_some(record)
    }

    /// Remembers that a layer of this content on a parent of that content is this snapshot.
    pub fn put_equal(
        &self,
        parent: &ContentDigest,
        layer: &ContentDigest,
        snapshot: &SnapshotId,
    ) -> Result<(), StoreError> {
        let path = self.layout().equal_record(&equal_name(parent, layer));
        let snapshot = *snapshot;
        let bytes = record_file::print(EQUAL_KIND, &EqualRecord { snapshot });
        self.session()?.write(&path, &bytes)
    }

    /// A snapshot of this content that was made on a parent of that content, for early cutoff.
    pub fn find_equal(&self, parent: &ContentDigest, layer: &ContentDigest) -> Option<SnapshotId> {
        let path = self.layout().equal_record(&equal_name(parent, layer));
        let record: EqualRecord = record_file::parse(EQUAL_KIND, &read_and_touch(&path)?)?;
        self.snapshot_exists(&record.snapshot)
            .then_some(record.snapshot)
    }
}

/// Reads a cache record's file as collection and checks see it: no use is noted.
pub(crate) fn parse_record(path: &Path) -> Result<Option<CacheRecord>, StoreError> {
    let bytes = read_if_there(path)?.unwrap_or_default();
    Ok(record_file::parse(RECORD_KIND, &bytes))
}

/// Reads an equal record's file as collection and checks see it.
pub(crate) fn parse_equal(path: &Path) -> Result<Option<SnapshotId>, StoreError> {
    let bytes = read_if_there(path)?.unwrap_or_default();
    let record: Option<EqualRecord> = record_file::parse(EQUAL_KIND, &bytes);
    Ok(record.map(|record| record.snapshot))
}

fn equal_name(parent: &ContentDigest, layer: &ContentDigest) -> String {
    KeyHasher::new("cairn equal 1")
        .field("parent", parent.as_bytes())
        .field("layer", layer.as_bytes())
        .finish_key()
        .hex()
}

/// Reads a small file and notes its use, at most once an hour.
pub(crate) fn read_and_touch(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let now = SystemTime::now();
    let last_use = file.metadata().ok()?.modified().ok()?;
    // A time in the future counts as old, so that a clock set back does not keep records forever.
    let is_recent = now
        .duration_since(last_use)
        .is_ok_and(|age| age < USE_GRANULARITY);
    if !is_recent && let Ok(file) = fs::File::options().append(true).open(path) {
        // A home that cannot be written to loses only the order of collection.
        let _ = file.set_modified(now);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{fixture, open};

    fn record(store: &Store, text: &str, snapshot: Option<SnapshotId>) -> CacheRecord {
        let record = CacheRecord {
            key: KeyHasher::new("test").field("text", text).finish_key(),
            snapshot,
            content: ContentDigest::of(text.as_bytes()),
            created: 1_700_000_000,
            cost_ms: 42,
            description: format!("RUN {text}"),
            inputs: vec![("command".into(), text.into())],
        };
        store.put_record(&record).unwrap();
        record
    }

    #[test]
    fn a_record_comes_back_after_reopening() {
        let (home, store) = fixture();
        let snapshot = store.begin_snapshot().unwrap().commit().unwrap();
        let record = record(&store, "true", Some(snapshot));
        drop(store);
        let store = open(home.path());
        assert_eq!(store.get_record(&record.key), Some(record));
    }

    #[test]
    fn a_record_without_its_snapshot_is_a_miss() {
        let (home, store) = fixture();
        let snapshot = store.begin_snapshot().unwrap().commit().unwrap();
        let record = record(&store, "true", Some(snapshot));
        store
            .put_equal(&record.content, &record.content, &snapshot)
            .unwrap();
        assert_eq!(
            store.find_equal(&record.content, &record.content),
            Some(snapshot)
        );
        drop(store);
        fs::remove_dir_all(home.path().join("snapshots").join(snapshot.hex())).unwrap();
        let store = open(home.path());
        assert_eq!(store.get_record(&record.key), None);
        assert_eq!(store.find_equal(&record.content, &record.content), None);
    }

    #[test]
    fn a_torn_or_misplaced_record_is_a_miss() {
        let (_home, store) = fixture();
        let one = record(&store, "one", None);
        let two = record(&store, "two", None);
        let (one_path, two_path) = (
            store.layout().cache_record(&one.key),
            store.layout().cache_record(&two.key),
        );
        fs::copy(&one_path, &two_path).unwrap();
        assert_eq!(store.get_record(&two.key), None);
        fs::write(&one_path, "").unwrap();
        assert_eq!(store.get_record(&one.key), None);
    }

    #[test]
    fn use_is_noted_once_an_hour() {
        let (_home, store) = fixture();
        let record = record(&store, "true", None);
        let path = store.layout().cache_record(&record.key);
        let age = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        let touch = |time| {
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
        };
        let last_use = || fs::metadata(&path).unwrap().modified().unwrap();

        touch(age(100)).unwrap();
        store.get_record(&record.key).unwrap();
        assert!(last_use() < age(50), "recent: left alone");
        touch(age(10_000)).unwrap();
        store.get_record(&record.key).unwrap();
        assert!(last_use() > age(50), "old: noted");
    }
}
