//! Bases whose files need not be here: their documents are, and what is in their layers is known.
//!
//! What a layer holds has a digest that keys are made of, and that only its files tell. Whoever had
//! the files once remembers the digest under the layer's DiffId, in the store and in caches that a
//! run writes. With it, a base is a *promise* like the results of a cache: what needs the files has
//! them fetched, and a run that needs none fetches none.
//!
//! Where nobody knows what a layer holds, a stand-in serves that nothing was ever made of: in a plan,
//! which fetches nothing, and where images only leave the store, for their layers can stay where they
//! are ([`AbsentLayer`]).
//!
//! A layer that several bases have is one promise, and any of their registries may keep it. Where a
//! cache said something else of a layer than its files do, or a stand-in served until they came, the
//! promise is broken once: the plan that is made again goes by the files.
//!
//! Once all files of a base are here it is an image of the store like any other.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform, Reference};
use cairn_registry::{RegistryClient, Watch};
use cairn_store::{CacheKey, ContentDigest, SnapshotId, Store, StoreError};

use super::known_base::KnownBase;
use super::layer_contents::{self as contents, Told, content_key};
use super::record::{AbsentLayer, ImageRecord, RecordLayer};
use crate::cache::{self, CacheSource};
use crate::engine::Engine;
use crate::event::Event;
use crate::resolve::whole;

/// The layers of a base as far as they are known.
pub(super) struct KnownLayers {
    pub(super) layers: Vec<RecordLayer>,
    /// Those that are promises.
    pub(super) promised: Vec<SnapshotId>,
    /// Whether the content of all of them is known; of the others it is a stand-in that nothing
    /// else has.
    pub(super) is_known: bool,
}

impl KnownLayers {
    /// Whether all files are here.
    pub(super) fn is_here(&self) -> bool {
        self.promised.is_empty()
    }
}

/// The bases of a run.
pub struct Bases {
    client: Option<RegistryClient>,
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

/// A layer that is not here.
#[derive(Debug, Clone, Default)]
struct Promise {
    /// The bases that have it, and which of their layers it is.
    homes: Vec<(Arc<KnownBase>, usize)>,
    /// None for a stand-in.
    told: Option<Told>,
    outcome: Option<Result<RecordLayer, String>>,
}

impl Promise {
    fn add(&mut self, base: &Arc<KnownBase>, layer: usize) {
        if self.homes.iter().any(|(home, _)| home.from == base.from) {
            return;
        }
        self.homes.push((Arc::clone(base), layer));
        // It may have what the others had not.
        if matches!(self.outcome, Some(Err(_))) {
            self.outcome = None;
        }
    }

    /// Where it may be had: each repository once.
    fn places(&self) -> Vec<(&Reference, &(Descriptor, DiffId))> {
        let mut seen: BTreeSet<(String, &Digest)> = BTreeSet::new();
        let homes = self.homes.iter();
        let places = homes.map(|(base, layer)| (&base.from, &base.layers[*layer]));
        places
            .filter(|(from, (blob, _))| seen.insert((from.name(), &blob.digest)))
            .collect()
    }

    /// Whether plans were made with another content than this: what somebody said, or a stand-in.
    fn is_belied_by(&self, found: &RecordLayer) -> bool {
        let told = self.told.as_ref();
        told.is_none_or(|told| told.content != found.content)
    }
}

impl fmt::Debug for Bases {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bases").finish_non_exhaustive()
    }
}

impl Bases {
    /// None yet. Without a client, no layer is fetched.
    #[must_use]
    pub fn new(client: Option<RegistryClient>) -> Self {
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
            promised: Vec::new(),
            is_known: true,
        };
        for (number, (_, diff_id)) in base.layers.iter().enumerate() {
            let key = content_key(diff_id);
            self.lock().keys.insert(key);
            if let Some(snapshot) = store.imported_layer(diff_id) {
                let content = store.snapshot_content(&snapshot)?;
                contents::remember(store, diff_id, content)?;
                found.layers.push(RecordLayer { snapshot, content });
                continue;
            }
            let told = contents::told(store, caches, diff_id)?;
            let snapshot = cache::promise(&key);
            let mut state = self.lock();
            // What was said first counts for the whole run: plans are made with it.
            let promise = state.promises.entry(snapshot).or_insert_with(|| Promise {
                told,
                ..Promise::default()
            });
            promise.add(&base, number);
            found.is_known &= promise.told.is_some();
            let stand_in = || ContentDigest::of(key.as_bytes());
            let content = promise
                .told
                .as_ref()
                .map_or_else(stand_in, |told| told.content);
            found.promised.push(snapshot);
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
            contents::remember(store, diff_id, layer.content)?;
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
        let (base, layer) = state.promises.get(snapshot)?.homes.first()?;
        Some(base.layers[*layer].0.size)
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

    /// What a layer of a base turned out to be that a cache had said something else of.
    pub(crate) fn corrected(&self, snapshot: &SnapshotId) -> Option<RecordLayer> {
        let state = self.lock();
        let promise = state.promises.get(snapshot)?;
        let found = promise.outcome.as_ref()?.as_ref().ok()?;
        promise.is_belied_by(found).then(|| found.clone())
    }

    /// A promised layer as it can leave the store without being in it: as it came.
    pub(crate) fn absent(&self, snapshot: &SnapshotId) -> Option<AbsentLayer> {
        let state = self.lock();
        let promise = state.promises.get(snapshot)?;
        let (base, layer) = promise.homes.first()?;
        let (blob, diff_id) = &base.layers[*layer];
        let places = promise.places().into_iter();
        let same = places.filter(|(_, (other, _))| other.digest == blob.digest);
        Some(AbsentLayer {
            blob: blob.clone(),
            diff_id: diff_id.clone(),
            homes: same.map(|(home, _)| home.clone()).collect(),
            is_known: promise.told.is_some(),
        })
    }

    /// Whether the content that a promise has in plans is a stand-in.
    pub(crate) fn is_stand_in(&self, snapshot: &SnapshotId) -> bool {
        let state = self.lock();
        let promise = state.promises.get(snapshot);
        promise.is_some_and(|promise| promise.told.is_none())
    }

    /// Fetches the files of a promise.
    pub(crate) fn bring(&self, engine: &Engine<'_>, snapshot: &SnapshotId) -> Option<SnapshotId> {
        let promise = self.lock().promises.get(snapshot)?.clone();
        let outcome = match promise.outcome.clone() {
            Some(known) => known,
            None => {
                let outcome = self.fetch(engine, &promise);
                for text in self.client.iter().flat_map(RegistryClient::mirror_troubles) {
                    let warning = true;
                    engine.events.emit(Event::Notice { warning, text });
                }
                self.conclude(engine, snapshot, &promise, &outcome);
                outcome
            }
        };
        let found = outcome.ok()?;
        (!promise.is_belied_by(&found)).then_some(found.snapshot)
    }

    fn fetch(&self, engine: &Engine<'_>, promise: &Promise) -> Result<RecordLayer, String> {
        let store = engine.store;
        let watch = Watch {
            is_stopped: &|| engine.cancel.is_cancelled(),
            moved: &|bytes| {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            },
        };
        let told = |error: StoreError| whole(&error);
        let mut failures = Vec::new();
        for (from, layer) in promise.places() {
            let Some(client) = &self.client else {
                return Err(format!(
                    "the layer {} of {from} is not in the store, and `--offline` forbids to fetch it",
                    layer.0.digest
                ));
            };
            let snapshot = match client.pull_layer(store, from, layer, watch) {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    failures.push(whole(&error));
                    match error.is_cancelled() {
                        true => break,
                        false => continue,
                    }
                }
            };
            self.fetched.fetch_add(1, Ordering::Relaxed);
            let content = store.snapshot_content(&snapshot).map_err(told)?;
            contents::remember(store, &layer.1, content).map_err(told)?;
            for (base, _) in &promise.homes {
                if let Some(record) = base.whole(store).map_err(told)? {
                    record.save(store, &base.names).map_err(told)?;
                }
            }
            return Ok(RecordLayer { snapshot, content });
        }
        Err(failures.join("; "))
    }

    /// Notes what became of a promise, and tells of a cache that was wrong.
    fn conclude(
        &self,
        engine: &Engine<'_>,
        snapshot: &SnapshotId,
        promise: &Promise,
        outcome: &Result<RecordLayer, String>,
    ) {
        let mut state = self.lock();
        let Some(noted) = state.promises.get_mut(snapshot) else {
            return;
        };
        if noted.outcome.is_some() {
            return;
        }
        noted.outcome = Some(outcome.clone());
        let is_wrong = outcome
            .as_ref()
            .is_ok_and(|found| promise.is_belied_by(found));
        state.broken += usize::from(is_wrong || outcome.is_err());
        drop(state);
        // Nobody said anything where a stand-in served.
        let told = promise.told.as_ref().filter(|_| is_wrong);
        if let (Some(told), Some((base, layer))) = (told, promise.homes.first()) {
            let who = told.by.as_deref();
            let text = format!(
                "{} says something else of the layer {} of `{}` than its files do: that is \
                 ignored, and put right where this run writes that cache",
                who.unwrap_or("the store"),
                base.layers[*layer].0.digest,
                base.from.familiar(),
            );
            let warning = true;
            engine.events.emit(Event::Notice { warning, text });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
