//! What references lead to.
//!
//! Documents are not interpreted: any string in a JSON blob that is the digest of a blob or the
//! name of a snapshot here counts as a reference to it. That can keep too much, never too little,
//! and it holds for documents that were not thought of yet.

use std::collections::BTreeSet;

use cairn_oci::Digest;
use serde_json::Value;

use super::inventory::{Inventory, RecordKind};
use crate::SnapshotId;
use crate::blob::DOCUMENT_SIZE_MAX;
use crate::error::StoreError;
use crate::store::Store;

/// What references lead to.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) blobs: BTreeSet<Digest>,
    pub(crate) snapshots: BTreeSet<SnapshotId>,
}

pub(crate) fn from_references(
    store: &Store,
    inventory: &Inventory,
) -> Result<Reachable, StoreError> {
    let mut reachable = Reachable::default();
    let mut waiting: Vec<Digest> = Vec::new();
    waiting.extend(
        inventory
            .refs
            .iter()
            .map(|(_, target)| target.digest.clone()),
    );
    while let Some(digest) = waiting.pop() {
        if !inventory.blobs.contains_key(&digest) || !reachable.blobs.insert(digest.clone()) {
            continue;
        }
        if let Some(document) = read_document(store, inventory, &digest)? {
            let mut names = Names::default();
            names.gather(&document);
            waiting.extend(names.blobs);
            reachable.snapshots.extend(names.snapshots);
        }
    }
    reachable
        .snapshots
        .retain(|snapshot| inventory.snapshots.contains_key(snapshot));
    // An image that holds an imported layer must stay able to go out as it came.
    for record in &inventory.records {
        let is_pinned = record
            .snapshot
            .is_some_and(|of| reachable.snapshots.contains(&of));
        if is_pinned && record.kind == RecordKind::Imported {
            reachable.blobs.extend(record.blobs.iter().cloned());
        }
    }
    Ok(reachable)
}

/// A blob's JSON, if it is a document and whole. Layers are told by their first byte.
fn read_document(
    store: &Store,
    inventory: &Inventory,
    digest: &Digest,
) -> Result<Option<Value>, StoreError> {
    let is_small = inventory
        .blobs
        .get(digest)
        .is_some_and(|blob| blob.bytes <= DOCUMENT_SIZE_MAX);
    if !is_small || !begins_with_brace(store, digest) {
        return Ok(None);
    }
    match store.read_blob(digest) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(StoreError::BlobDamaged { .. } | StoreError::BlobMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn begins_with_brace(store: &Store, digest: &Digest) -> bool {
    use std::io::Read;
    let mut first = [0];
    let read =
        std::fs::File::open(store.blob_path(digest)).and_then(|mut file| file.read(&mut first));
    read.is_ok_and(|count| count == 1) && matches!(first[0], b'{' | b'[' | b' ' | b'\n' | b'\t')
}

#[derive(Debug, Default)]
struct Names {
    blobs: Vec<Digest>,
    snapshots: Vec<SnapshotId>,
}

impl Names {
    fn gather(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.take(text),
            Value::Array(values) => values.iter().for_each(|value| self.gather(value)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.take(name);
                    self.gather(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn take(&mut self, text: &str) {
        if let Ok(digest) = text.parse() {
            self.blobs.push(digest);
        } else if let Ok(snapshot) = text.parse() {
            self.snapshots.push(snapshot);
        }
    }
}
