//! References to what they mean: the one place where names of images become content.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cairn_oci::{Digest, History, Platform, RunConfig};
use cairn_store::{ContentDigest, SnapshotId};

use crate::image::record::RecordLayer;

/// An image from outside the run, read from the store.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// The name it was found by.
    pub name: String,
    /// The platform it is for.
    pub platform: Platform,
    /// Its settings.
    pub config: RunConfig,
    /// Its author.
    pub author: Option<String>,
    /// Its history, with exactly one layer-bearing entry per layer.
    pub history: Vec<History>,
    /// Its layers from the bottom up.
    pub layers: Vec<RecordLayer>,
    /// The digest of its filesystem's content.
    pub content: ContentDigest,
    /// Those of its layers whose content is only said to be so: two bases of which the same is said
    /// need not be the same.
    pub promised: Vec<SnapshotId>,
    /// The digest that its registry or its layout knows it by; an image that was built here has
    /// none before it is packed.
    pub digest: Option<Digest>,
    /// The name that was given to an image of a layout.
    pub layout_of: Option<String>,
}

impl PartialEq for BaseImage {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content && self.promised == other.promised
    }
}

impl Eq for BaseImage {}

impl Hash for BaseImage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.content.hash(state);
        self.promised.hash(state);
    }
}

/// A base to be assembled from exactly these packages.
#[derive(Debug, Clone)]
pub struct DebianBase {
    /// What people read as its instruction.
    pub title: String,
    /// The packages.
    pub lock: Arc<cairn_debian::Lock>,
    /// Mirrors to ask beside the lock's own.
    pub mirrors: Vec<String>,
    /// The digest of all that the assembled files depend on.
    pub identity: ContentDigest,
}

impl DebianBase {
    /// A base of locked packages.
    pub fn new(lock: Arc<cairn_debian::Lock>, mirrors: Vec<String>) -> Self {
        let mut title = format!("debian {} ({} packages", lock.suite, lock.packages.len());
        if !lock.requested.is_empty() {
            title = format!("{title}: {}", lock.requested.join(" "));
        }
        title.push(')');
        Self {
            title,
            identity: lock.identity(),
            lock,
            mirrors,
        }
    }
}

impl PartialEq for DebianBase {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for DebianBase {}

impl Hash for DebianBase {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

/// Where external images come from.
pub trait ImageSource {
    /// Finds an image by the reference people wrote, for a platform.
    fn open(&self, reference: &str, platform: &Platform) -> Result<Arc<BaseImage>, ResolveError>;
}

/// Why a name means nothing.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not a reference at all.
    #[error("invalid reference format: `{reference}`")]
    Invalid {
        /// What was written.
        reference: String,
    },
    /// Not in the store.
    #[error("image `{reference}` is not in the store")]
    Unknown {
        /// What was asked for.
        reference: String,
        /// Names in the store that look like it.
        near: Vec<String>,
    },
    /// Not in the store, and its registry must not be asked.
    #[error("image `{reference}` is not in the store, and `--offline` forbids to pull it")]
    Offline {
        /// What was asked for.
        reference: String,
        /// Names in the store that look like it.
        near: Vec<String>,
    },
    /// Not in the store, and not to be had from its registry.
    #[error("image `{reference}` is not in the store, and cannot be pulled: {}", whole(source.as_ref()))]
    Pull {
        /// What was asked for.
        reference: String,
        /// Names in the store that look like it.
        near: Vec<String>,
        /// Why not.
        source: Arc<cairn_registry::RegistryError>,
    },
    /// It must be signed, and is not.
    #[error("image `{reference}` is not used: {reason}")]
    Untrusted {
        /// What was asked for.
        reference: String,
        /// What is missing.
        reason: String,
        /// What can be done.
        advice: &'static str,
    },
    /// The store failed.
    #[error("cannot read image `{reference}`")]
    Store {
        /// What was asked for.
        reference: String,
        /// What happened.
        source: cairn_store::StoreError,
    },
}

/// An error with its causes on one line, each told once.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
