//! `--squash`: the layers that a build put on its base become one.

use cairn_store::{Store, StoreError};

use super::record::{ImageRecord, RecordLayer, chain};

/// Makes one layer of those above the lowest `below`. The last `own` entries of the history are
/// of this build; the last of them that stood for a layer stands for the one.
pub fn squash(
    store: &Store,
    record: &mut ImageRecord,
    below: usize,
    own: usize,
) -> Result<(), StoreError> {
    if record.layers.len() < below + 2 {
        return Ok(());
    }
    let snapshots = record.snapshots();
    let (lower, upper) = snapshots.split_at(below);
    let merged = store.merge_snapshots(lower, upper)?;
    let content = store.snapshot_content(&merged)?;
    let base = chain(record.layers[..below].iter().map(|layer| &layer.content));
    let snapshot = match store.find_equal(&base, &content) {
        Some(earlier) => {
            store.discard_snapshot(&merged)?;
            earlier
        }
        None => {
            store.put_equal(&base, &content, &merged)?;
            merged
        }
    };
    record.layers.truncate(below);
    record.layers.push(RecordLayer { snapshot, content });
    let inherited = record.history.len().saturating_sub(own);
    let stood = record.history[inherited..].iter_mut();
    for (number, entry) in stood.rev().filter(|entry| !entry.empty_layer).enumerate() {
        entry.empty_layer = number > 0;
    }
    Ok(())
}
