//! The journal of a switch: what is being moved, in the store, while it is being moved.
//!
//! A rollback is asked for as "one step back", so doing it twice is not doing it again. It stays in
//! the journal, as one that is done, until somebody was told: who asks for the same again hears what
//! it did, and no second step is taken.

use cairn_oci::{Descriptor, MediaType};
use cairn_store::{KeyHasher, Store, StoreError, WorkLock};

use super::Means;
use super::generation::{Action, LogEntry};
use super::switch::Switch;

const JOURNAL: &str = "application/vnd.cairn.journal.v2+json";

/// Waits for the right to move the tags of a stack by the means of this store: the journal is one
/// for all its processes. `None` if the caller is stopped before.
pub fn turn(means: Means<'_>, stack: &str) -> Result<Option<WorkLock>, StoreError> {
    let mut hasher = KeyHasher::new("cairn publish");
    hasher.field("stack", stack);
    let key = hasher.finish_key();
    let mut keep_waiting = || !(means.watch.is_stopped)();
    means.store.lock_work(&key, &mut keep_waiting)
}

/// A switch of the stack that did not come to its end.
pub fn pending(store: &Store, stack: &str) -> Result<Option<Switch>, StoreError> {
    Ok(read(store, stack)?.filter(|switch| !switch.is_done))
}

/// A rollback of the stack that came to its end, and nobody was told.
pub fn untold(store: &Store, stack: &str) -> Result<Option<Switch>, StoreError> {
    Ok(read(store, stack)?.filter(|switch| switch.is_done))
}

/// Somebody was told of what was done, or does something else now.
pub fn forget_done(store: &Store, stack: &str) -> Result<(), StoreError> {
    match untold(store, stack)? {
        Some(_) => remove(store, stack),
        None => Ok(()),
    }
}

fn read(store: &Store, stack: &str) -> Result<Option<Switch>, StoreError> {
    let Some(descriptor) = store.get_ref(&name(stack))? else {
        return Ok(None);
    };
    let bytes = store.read_blob(&descriptor.digest)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(StoreError::decode)
}

/// Writes a switch down, durably, with everything that was written to the store before.
pub(crate) fn put(store: &Store, switch: &Switch) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(switch).map_err(StoreError::encode)?;
    let digest = store.put_blob_bytes(&bytes)?;
    let kind = MediaType::from(JOURNAL.to_owned());
    let descriptor = Descriptor::new(kind, digest, bytes.len() as u64);
    store.publish(&[(name(&switch.stack), descriptor)])
}

/// The switch came to its end.
pub(crate) fn end(store: &Store, switch: &Switch) -> Result<(), StoreError> {
    let is_step = |entry: &LogEntry| entry.action == Action::Rollback;
    match switch.entries.iter().any(is_step) {
        true => put(
            store,
            &Switch {
                is_done: true,
                ..switch.clone()
            },
        ),
        false => remove(store, &switch.stack),
    }
}

/// Nothing is left of the switch.
pub(crate) fn remove(store: &Store, stack: &str) -> Result<(), StoreError> {
    store.remove_ref(&name(stack)).map(|_| ())
}

fn name(stack: &str) -> String {
    format!("cairn:journal/{stack}")
}
