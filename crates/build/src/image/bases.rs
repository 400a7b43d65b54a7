//! Bases whose files need not be here: their documents are, and what is in their layers is known.
//!
//! What a layer holds has a digest that keys are made of, and that only its files tell. Whoever had
//! the files once remembers the digest under the layer's DiffId, in the store and in caches that a
//! run writes. With it, a base is a *promise* like the results of a cache: what needs the files has
//! them fetched, and a run that needs none fetches none.
//!
//! What is known of a base is remembered as results of steps are: what is forgotten is asked for
//! again. Once all its files are here it is an image of the store like any other.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_oci::{Descriptor, DiffId, ImageConfig, Manifest, Platform, Reference};
use cairn_registry::{Described, RegistryClient, Watch};
use cairn_store::{CacheKey, CacheRecord, ContentDigest, KeyHasher, SnapshotId, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::pull;
use super::record::{ImageRecord, RecordLayer};
use crate::cache::{self, CacheSource};
use crate::engine::Engine;
use crate::resolve::whole;

/// The input of the remembered record that holds the digest of what is known.
const RECORD: &str = "base";

/// What is known of a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KnownBase {
    /// Where it is, by digest.
    from: Reference,
    /// The image, without layers.
    pub(super) record: ImageRecord,
    /// The blob and the DiffId of each layer, bottom first.
    layers: Vec<(Descriptor, DiffId)>,
    /// What it is called in the store when its files are here.
    names: Vec<String>,
}

/// The layers of a base as far as they are known.
pub(super) struct KnownLayers {
    pub(super) layers: Vec<RecordLayer>,
    /// Whether the content of all of them is known; of the others it is a stand-in that nothing
    /// else has.
    pub(super) is_known: bool,
    /// Whether all files are here.
    pub(super) is_here: bool,
}

/// The bases of a run.
pub struct Bases {
    client: RegistryClient,
    state: Mutex<State>,
    bytes: AtomicU64,
    fetched: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    promises: HashMap<SnapshotId, Promise>,
    /// What names came to in this run, each for a platform.
    met: HashMap<(String, Platform), KnownBase>,
    /// The keys under which the content of layers is remembered that this run had to do with.
    keys: BTreeSet<CacheKey>,
    broken: usize,
}

#[derive(Debug, Clone)]
struct Promise {
    base: Arc<KnownBase>,
    layer: usize,
    /// None for a stand-in.
    content: Option<ContentDigest>,
    outcome: Option<Result<SnapshotId, String>>,
}

impl fmt::Debug for Bases {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bases").finish_non_exhaustive()
    }
}

impl KnownBase {
    /// What an image turned out to be that was asked for by this name.
    pub(super) fn new(reference: &Reference, described: Described, names: &[String]) -> Self {
        let layers = described.layers.clone();
        let from = reference.with_digest(described.manifest.digest.clone());
        Self {
            from,
            record: pull::record(reference, described, Vec::new()),
            layers,
            names: names.to_vec(),
        }
    }

    /// Remembers it under its digests. What a tag means is asked anew by each run.
    fn keep(
        &self,
        store: &Store,
        asked: &Reference,
        platform: &Platform,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(StoreError::encode)?;
        let digest = store.put_blob_bytes(&bytes)?;
        let top = self.record.pulled.as_ref().and_then(Reference::digest);
        let manifest = self.record.packed.as_ref().map(|packed| &packed.digest);
        for of in [top, manifest].into_iter().flatten() {
            let name = format!("{}@{of}", asked.name());
            store.put_record(&CacheRecord {
                key: base_key(&name, platform),
                snapshot: None,
                content: ContentDigest::of(&bytes),
                created: 0,
                cost_ms: 0,
                description: format!("base {name}"),
                inputs: vec![(RECORD.to_owned(), digest.to_string())],
            })?;
        }
        Ok(())
    }

    /// What is remembered of a digest.
    fn find(store: &Store, asked: &Reference, platform: &Platform) -> Option<Self> {
        let name = format!("{}@{}", asked.name(), asked.digest()?);
        let remembered = store.get_record(&base_key(&name, platform))?;
        let (_, digest) = remembered.inputs.iter().find(|(name, _)| name == RECORD)?;
        let bytes = store.read_blob(&digest.parse().ok()?).ok()?;
        let mut known: Self = serde_json::from_slice(&bytes).ok()?;
        let packed = known.record.packed.as_ref()?;
        // The tag that it was found by may mean something else by now.
        known.names = vec![format!("{}@{}", asked.name(), packed.digest)];
        // Without its documents it could not go out as it came.
        let manifest = store.read_blob(&packed.digest).ok()?;
        let manifest = Manifest::from_json_bytes(&manifest).ok()?;
        store.has_blob(&manifest.config.digest).then_some(known)
    }

    /// The image, if all its files are here.
    pub(super) fn whole(&self, store: &Store) -> Result<Option<ImageRecord>, StoreError> {
        let mut layers = Vec::new();
        for (_, diff_id) in &self.layers {
            let Some(snapshot) = store.imported_layer(diff_id) else {
                return Ok(None);
            };
            let content = store.snapshot_content(&snapshot)?;
            layers.push(RecordLayer { snapshot, content });
        }
        Ok(Some(ImageRecord {
            layers,
            ..self.record.clone()
        }))
    }
}

impl Bases {
    /// None yet.
    #[must_use]
    pub fn new(client: RegistryClient) -> Self {
        Self {
            client,
            state: Mutex::default(),
            bytes: AtomicU64::new(0),
            fetched: AtomicUsize::new(0),
        }
    }

    /// Takes note of what a name means in this run.
    pub(super) fn meet(
        &self,
        store: &Store,
        asked: &Reference,
        platform: &Platform,
        base: &KnownBase,
    ) -> Result<(), StoreError> {
        base.keep(store, asked, platform)?;
        let key = (asked.to_string(), platform.clone());
        self.lock().met.insert(key, base.clone());
        Ok(())
    }

    /// What a name came to in this run.
    pub(super) fn met(&self, asked: &Reference, platform: &Platform) -> Option<KnownBase> {
        let key = (asked.to_string(), platform.clone());
        self.lock().met.get(&key).cloned()
    }

    /// What a name came to in this run, else what is remembered of its digest.
    pub(super) fn find(
        &self,
        store: &Store,
        asked: &Reference,
        platform: &Platform,
    ) -> Option<KnownBase> {
        let met = self.met(asked, platform);
        met.or_else(|| KnownBase::find(store, asked, platform))
    }

    /// The layers of a base: those that are here, promises of those whose content is known, and
    /// stand-ins.
    pub(super) fn layers(
        &self,
        store: &Store,
        caches: &[CacheSource],
        base: &KnownBase,
    ) -> Result<KnownLayers, StoreError> {
        let base = Arc::new(base.clone());
        let mut found = KnownLayers {
            layers: Vec::new(),
            is_known: true,
            is_here: true,
        };
        for (number, (_, diff_id)) in base.layers.iter().enumerate() {
            let key = content_key(diff_id);
            self.lock().keys.insert(key);
            if let Some(snapshot) = store.imported_layer(diff_id) {
                let content = store.snapshot_content(&snapshot)?;
                remember_content(store, diff_id, content)?;
                found.layers.push(RecordLayer { snapshot, content });
                continue;
            }
            found.is_here = false;
            let known = store.get_record(&key).or_else(|| {
                cache::find_in(caches, store, &key)?;
                store.get_record(&key)
            });
            let content = known.map(|record| record.content);
            found.is_known &= content.is_some();
            let snapshot = cache::promise(&key);
            let promise = Promise {
                base: base.clone(),
                layer: number,
                content,
                outcome: None,
            };
            self.lock().promises.entry(snapshot).or_insert(promise);
            let content = content.unwrap_or_else(|| ContentDigest::of(key.as_bytes()));
            found.layers.push(RecordLayer { snapshot, content });
        }
        Ok(found)
    }

    /// Remembers what the layers of an image hold whose files are here.
    pub(super) fn remember(&self, store: &Store, record: &ImageRecord) -> Result<(), StoreError> {
        let Some(diff_ids) = diff_ids(store, record) else {
            return Ok(());
        };
        for (diff_id, layer) in diff_ids.iter().zip(&record.layers) {
            remember_content(store, diff_id, layer.content)?;
            self.lock().keys.insert(content_key(diff_id));
        }
        Ok(())
    }

    /// The keys under which the content of the run's bases is remembered.
    #[must_use]
    pub fn keys(&self) -> Vec<CacheKey> {
        self.lock().keys.iter().copied().collect()
    }

    /// How many layers were fetched until now, and their bytes.
    #[must_use]
    pub fn fetched(&self) -> (usize, u64) {
        let layers = self.fetched.load(Ordering::Relaxed);
        (layers, self.bytes.load(Ordering::Relaxed))
    }

    /// How many bytes it takes to keep a promise, if it is one of these.
    pub(crate) fn promised(&self, snapshot: &SnapshotId) -> Option<u64> {
        let state = self.lock();
        let promise = state.promises.get(snapshot)?;
        Some(promise.base.layers[promise.layer].0.size)
    }

    /// Why a promise was not kept.
    pub(crate) fn failure(&self, snapshot: &SnapshotId) -> Option<String> {
        let state = self.lock();
        match &state.promises.get(snapshot)?.outcome {
            Some(Err(reason)) => Some(reason.clone()),
            _ => None,
        }
    }

    /// How many promises were broken.
    pub(crate) fn broken(&self) -> usize {
        self.lock().broken
    }

    /// Fetches the files of a promise.
    pub(crate) fn bring(&self, engine: &Engine<'_>, snapshot: &SnapshotId) -> Option<SnapshotId> {
        let promise = self.lock().promises.get(snapshot)?.clone();
        let outcome = match promise.outcome {
            Some(known) => return known.ok(),
            None => self.fetch(engine, &promise),
        };
        let mut state = self.lock();
        state.broken += usize::from(outcome.is_err());
        state.promises.get_mut(snapshot)?.outcome = Some(outcome.clone());
        outcome.ok()
    }

    fn fetch(&self, engine: &Engine<'_>, promise: &Promise) -> Result<SnapshotId, String> {
        let (store, base) = (engine.store, &promise.base);
        let layer = &base.layers[promise.layer];
        let watch = Watch {
            is_stopped: &|| engine.cancel.is_cancelled(),
            moved: &|bytes| {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            },
        };
        let pulled = self.client.pull_layer(store, &base.from, layer, watch);
        let snapshot = pulled.map_err(|error| whole(&error))?;
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let told = |error: StoreError| whole(&error);
        let content = store.snapshot_content(&snapshot).map_err(told)?;
        remember_content(store, &layer.1, content).map_err(told)?;
        if promise.content.is_some_and(|promised| promised != content) {
            return Err(format!(
                "a cache says something else of its layer {} than its files do; that is known \
                 now, so the next run is right",
                layer.0.digest
            ));
        }
        if let Some(record) = base.whole(store).map_err(told)? {
            record.save(store, &base.names).map_err(told)?;
        }
        Ok(snapshot)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember_content(
    store: &Store,
    diff_id: &DiffId,
    content: ContentDigest,
) -> Result<(), StoreError> {
    let key = content_key(diff_id);
    let known = store.get_record(&key);
    if known.is_some_and(|known| known.content == content) {
        return Ok(());
    }
    store.put_record(&CacheRecord {
        key,
        snapshot: None,
        content,
        created: 0,
        cost_ms: 0,
        description: format!("layer {}", diff_id.0),
        inputs: Vec::new(),
    })
}

/// The DiffIds of an image that came from a registry, as its config tells them.
fn diff_ids(store: &Store, record: &ImageRecord) -> Option<Vec<DiffId>> {
    record.pulled.as_ref()?;
    let manifest = store.read_blob(&record.packed.as_ref()?.digest).ok()?;
    let manifest = Manifest::from_json_bytes(&manifest).ok()?;
    let config = store.read_blob(&manifest.config.digest).ok()?;
    let config = ImageConfig::from_json_bytes(&config).ok()?;
    let diff_ids = config.rootfs.diff_ids;
    (diff_ids.len() == record.layers.len()).then_some(diff_ids)
}

fn base_key(name: &str, platform: &Platform) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn known base");
    hasher.field("name", name.as_bytes());
    hasher.field("platform", platform.to_string().as_bytes());
    hasher.finish_key()
}

fn content_key(diff_id: &DiffId) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn content of a layer");
    hasher.field("diff id", diff_id.0.as_str());
    hasher.finish_key()
}
