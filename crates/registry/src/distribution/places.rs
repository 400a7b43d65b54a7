//! Where blobs are besides the store: in other repositories of the registry that something goes to, and
//! at registries that they can be fetched from.

use std::collections::BTreeMap;

use cairn_oci::{Descriptor, Digest, Reference};
use cairn_store::{KeyHasher, Store};

use super::client::RegistryClient;
use super::error::RegistryError;
use super::options::Watch;

/// Where blobs are that are to be in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    known: BTreeMap<Digest, Vec<String>>,
    homes: BTreeMap<Digest, Vec<Reference>>,
}

impl Places {
    /// None is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A repository of the registry probably has a blob.
    pub fn add(&mut self, digest: &Digest, repository: &str) {
        let known = self.known.entry(digest.clone()).or_default();
        if !known.iter().any(|place| place == repository) {
            known.push(repository.to_owned());
        }
    }

    /// A repository of the registry is sure to have a blob: it is asked before all others.
    pub fn add_first(&mut self, digest: &Digest, repository: &str) {
        let known = self.known.entry(digest.clone()).or_default();
        known.retain(|place| place != repository);
        known.insert(0, repository.to_owned());
    }

    /// A blob can be fetched there, if the store does not have it.
    pub fn add_home(&mut self, digest: &Digest, home: &Reference) {
        let homes = self.homes.entry(digest.clone()).or_default();
        if !homes.contains(home) {
            homes.push(home.clone());
        }
    }

    /// The repositories of the registry that probably have a blob.
    pub(super) fn of(&self, digest: &Digest) -> &[String] {
        self.known.get(digest).map_or(&[], Vec::as_slice)
    }

    fn homes(&self, digest: &Digest) -> &[Reference] {
        self.homes.get(digest).map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<(Digest, Vec<String>)> for Places {
    fn from_iter<I: IntoIterator<Item = (Digest, Vec<String>)>>(known: I) -> Self {
        Self {
            known: known.into_iter().collect(),
            homes: BTreeMap::new(),
        }
    }
}

impl RegistryClient {
    /// Makes sure that the store has a blob, from the first of its homes that gives it. Where several
    /// registries want it at once, it is fetched once.
    pub(super) fn bring_home(
        &self,
        store: &Store,
        blob: &Descriptor,
        places: &Places,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        let homes = places.homes(&blob.digest);
        if homes.is_empty() || store.has_blob(&blob.digest) {
            return Ok(());
        }
        let mut hasher = KeyHasher::new("cairn blob on its way");
        hasher.field("digest", blob.digest.as_str());
        let turn = store.lock_work(&hasher.finish_key(), &mut || !(watch.is_stopped)())?;
        let mut failure = None;
        for home in homes {
            match self.fetch_blob(store, home, blob, watch) {
                Ok(()) => {
                    failure = None;
                    break;
                }
                Err(error) => {
                    let is_cancelled = error.is_cancelled();
                    failure = Some(error);
                    if is_cancelled {
                        break;
                    }
                }
            }
        }
        drop(turn);
        failure.map_or(Ok(()), Err)
    }
}
