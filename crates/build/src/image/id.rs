//! The id of an image: what people see of it and what scripts keep of it.
//!
//! Docker's id is the digest of the config, which needs the digests of packed layers; here layers
//! are packed only when an image leaves. So the id is a digest of what the config says, with each
//! layer's content in place of its tar: equal in every store, for every user, and before and after
//! an image was packed, exported and loaded. It differs where docker's would: by settings, labels,
//! times and history, not by names and annotations.
//!
//! The record of an image cannot serve: it names snapshots, which are called otherwise elsewhere.
//! Which record has an id is remembered like a result of a step; what is forgotten is made again
//! by a build.

use cairn_oci::{Descriptor, Digest, History, Platform, RunConfig};
use cairn_store::{CacheKey, CacheRecord, ContentDigest, KeyHasher, Store, StoreError};
use serde::Serialize;

use super::record::{ImageRecord, MEDIA_TYPE};

/// The input of the remembered record that holds the digest.
const RECORD: &str = "record";

/// What an id covers, in this order.
#[derive(Serialize)]
struct Identity<'a> {
    platform: &'a Platform,
    config: &'a RunConfig,
    author: &'a Option<String>,
    epoch: i64,
    epoch_is_given: bool,
    layers: Vec<&'a ContentDigest>,
    history: &'a [History],
}

impl ImageRecord {
    /// The image's id.
    pub fn id(&self) -> Digest {
        let identity = Identity {
            platform: &self.platform,
            config: &self.config,
            author: &self.author,
            epoch: self.epoch,
            epoch_is_given: self.epoch_is_given,
            layers: self.layers.iter().map(|layer| &layer.content).collect(),
            history: &self.history,
        };
        Digest::sha256(&serde_json::to_vec(&identity).expect("strings and numbers are JSON"))
    }

    /// Finds an image by its whole id, whether it has a name or not.
    pub fn find_by_id(store: &Store, id: &Digest) -> Result<Option<Self>, StoreError> {
        let known = store.get_record(&key(id));
        let digest = known.as_ref().and_then(remembered);
        match digest.filter(|digest| store.has_blob(digest)) {
            Some(digest) => Self::read(store, &Descriptor::new(MEDIA_TYPE, digest, 0)).map(Some),
            None => Ok(None),
        }
    }

    /// Remembers which record has this image's id; writes only what is new.
    pub(super) fn remember_id(&self, store: &Store, record: &Digest) -> Result<(), StoreError> {
        let id = self.id();
        let key = key(&id);
        let known = store.get_record(&key);
        if known.as_ref().and_then(remembered).as_ref() == Some(record) {
            return Ok(());
        }
        store.put_record(&CacheRecord {
            key,
            snapshot: None,
            content: self.content(),
            created: self.epoch,
            cost_ms: 0,
            description: format!("image {id}"),
            inputs: vec![(RECORD.to_owned(), record.to_string())],
        })
    }
}

fn key(id: &Digest) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn image id");
    hasher.field("id", id.as_str());
    hasher.finish_key()
}

fn remembered(known: &CacheRecord) -> Option<Digest> {
    let (_, digest) = known.inputs.iter().find(|(name, _)| name == RECORD)?;
    digest.parse().ok()
}
