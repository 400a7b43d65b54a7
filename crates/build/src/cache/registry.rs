//! A cache in a registry as a run reads it: asked once, then promises, then the files of some.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_oci::{Index, Manifest, Platform, Reference};
use cairn_registry::{Document, RegistryClient, RegistryError, Watch};
use cairn_store::{CacheKey, CacheRecord, ContentDigest, DOCUMENT_SIZE_MAX, SnapshotId, Store};

use super::document::{ARTIFACT_TYPE, CONFIG_TYPE, CacheDocument, CacheEntry};
use super::{believed, inline};
use crate::engine::Engine;
use crate::image::record::RecordLayer;

/// BuildKit's caches: their keys are made of definitions, and mean nothing here.
const BUILDKIT_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// A cache in a registry.
pub struct RegistryCache {
    client: RegistryClient,
    reference: Reference,
    entries: BTreeMap<CacheKey, CacheEntry>,
    promised: HashMap<SnapshotId, CacheKey>,
    state: Mutex<State>,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<CacheKey, SnapshotId>,
    broken: BTreeSet<CacheKey>,
}

/// What a reference turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// A cache, or an image that carries one.
    Cache(Arc<RegistryCache>),
    /// Nothing is there yet.
    Absent,
    /// Something else is there.
    Other(&'static str),
}

impl fmt::Debug for RegistryCache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RegistryCache")
            .field("reference", &self.reference)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl RegistryCache {
    /// Asks for a cache: a manifest and a document, no layer. Of an image for several platforms,
    /// those count that were asked for.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn open(
        store: &Store,
        client: &RegistryClient,
        reference: &Reference,
        platforms: &[Platform],
        watch: Watch<'_>,
    ) -> Result<Opened, RegistryError> {
        if client.look_up(reference, watch)?.is_none() {
            return Ok(Opened::Absent);
        }
        let top = client.current_document(reference, watch)?;
        let mut found = CacheDocument::default();
        let mut other = Some("an image for other platforms");
        for chosen in chosen(client, reference, platforms, top, watch)? {
            match read(store, client, reference, &chosen, watch)? {
                Ok(document) => {
                    found.entries.extend(document.entries);
                    other = None;
                }
                Err(what) if found.entries.is_empty() => other = Some(what),
                Err(_) => {}
            }
        }
        Ok(match other {
            Some(what) => Opened::Other(what),
            None => Opened::Cache(Arc::new(Self::over(client, reference, found))),
        })
    }

    fn over(client: &RegistryClient, reference: &Reference, document: CacheDocument) -> Self {
        let entries = document.entries;
        let with_layer = entries
            .iter()
            .filter(|(_, entry)| entry.layer.is_some() || entry.only_known);
        Self {
            client: client.clone(),
            reference: reference.clone(),
            promised: with_layer.map(|(key, _)| (promise(key), *key)).collect(),
            entries,
            state: Mutex::default(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// How many results it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many layers were brought until now, and their bytes.
    #[must_use]
    pub fn brought(&self) -> (usize, u64) {
        (self.lock().kept.len(), self.bytes.load(Ordering::Relaxed))
    }

    /// The results that it has and could not give.
    #[must_use]
    pub fn broken_keys(&self) -> BTreeSet<CacheKey> {
        self.lock().broken.clone()
    }

    /// What a key stands for, if it is known here: a layer that is promised, or none.
    pub(super) fn find(&self, store: &Store, key: &CacheKey) -> Option<Option<RecordLayer>> {
        let entry = self.entries.get(key)?;
        if entry.layer.is_none() && !entry.only_known {
            store.put_record(&record(key, entry, None)).ok()?;
            return Some(None);
        }
        let state = self.lock();
        if state.broken.contains(key) {
            return None;
        }
        let snapshot = state.kept.get(key).copied();
        Some(Some(RecordLayer {
            snapshot: snapshot.unwrap_or_else(|| promise(key)),
            content: entry.content,
        }))
    }

    /// The content that a key without a layer is said to have.
    pub(super) fn said(&self, key: &CacheKey) -> Option<ContentDigest> {
        let entry = self.entries.get(key)?;
        (entry.layer.is_none() && !entry.only_known).then_some(entry.content)
    }

    /// How many bytes it takes to keep a promise, if it is one of this cache.
    pub(super) fn promised(&self, snapshot: &SnapshotId) -> Option<u64> {
        let key = self.promised.get(snapshot)?;
        let layer = self.entries.get(key)?.layer.as_ref();
        Some(layer.map_or(0, |layer| layer.size))
    }

    /// Breaks a promise that nobody could keep, if it is one: a result whose layer is not here.
    pub(super) fn give_up(&self, snapshot: &SnapshotId) -> bool {
        let Some(key) = self.promised.get(snapshot) else {
            return false;
        };
        let is_only_known = self.entries.get(key).is_some_and(|entry| entry.only_known);
        is_only_known && self.lock().broken.insert(*key)
    }

    /// Brings the files of a promise into the store.
    pub(super) fn bring(&self, engine: &Engine<'_>, snapshot: &SnapshotId) -> Option<SnapshotId> {
        let key = self.promised.get(snapshot)?;
        {
            let state = self.lock();
            if state.broken.contains(key) {
                return None;
            }
            if let Some(kept) = state.kept.get(key) {
                return Some(*kept);
            }
        }
        let found = self.fetch(engine, key);
        let mut state = self.lock();
        match found {
            Some(found) => state.kept.insert(*key, found).map(drop),
            None => state.broken.insert(*key).then_some(()),
        };
        found
    }

    fn fetch(&self, engine: &Engine<'_>, key: &CacheKey) -> Option<SnapshotId> {
        let entry = self.entries.get(key)?;
        let layer = entry.layer.as_ref()?;
        let store = engine.store;
        let watch = Watch {
            is_stopped: &|| engine.cancel.is_cancelled(),
            moved: &|bytes| {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            },
        };
        let unpacked = match store.has_blob(&layer.digest) {
            true => store
                .unpack_layer(store.open_blob(&layer.digest).ok()?)
                .ok(),
            false => {
                let (client, reference) = (&self.client, &self.reference);
                client.unpack_blob(store, reference, layer, watch).ok()
            }
        };
        let snapshot = believed(store, unpacked?, &entry.content)?;
        store.put_record(&record(key, entry, Some(snapshot))).ok()?;
        Some(snapshot)
    }

    /// How many promises were broken.
    pub(super) fn broken(&self) -> usize {
        self.lock().broken.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manifests for some platforms.
fn chosen(
    client: &RegistryClient,
    reference: &Reference,
    platforms: &[Platform],
    top: Document,
    watch: Watch<'_>,
) -> Result<Vec<Document>, RegistryError> {
    if !top.descriptor.media_type.is_index() {
        return Ok(vec![top]);
    }
    let listed = Index::from_json_bytes(&top.bytes).map(|index| index.manifests);
    let fits = listed.unwrap_or_default().into_iter().filter(|one| {
        let offered = one.platform.as_ref();
        let is_wanted =
            |offered: &Platform| platforms.iter().any(|platform| platform.matches(offered));
        one.media_type.is_manifest() && offered.is_some_and(is_wanted)
    });
    fits.map(|one| client.current_document(&reference.with_digest(one.digest), watch))
        .collect()
}

/// Reads the results that a manifest leads to; says what there is instead.
fn read(
    store: &Store,
    client: &RegistryClient,
    reference: &Reference,
    manifest: &Document,
    watch: Watch<'_>,
) -> Result<Result<CacheDocument, &'static str>, RegistryError> {
    let Ok(manifest) = Manifest::from_json_bytes(&manifest.bytes) else {
        return Ok(Err("no manifest that can be read"));
    };
    let kind = manifest.config.media_type.as_str();
    if kind == BUILDKIT_CONFIG {
        return Ok(Err("a cache of BuildKit, whose keys are others"));
    }
    let is_cache = kind == CONFIG_TYPE && manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
    if !is_cache && !manifest.config.media_type.is_config() {
        return Ok(Err("neither a cache nor an image"));
    }
    if manifest.config.size > DOCUMENT_SIZE_MAX {
        return Ok(Err("a document that is too large"));
    }
    client.fetch_blob(store, reference, &manifest.config, watch)?;
    let bytes = store.read_blob(&manifest.config.digest)?;
    Ok(match is_cache {
        true => CacheDocument::parse(&bytes).ok_or("a cache of another version"),
        false => inline::read(&bytes, &manifest),
    })
}

/// The name of a layer that is not here: made of its key, so that no snapshot has it.
pub(crate) fn promise(key: &CacheKey) -> SnapshotId {
    let mut name = [0; 16];
    name.copy_from_slice(&key.as_bytes()[..16]);
    SnapshotId::from_bytes(name)
}

fn record(key: &CacheKey, entry: &CacheEntry, snapshot: Option<SnapshotId>) -> CacheRecord {
    CacheRecord {
        key: *key,
        snapshot,
        content: entry.content,
        created: entry.created,
        cost_ms: entry.cost_ms,
        description: entry.description.clone(),
        inputs: Vec::new(),
    }
}
