//! What a run puts into a cache in a registry: only what is worth it.
//!
//! A layer is worth it when fetching it takes less time than making it did. How fast the registry
//! is shows while layers go there; until then a modest line is assumed. Small layers always go.
//! What the cache has already is neither packed nor asked for; a cache that has everything is left
//! as it is. Whoever writes at the same time is not forgotten: what they added is added again.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_oci::{Compression, Descriptor, Digest, Reference};
use cairn_registry::{RegistryClient, RegistryError, Watch};
use cairn_store::{CacheKey, CacheRecord, Store};

use super::directory::NO_EPOCH;
use super::document::{CacheDocument, CacheEntry};
use super::hearsay;
use super::stored::At;

/// Bytes a second, until something else was seen: a line of 100 Mbit/s.
const RATE_ASSUMED: u64 = 12_500_000;
/// So much must have gone before its time says something.
const SEEN_MIN: u64 = 1 << 20;
/// A layer of so many bytes goes whatever it saves.
const SMALL: u64 = 1 << 20;
/// What zstd leaves of usual files, in percent.
const PACKED_PERCENT: u64 = 40;
/// A result that is there is noted as used once a day.
const USE_GRANULARITY: i64 = 24 * 3600;
/// How often somebody else may come first.
const ATTEMPTS: usize = 4;

/// Where results go, and how many bytes may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTarget {
    /// Where.
    pub reference: Reference,
    /// The most bytes that its layers may have.
    pub limit: Option<u64>,
}

/// What was written to a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many results it has now.
    pub results: usize,
    /// How many of them are new.
    pub new: usize,
    /// How many bytes went there.
    pub sent: u64,
    /// How many bytes its layers have.
    pub bytes: u64,
    /// How many results were left out: they cost more to move than to make.
    pub left_out: usize,
    /// How many old ones went for the limit.
    pub dropped: usize,
}

/// Writes what the store knows of some keys; of those in `known`, what they stand for and no layer.
/// What the cache has of `broken` ones is not believed: it could not be had.
///
/// # Errors
/// When the registry does not take it, or the store fails.
pub fn export(
    store: &Store,
    client: &RegistryClient,
    target: &RegistryTarget,
    keys: &[CacheKey],
    known: &[CacheKey],
    broken: &BTreeSet<CacheKey>,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Exported, RegistryError> {
    let moved = AtomicU64::new(0);
    let export = Export {
        line: Cell::default(),
        store,
        client,
        target,
        broken,
        watch: Watch {
            is_stopped,
            moved: &|bytes| {
                moved.fetch_add(bytes, Ordering::Relaxed);
            },
        },
        moved: &moved,
    };
    export.run(keys, known)
}

struct Export<'a> {
    /// The bytes of the layers that went, and the time that took.
    line: Cell<(u64, Duration)>,
    store: &'a Store,
    client: &'a RegistryClient,
    target: &'a RegistryTarget,
    broken: &'a BTreeSet<CacheKey>,
    watch: Watch<'a>,
    moved: &'a AtomicU64,
}

impl Export<'_> {
    fn run(&self, keys: &[CacheKey], known: &[CacheKey]) -> Result<Exported, RegistryError> {
        let mut left_out = BTreeSet::new();
        let mut sent = BTreeSet::new();
        let mut attempt = 0;
        loop {
            let stored = self.at().read()?;
            let mut document = stored.document.unwrap_or_default();
            let before = document.clone();
            document.entries.retain(|key, _| !self.broken.contains(key));
            self.add(&mut document, keys, &mut sent, &mut left_out)?;
            self.add_known(&mut document, known);
            let dropped = self.target.limit.map_or(0, |limit| document.fit(limit));
            let new = document.entries.keys();
            let new = new.filter(|key| !before.entries.contains_key(key)).count();
            let exported = Exported {
                results: document.entries.len(),
                new,
                sent: 0,
                bytes: document.bytes(),
                left_out: left_out.len(),
                dropped,
            };
            if document == before {
                return Ok(exported);
            }
            attempt += 1;
            if attempt < ATTEMPTS && !self.at().is_as_read(stored.digest.as_ref())? {
                continue;
            }
            match self.at().put(&document) {
                // The registry has lost layers that the document before names: without them.
                Err(error) if error.is_missing() && attempt < ATTEMPTS => {
                    let is_sent = |key: &CacheKey| {
                        self.broken.contains(key) || !before.entries.contains_key(key)
                    };
                    document.entries.retain(|key, _| is_sent(key));
                    self.at().put(&document)?;
                }
                put => put?,
            }
            return Ok(Exported {
                sent: self.moved.load(Ordering::Relaxed),
                ..exported
            });
        }
    }

    fn at(&self) -> At<'_> {
        At {
            store: self.store,
            client: self.client,
            reference: &self.target.reference,
            watch: self.watch,
        }
    }

    fn add(
        &self,
        document: &mut CacheDocument,
        keys: &[CacheKey],
        sent: &mut BTreeSet<Digest>,
        left_out: &mut BTreeSet<CacheKey>,
    ) -> Result<(), RegistryError> {
        let now = now();
        for key in keys {
            if let Some(entry) = document.entries.get_mut(key)
                && !entry.only_known
                && !self.is_wrong(key, entry)
            {
                if now - entry.used > USE_GRANULARITY {
                    entry.used = now;
                }
                continue;
            }
            let own = |record: &CacheRecord| hearsay::said_by(record).is_none();
            let Some(record) = self.store.get_record(key).filter(own) else {
                continue;
            };
            let layer = match self.layer(&record, sent)? {
                Layer::None => None,
                Layer::Sent(layer) => Some(*layer),
                Layer::TooDear => {
                    left_out.insert(*key);
                    continue;
                }
            };
            document.entries.insert(*key, entry(record, layer, now));
        }
        Ok(())
    }

    /// Whether an entry without a layer says what is known to be otherwise.
    fn is_wrong(&self, key: &CacheKey, entry: &CacheEntry) -> bool {
        if entry.layer.is_some() {
            return false;
        }
        let known = self.store.get_record(key);
        known.is_some_and(|known| hearsay::knows_better(&known, &entry.content))
    }

    /// Adds what is known of results whose layers stay here.
    fn add_known(&self, document: &mut CacheDocument, keys: &[CacheKey]) {
        for key in keys {
            if document.entries.contains_key(key) {
                continue;
            }
            if let Some(record) = self.store.get_record(key) {
                let only_known = record.snapshot.is_some();
                let entry = entry(record, None, now());
                let entry = CacheEntry {
                    only_known,
                    ..entry
                };
                document.entries.insert(*key, entry);
            }
        }
    }

    /// Makes sure that the registry has a result's layer, if that is worth it.
    fn layer(
        &self,
        record: &CacheRecord,
        sent: &mut BTreeSet<Digest>,
    ) -> Result<Layer, RegistryError> {
        let Some(snapshot) = record.snapshot else {
            return Ok(Layer::None);
        };
        let bytes = bytes_below(&self.store.snapshot_dir(&snapshot));
        if !is_worth(bytes, record.cost_ms, self.rate()) {
            return Ok(Layer::TooDear);
        }
        let exported = self
            .store
            .export_layer(&snapshot, NO_EPOCH, Compression::Zstd)?;
        let layer = exported.descriptor;
        if sent.insert(layer.digest.clone()) {
            let reference = &self.target.reference;
            let started = Instant::now();
            let before = self.moved.load(Ordering::Relaxed);
            self.client
                .push_blob(self.store, reference, &layer, &[], self.watch)?;
            let bytes = self.moved.load(Ordering::Relaxed) - before;
            let (known, time) = self.line.get();
            if bytes > 0 {
                self.line.set((known + bytes, time + started.elapsed()));
            }
        }
        Ok(Layer::Sent(Box::new(layer)))
    }

    /// Bytes a second, as far as it was seen.
    fn rate(&self) -> u64 {
        let (bytes, time) = self.line.get();
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        match bytes >= SEEN_MIN {
            true => bytes.saturating_mul(1000) / time,
            false => RATE_ASSUMED,
        }
    }
}

fn entry(record: CacheRecord, layer: Option<Descriptor>, now: i64) -> CacheEntry {
    CacheEntry {
        content: record.content,
        layer,
        only_known: false,
        created: record.created,
        used: now,
        cost_ms: record.cost_ms,
        description: record.description,
    }
}

/// What became of a result's layer.
enum Layer {
    /// There is none.
    None,
    /// The registry has it.
    Sent(Box<Descriptor>),
    /// Moving it costs more than making it.
    TooDear,
}

/// Whether fetching a layer of so many bytes, unpacked, takes less time than making it did.
fn is_worth(bytes: u64, cost_ms: u64, rate: u64) -> bool {
    let packed = bytes / 100 * PACKED_PERCENT;
    packed <= SMALL || packed.saturating_mul(1000) / rate.max(1) < cost_ms
}

/// How many bytes the files below a directory have. What cannot be read counts nothing: packing
/// it will say why.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let sizes = entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) if found.is_file() => found.len(),
            _ => 0,
        });
    sizes.sum()
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dearer_to_move_than_to_make_stays() {
        let mb = 1_000_000;
        assert!(is_worth(mb, 0, RATE_ASSUMED), "small");
        assert!(is_worth(100 * mb, 10_000, RATE_ASSUMED));
        assert!(!is_worth(1000 * mb, 500, RATE_ASSUMED));
        assert!(is_worth(1000 * mb, 500, 1000 * mb), "a fast line");
        assert!(!is_worth(u64::MAX, 1, 0));
    }
}
