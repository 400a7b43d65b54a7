//! The journal of a switch: what is being moved, in the store, while it is being moved.

use cairn_oci::{Descriptor, MediaType};
use cairn_store::{KeyHasher, Store, StoreError, WorkLock};

use super::Means;
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
pub(crate) fn remove(store: &Store, stack: &str) -> Result<(), StoreError> {
    store.remove_ref(&name(stack)).map(|_| ())
}

fn name(stack: &str) -> String {
    format!("cairn:journal/{stack}")
}
