//! Results of steps in a directory, for another machine: `--cache-to` and `--cache-from`.
//!
//! ```text
//! entries/<key>         what a step with this key gave, as JSON: content, layer, what entered the key
//! blobs/sha256/<hex>    layers, as tars compressed with zstd
//! ```
//!
//! A key is made of content, so an entry holds on any machine. Entries are looked up one by one as
//! a build asks for them, and only their layers are read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cairn_oci::{Compression, Digest};
use cairn_store::{CacheKey, CacheRecord, ContentDigest, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::{believed, hearsay};

/// After all times: those that say only when a step made a file stand at it, and are new again
/// where the layer is unpacked; the others stay as they are.
pub(super) const NO_EPOCH: i64 = i64::MAX;

/// What a step gave.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    content: ContentDigest,
    /// Its layer; `None` for a step that changed nothing.
    layer: Option<Digest>,
    created: i64,
    cost_ms: u64,
    description: String,
    inputs: Vec<(String, String)>,
}

/// Why a cache cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LocalCacheError {
    /// A file of it cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes what the store knows of some keys. Entries that are there already stay, unless they say
/// something that is known to be otherwise; what a cache said and nobody checked is not written.
pub fn save(
    directory: &Path,
    store: &Store,
    keys: impl IntoIterator<Item = CacheKey>,
) -> Result<(), LocalCacheError> {
    let blobs = directory.join("blobs/sha256");
    let entries = directory.join("entries");
    for part in [&blobs, &entries] {
        fs::create_dir_all(part).map_err(write_error(part))?;
    }
    for key in keys {
        let path = entries.join(key.hex());
        let Some(record) = store.get_record(&key) else {
            continue;
        };
        let is_kept = match said(directory, &key) {
            Some(content) => !hearsay::knows_better(&record, &content),
            None => path.exists(),
        };
        if is_kept || hearsay::said_by(&record).is_some() {
            continue;
        }
        let layer = match record.snapshot {
            Some(snapshot) => {
                let zstd = Compression::Zstd;
                let layer = store.export_layer(&snapshot, NO_EPOCH, zstd)?.descriptor;
                let blob = blobs.join(layer.digest.hex());
                if !blob.exists() {
                    let from = store.blob_path(&layer.digest);
                    put(&blob, |to| fs::copy(from, to).map(drop))?;
                }
                Some(layer.digest)
            }
            None => None,
        };
        let entry = Entry {
            content: record.content,
            layer,
            created: record.created,
            cost_ms: record.cost_ms,
            description: record.description,
            inputs: record.inputs,
        };
        let text = serde_json::to_vec(&entry).unwrap_or_default();
        put(&path, |to| fs::write(to, text))?;
    }
    Ok(())
}

/// The content that a key without a layer is said to have.
pub(super) fn said(directory: &Path, key: &CacheKey) -> Option<ContentDigest> {
    let entry = entry(directory, key)?;
    entry.layer.is_none().then_some(entry.content)
}

fn entry(directory: &Path, key: &CacheKey) -> Option<Entry> {
    let text = fs::read(directory.join("entries").join(key.hex())).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Finds a key in a cache and takes what it stands for into the store.
pub(crate) fn find(directory: &Path, store: &Store, key: &CacheKey) -> Option<CacheRecord> {
    let entry = entry(directory, key)?;
    let snapshot = match &entry.layer {
        Some(layer) => {
            let blob = directory.join("blobs/sha256").join(layer.hex());
            let unpacked = store.unpack_layer(File::open(blob).ok()?).ok()?;
            Some(believed(store, unpacked, &entry.content)?)
        }
        None => None,
    };
    let record = CacheRecord {
        key: *key,
        snapshot,
        content: entry.content,
        created: entry.created,
        cost_ms: entry.cost_ms,
        description: entry.description,
        inputs: entry.inputs,
    };
    store.put_record(&record).ok()?;
    Some(record)
}

/// Writes a file so that it appears at once and whole: others may write the same.
fn put(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), LocalCacheError> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    write(&unfinished)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(write_error(path))
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> LocalCacheError {
    let path = path.to_owned();
    move |source| LocalCacheError::Write { path, source }
}
