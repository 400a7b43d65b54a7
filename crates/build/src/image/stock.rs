//! What clients pushed to the store's registry: beside its images, and not images of it.
//!
//! ```text
//! cairn:served/<repository>   a document: tags, manifests and blobs of the repository
//! ```
//!
//! Everything that a document names is kept by collection. It is written when a manifest arrives;
//! blobs that no manifest followed yet are known to the running server only, and written down when
//! it ends. Two servers of one store take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_oci::{Descriptor, Digest};
use cairn_registry::serve::{Incoming, Intake, IntakeError, Item, Removed, ShelfError};
use cairn_store::{BlobWriter, KeyHasher, Store, StoreError};
use serde::{Deserialize, Serialize};

const MEDIA_TYPE: &str = "application/vnd.cairn.repository.v1+json";
const PREFIX: &str = "cairn:served/";

/// What clients pushed into one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repository {
    /// What each tag means.
    pub(super) tags: BTreeMap<String, Digest>,
    /// Its manifests.
    pub(super) manifests: BTreeMap<Digest, Entry>,
    /// Its blobs.
    pub(super) blobs: BTreeSet<Digest>,
}

/// A manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) descriptor: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Digest>,
}

impl Repository {
    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty() && self.blobs.is_empty()
    }

    fn remove(&mut self, item: Item<'_>) -> bool {
        match item {
            Item::Tag(tag) => self.tags.remove(tag).is_some(),
            Item::Blob(digest) => self.blobs.remove(digest),
            Item::Manifest(digest) => {
                self.tags.retain(|_, meant| meant != digest);
                self.manifests.remove(digest).is_some()
            }
        }
    }
}

/// All repositories that clients pushed into.
#[derive(Debug)]
pub(super) struct Repositories {
    store: Store,
    /// Blobs that no manifest followed yet, by repository.
    pending: Mutex<BTreeMap<String, BTreeSet<Digest>>>,
}

impl Repositories {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            pending: Mutex::default(),
        }
    }

    /// The names of all, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let refs = self.store.list_refs()?.into_iter();
        let names = refs.filter_map(|(name, _)| name.strip_prefix(PREFIX).map(str::to_owned));
        Ok(names.collect())
    }

    /// One of them, with the blobs that are not written down yet.
    pub(super) fn open(&self, name: &str) -> Result<Option<Repository>, StoreError> {
        let mut found = self.read(name)?;
        if let Some(blobs) = self.lock().get(name) {
            let repository = found.get_or_insert_default();
            repository.blobs.extend(blobs.iter().cloned());
        }
        Ok(found)
    }

    /// Begins a blob.
    pub(super) fn begin(&self) -> Result<Box<dyn Intake>, ShelfError> {
        Ok(Box::new(Bytes(self.store.blob_writer()?)))
    }

    /// Makes a blob of the store a repository's.
    pub(super) fn add_blob(&self, name: &str, digest: &Digest) {
        let mut pending = self.lock();
        let blobs = pending.entry(name.to_owned()).or_default();
        blobs.insert(digest.clone());
    }

    /// Takes a manifest; what it names is the repository's.
    pub(super) fn add_manifest(
        &self,
        name: &str,
        tags: &[&str],
        manifest: Incoming,
    ) -> Result<(), StoreError> {
        let Incoming {
            document, subject, ..
        } = manifest;
        let descriptor = document.descriptor;
        let digest = descriptor.digest.clone();
        self.store
            .put_blob(Some(&digest), &mut document.bytes.as_slice())?;
        let blobs = self.lock().remove(name).unwrap_or_default();
        self.update(name, |repository| {
            repository.blobs.extend(blobs);
            for tag in tags {
                repository.tags.insert((*tag).to_owned(), digest.clone());
            }
            let entry = Entry {
                descriptor,
                subject,
            };
            repository.manifests.insert(digest, entry);
        })
    }

    /// Takes something out of a repository.
    pub(super) fn remove(&self, name: &str, item: Item<'_>) -> Result<Removed, StoreError> {
        let was_pending = match item {
            Item::Blob(digest) => {
                let mut pending = self.lock();
                pending
                    .get_mut(name)
                    .is_some_and(|blobs| blobs.remove(digest))
            }
            Item::Tag(_) | Item::Manifest(_) => false,
        };
        let mut was_there = was_pending;
        if self.read(name)?.is_some() {
            self.update(name, |repository| was_there |= repository.remove(item))?;
        }
        Ok(match was_there {
            true => Removed::Gone,
            false => Removed::Absent,
        })
    }

    /// Writes down what only this process knows.
    pub(super) fn keep_pending(&self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut *self.lock());
        for (name, blobs) in pending {
            self.update(&name, |repository| repository.blobs.extend(blobs))?;
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Repository>, StoreError> {
        let Some(descriptor) = self.store.get_ref(&format!("{PREFIX}{name}"))? else {
            return Ok(None);
        };
        let bytes = self.store.read_blob(&descriptor.digest)?;
        let read = serde_json::from_slice(&bytes).map_err(StoreError::decode)?;
        Ok(Some(read))
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut Repository)) -> Result<(), StoreError> {
        let key = KeyHasher::new("cairn served")
            .field("name", name)
            .finish_key();
        let _turn = self.store.lock_work(&key, &mut || true)?;
        let before = self.read(name)?;
        let mut repository = before.clone().unwrap_or_default();
        change(&mut repository);
        if before.as_ref() == Some(&repository) {
            return Ok(());
        }
        let reference = format!("{PREFIX}{name}");
        if repository.is_empty() {
            return self.store.remove_ref(&reference).map(drop);
        }
        let bytes = serde_json::to_vec(&repository).map_err(StoreError::encode)?;
        let digest = self.store.put_blob_bytes(&bytes)?;
        let descriptor = Descriptor::new(MEDIA_TYPE, digest, bytes.len() as u64);
        self.store.publish(&[(reference, descriptor)])
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<Digest>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob on its way into the store.
struct Bytes(BlobWriter);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Intake for Bytes {
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), IntakeError> {
        match self.0.finish(Some(digest)) {
            Ok(_) => Ok(()),
            Err(StoreError::DigestMismatch { found, .. }) => Err(IntakeError::Mismatch { found }),
            Err(error) => Err(IntakeError::Shelf(error.into())),
        }
    }
}
