//! Results of steps that other machines had: `--cache-from` and `--cache-to`.
//!
//! - [`directory`]: a directory, carried by whoever wants to.
//! - [`registry`]: a repository of a registry, asked before a run and written after it.
//! - `document`: what such a repository holds; [`export`]: what is worth being put there; [`trim`]:
//!   what need not stay.
//! - [`inline`]: the results that an image itself carries.
//!
//! A key is made of content, so a result holds on any machine, for any user and on any branch.
//! What comes in is believed when its content digest is the one that was promised; anything else
//! counts as absent, and the step runs.
//!
//! The content of a result in a registry, and of a base that was seen before, is known before its files are here. So a plan is made of
//! *promises*: layers with a name that no snapshot has. What needs the files - a step that runs, an
//! image of the run, a `COPY` that is looked up for the first time - has them brought; the others
//! are never downloaded. Some promises nobody can keep: of a stage beside the images, `mode=min`
//! and `type=inline` keep the digest and no layer. They serve until something needs the files.

pub mod directory;
mod document;
pub mod export;
pub(crate) mod hearsay;
pub mod inline;
pub mod registry;
mod stored;
pub mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_store::{CacheKey, ContentDigest, SnapshotId, Store};

use crate::engine::Engine;
use crate::filesystem::Filesystem;
use crate::image::bases::Bases;
use crate::image::record::{AbsentLayer, RecordLayer};
use registry::RegistryCache;
pub(crate) use registry::promise;

const LAYERS_AT_ONCE: usize = 4;

/// Where results of other machines are.
#[derive(Debug, Clone)]
pub enum CacheSource {
    /// In a directory.
    Directory(PathBuf),
    /// In a registry.
    Registry(Arc<RegistryCache>),
    /// In the registries of the bases: no results, but layers.
    Bases(Arc<Bases>),
}

impl CacheSource {
    /// How many bytes it takes to keep a promise, if it is one of this source.
    fn promised(&self, snapshot: &SnapshotId) -> Option<u64> {
        match self {
            Self::Directory(_) => None,
            Self::Registry(cache) => cache.promised(snapshot),
            Self::Bases(bases) => bases.promised(snapshot),
        }
    }

    /// Brings the files of a promise into the store.
    fn bring(&self, engine: &Engine<'_>, snapshot: &SnapshotId) -> Option<SnapshotId> {
        match self {
            Self::Directory(_) => None,
            Self::Registry(cache) => cache.bring(engine, snapshot),
            Self::Bases(bases) => bases.bring(engine, snapshot),
        }
    }

    /// How many promises were broken.
    fn broken(&self) -> usize {
        match self {
            Self::Directory(_) => 0,
            Self::Registry(cache) => cache.broken(),
            Self::Bases(bases) => bases.broken(),
        }
    }
}

/// A promise that was not kept: its step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a layer that a cache promised cannot be had")]
pub struct BrokenPromise;

/// Finds what a key stands for; `Some(None)` if it is known to make no layer.
pub(crate) fn find(engine: &Engine<'_>, key: &CacheKey) -> Option<Option<RecordLayer>> {
    let store = engine.store;
    let mut caches = engine.settings.cache_from.iter();
    caches.find_map(|cache| match cache {
        CacheSource::Directory(place) => {
            let record = directory::find(place, store, key)?;
            Some(record.snapshot.map(|snapshot| RecordLayer {
                snapshot,
                content: record.content,
            }))
        }
        CacheSource::Registry(cache) => cache.find(store, key),
        CacheSource::Bases(_) => None,
    })
}

/// The content that a cache says something has whose files no cache has, and which cache says so.
pub(crate) fn said(caches: &[CacheSource], key: &CacheKey) -> Option<(ContentDigest, String)> {
    caches.iter().find_map(|cache| match cache {
        CacheSource::Directory(place) => {
            let content = directory::said(place, key)?;
            Some((content, format!("the cache {}", place.display())))
        }
        CacheSource::Registry(cache) => {
            let content = cache.said(key)?;
            let name = cache.reference().familiar();
            Some((content, format!("the cache {name}")))
        }
        CacheSource::Bases(_) => None,
    })
}

/// The layers of a base, by their files where these are not what a cache had said.
pub(crate) fn corrected(engine: &Engine<'_>, layers: &[RecordLayer]) -> Vec<RecordLayer> {
    let correct =
        |layer: &RecordLayer| bases(engine).find_map(|bases| bases.corrected(&layer.snapshot));
    let layers = layers.iter();
    layers
        .map(|layer| correct(layer).unwrap_or_else(|| layer.clone()))
        .collect()
}

/// Whether no file of a filesystem is a promise.
pub(crate) fn is_here(engine: &Engine<'_>, filesystem: &Filesystem) -> bool {
    promises(engine, [filesystem]).is_empty()
}

/// The same filesystem with all its files here.
pub(crate) fn brought(
    engine: &Engine<'_>,
    filesystem: &Arc<Filesystem>,
) -> Result<Arc<Filesystem>, BrokenPromise> {
    let promises = promises(engine, [filesystem.as_ref()]);
    if promises.is_empty() {
        return Ok(filesystem.clone());
    }
    let kept = bring(engine, promises.into_keys().collect())?;
    Ok(replaced(filesystem, &kept))
}

/// The same filesystem with promises replaced by what they became.
pub(crate) fn replaced(
    filesystem: &Arc<Filesystem>,
    kept: &BTreeMap<SnapshotId, SnapshotId>,
) -> Arc<Filesystem> {
    let mut layers = filesystem.layers.clone();
    for layer in &mut layers {
        if let Some(snapshot) = kept.get(&layer.snapshot) {
            layer.snapshot = *snapshot;
        }
    }
    Arc::new(Filesystem::new(layers))
}

/// The promises in filesystems, each once, with how many bytes it takes to keep it.
pub(crate) fn promises<'a>(
    engine: &Engine<'_>,
    filesystems: impl IntoIterator<Item = &'a Filesystem>,
) -> BTreeMap<SnapshotId, u64> {
    let mut found = BTreeMap::new();
    let caches = &engine.settings.cache_from;
    for layer in filesystems.into_iter().flat_map(|one| &one.layers) {
        let bytes = caches
            .iter()
            .find_map(|cache| cache.promised(&layer.snapshot));
        found.extend(bytes.map(|bytes| (layer.snapshot, bytes)));
    }
    found
}

/// Brings the files of promises, several at once; gives the snapshots that they became.
pub(crate) fn bring(
    engine: &Engine<'_>,
    promises: BTreeSet<SnapshotId>,
) -> Result<BTreeMap<SnapshotId, SnapshotId>, BrokenPromise> {
    let promises: Vec<SnapshotId> = promises.into_iter().collect();
    let next = AtomicUsize::new(0);
    let kept = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..LAYERS_AT_ONCE.min(promises.len()) {
            scope.spawn(|| {
                while let Some(promise) = promises.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut caches = engine.settings.cache_from.iter();
                    let found = caches.find_map(|cache| cache.bring(engine, promise));
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend(found.map(|snapshot| (*promise, snapshot)));
                }
            });
        }
    });
    let kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    match kept.len() == promises.len() {
        true => Ok(kept),
        false => Err(BrokenPromise),
    }
}

/// The layer of a base that is a promise, as it is where it came from.
pub(crate) fn absent(engine: &Engine<'_>, snapshot: &SnapshotId) -> Option<AbsentLayer> {
    bases(engine).find_map(|bases| bases.absent(snapshot))
}

/// Whether nobody knows what one of these layers holds.
pub(crate) fn has_stand_in(engine: &Engine<'_>, layers: &[RecordLayer]) -> bool {
    let mut layers = layers.iter();
    layers.any(|layer| bases(engine).any(|bases| bases.is_stand_in(&layer.snapshot)))
}

fn bases<'a>(engine: &'a Engine<'_>) -> impl Iterator<Item = &'a Arc<Bases>> {
    let sources = engine.settings.cache_from.iter();
    sources.filter_map(|source| match source {
        CacheSource::Bases(bases) => Some(bases),
        _ => None,
    })
}

/// Breaks those of some promises that nobody could keep; says whether there were any.
pub(crate) fn give_up<'a>(
    engine: &Engine<'_>,
    promises: impl IntoIterator<Item = &'a SnapshotId>,
) -> bool {
    let mut any = false;
    for promise in promises {
        for cache in &engine.settings.cache_from {
            if let CacheSource::Registry(cache) = cache {
                any |= cache.give_up(promise);
            }
        }
    }
    any
}

/// How many promises were broken until now: each makes a plan worth making again.
pub(crate) fn broken(engine: &Engine<'_>) -> usize {
    engine
        .settings
        .cache_from
        .iter()
        .map(CacheSource::broken)
        .sum()
}

/// Why the files of a base cannot be had, once that was tried.
pub(crate) fn missing_base(engine: &Engine<'_>, layers: &[RecordLayer]) -> Option<String> {
    bases(engine).find_map(|bases| {
        let mut layers = layers.iter();
        layers.find_map(|layer| bases.failure(&layer.snapshot))
    })
}

/// What was unpacked, if it is what was promised.
fn believed(store: &Store, snapshot: SnapshotId, content: &ContentDigest) -> Option<SnapshotId> {
    if store.snapshot_content(&snapshot).ok()? == *content {
        return Some(snapshot);
    }
    let _ = store.discard_snapshot(&snapshot);
    None
}
