//! What the layers of bases hold, remembered under their DiffIds.
//!
//! What files told here is so. What a cache says is noted with the cache's name: it serves like the
//! other, is checked when the files come, and is passed on to no cache.

use cairn_oci::DiffId;
use cairn_store::{
    CONTENT_FORMAT, CacheKey, CacheRecord, ContentDigest, KeyHasher, Store, StoreError,
};

use crate::cache::{self, CacheSource, hearsay};

/// The content of a layer, and who says so; nobody where its files were here.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) content: ContentDigest,
    pub(super) by: Option<String>,
}

/// What is known of a layer whose files are not here.
pub(super) fn told(
    store: &Store,
    caches: &[CacheSource],
    diff_id: &DiffId,
) -> Result<Option<Told>, StoreError> {
    let key = content_key(diff_id);
    if let Some(record) = store.get_record(&key) {
        return Ok(Some(Told {
            content: record.content,
            by: hearsay::said_by(&record).map(str::to_owned),
        }));
    }
    let Some((content, by)) = cache::said(caches, &key) else {
        return Ok(None);
    };
    put(store, diff_id, content, hearsay::note(&by))?;
    let by = Some(by);
    Ok(Some(Told { content, by }))
}

/// Remembers what the files of a layer told.
pub(super) fn remember(
    store: &Store,
    diff_id: &DiffId,
    content: ContentDigest,
) -> Result<(), StoreError> {
    let known = store.get_record(&content_key(diff_id));
    let is_known =
        |known: CacheRecord| known.content == content && hearsay::said_by(&known).is_none();
    if known.is_some_and(is_known) {
        return Ok(());
    }
    put(store, diff_id, content, Vec::new())
}

fn put(
    store: &Store,
    diff_id: &DiffId,
    content: ContentDigest,
    inputs: Vec<(String, String)>,
) -> Result<(), StoreError> {
    store.put_record(&CacheRecord {
        key: content_key(diff_id),
        snapshot: None,
        content,
        created: 0,
        cost_ms: 0,
        description: format!("layer {}", diff_id.0),
        inputs,
    })
}

/// The key under which the content of a layer is remembered: in caches, too, so that what an older
/// way of digesting gave is not found.
pub(super) fn content_key(diff_id: &DiffId) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn content of a layer");
    hasher.field("format", CONTENT_FORMAT);
    hasher.field("diff id", diff_id.0.as_str());
    hasher.finish_key()
}
