//! Images from outside a run: found in the store, or pulled from their registries.
//!
//! A name means the same image for a whole run. In this order: the digest that the lock gives, the
//! image that the store has under that very name, what the registry says now. What was pulled is
//! in the store under a name of its own, so that the next run finds it without asking anybody:
//! under the name itself if a tag was pulled, under its manifest's digest if a digest was.
//!
//! Documents are enough where the content of all layers is known (see [`super::bases`]): then files
//! are fetched by what needs them. Else the whole image is pulled, unless nothing will be run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use cairn_oci::{Digest, Platform, Reference};
use cairn_registry::{RegistryClient, RegistryError, Watch};
use cairn_sandbox::Cancel;
use cairn_store::{Store, StoreError};

use super::bases::Bases;
use super::known_base::KnownBase;
use super::obtain::Obtained;
use super::record::ImageRecord;
use super::source::{StoreImages, base_image};
use super::trust::{SIGN_ADVICE, Trust};
use crate::cache::CacheSource;
use crate::event::{Event, EventSink};
use crate::resolve::{BaseImage, ImageSource, ResolveError, whole};

const NAMES_AT_ONCE: usize = 4;

/// Whether registries are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// For what the store and the lock do not have.
    Missing,
    /// For what every name from outside means now.
    Always,
    /// Never.
    Never,
}

/// The images from outside a run.
pub struct Externals<'a> {
    /// Holds what was pulled.
    pub store: &'a Store,
    /// Asks registries.
    pub client: &'a RegistryClient,
    /// The platform of the run.
    pub platform: &'a Platform,
    /// Whether registries are asked.
    pub policy: PullPolicy,
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// Hears what is pulled.
    pub events: &'a dyn EventSink,
    /// What could not be pulled: it is not tried twice in a run.
    pub failures: &'a PullFailures,
    /// Which of them must be signed.
    pub trust: &'a Trust,
    /// Those whose files need not be here.
    pub bases: &'a Bases,
    /// Where the content of layers may be known.
    pub caches: &'a [CacheSource],
    /// Whether files are fetched to know their content: not for what only looks.
    pub fetches: bool,
}

/// What could not be pulled in a run, and why.
#[derive(Debug, Default)]
pub struct PullFailures {
    known: Mutex<HashMap<Wanted, Arc<RegistryError>>>,
}

impl PullFailures {
    /// Whether a registry failed, rather than not having what was asked for.
    pub fn has_trouble(&self) -> bool {
        let is_trouble = |failure: &Arc<RegistryError>| {
            matches!(**failure, RegistryError::Request { .. }) && !failure.is_missing()
        };
        self.lock().values().any(is_trouble)
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Wanted, Arc<RegistryError>>> {
        self.known.lock().expect("no panics while held")
    }
}

pub(super) type Wanted = (String, Platform);

/// What the name of an image from outside has come to.
#[derive(Debug, Clone)]
pub enum Settled {
    /// This digest, and the store has the image.
    At(Digest),
    /// Another digest than the lock's, which cannot be had.
    Moved(Digest),
    /// An image without a manifest, or none: there is nothing to lock.
    Open,
    /// The registry was to be asked and did not answer well.
    Failed(Arc<RegistryError>),
}

impl Externals<'_> {
    /// Decides what names mean, several at a time; see [`Externals::settle`].
    pub fn settle_all(
        &self,
        names: &[(String, Option<Digest>)],
        renews: bool,
    ) -> Result<Vec<Settled>, StoreError> {
        let mut settled = Vec::new();
        for few in names.chunks(NAMES_AT_ONCE) {
            let done: Vec<_> = thread::scope(|scope| {
                let begun: Vec<_> = few
                    .iter()
                    .map(|(name, locked)| {
                        scope.spawn(move || self.settle(name, locked.as_ref(), renews))
                    })
                    .collect();
                let ended = begun.into_iter().map(|one| {
                    one.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                });
                ended.collect()
            });
            for one in done {
                settled.push(one?);
            }
        }
        Ok(settled)
    }

    /// Decides what a name means, and knows the image afterwards if it can be had.
    ///
    /// `renews` asks the registry anew for what came from one; what was loaded by hand stays.
    pub fn settle(
        &self,
        name: &str,
        locked: Option<&Digest>,
        renews: bool,
    ) -> Result<Settled, StoreError> {
        let Ok(reference) = name.parse::<Reference>() else {
            return Ok(Settled::Open);
        };
        let known = self.in_store(&reference, self.platform)?;
        let is_loaded = known.as_ref().is_some_and(|record| record.pulled.is_none());
        let asks = match self.policy {
            PullPolicy::Always => true,
            PullPolicy::Missing => renews && !is_loaded,
            PullPolicy::Never => false,
        };
        if asks && reference.digest().is_none() {
            return self.renewed(&reference);
        }
        if let (true, Some(record)) = (renews, &known) {
            return Ok(settled(record));
        }
        if let Some(locked) = locked {
            let pinned = reference.with_digest(locked.clone());
            if self.have(&pinned, false)?.is_some() {
                return Ok(Settled::At(locked.clone()));
            }
            // The failure is told where the image is used, unless the name has another image.
            return Ok(match known.as_ref().and_then(digest_of) {
                Some(found) => Settled::Moved(found),
                None => Settled::At(locked.clone()),
            });
        }
        if let Some(record) = known {
            return Ok(settled(&record));
        }
        Ok(self.have(&reference, true)?.unwrap_or(Settled::Open))
    }

    /// What the registry has under a name now.
    fn renewed(&self, reference: &Reference) -> Result<Settled, StoreError> {
        let watch = Watch {
            is_stopped: &|| self.cancel.is_cancelled(),
            moved: &|_| {},
        };
        // Where it gives none, its manifest is asked for below, for an answer in words.
        if let Ok(Some(now)) = self.client.look_up(reference, watch) {
            let pinned = reference.with_digest(now.digest.clone());
            if let Some(record) = self.in_store(&pinned, self.platform)? {
                record.save(self.store, &[reference.to_string()])?;
                return Ok(Settled::At(now.digest));
            }
        }
        match self.obtain(reference, self.platform, &[reference.to_string()]) {
            Ok(obtained) => Ok(settled(obtained.record())),
            Err(failure) => Ok(Settled::Failed(failure)),
        }
    }

    /// What an image is that the store has or that is known, asking its registry if that may be.
    fn have(&self, reference: &Reference, moves_name: bool) -> Result<Option<Settled>, StoreError> {
        if let Some(record) = self.in_store(reference, self.platform)? {
            return Ok(Some(settled(&record)));
        }
        if let Some(base) = self.known(reference, self.platform)? {
            return Ok(Some(settled(&base.record)));
        }
        if self.policy == PullPolicy::Never {
            return Ok(None);
        }
        let names: Vec<String> = match moves_name && reference.digest().is_none() {
            true => vec![reference.to_string()],
            false => Vec::new(),
        };
        let obtained = self.obtain(reference, self.platform, &names).ok();
        Ok(obtained.map(|obtained| settled(obtained.record())))
    }

    /// Refuses an image of the store that is not signed as it must be: the rules may be younger.
    fn check(&self, reference: &Reference, record: &ImageRecord) -> Result<(), ResolveError> {
        let watch = Watch {
            is_stopped: &|| self.cancel.is_cancelled(),
            moved: &|_| {},
        };
        let client = (self.policy != PullPolicy::Never).then_some(self.client);
        let pulled = record.pulled.as_ref();
        let digest = pulled.and_then(|from| from.digest());
        let checked = self
            .trust
            .check(self.store, client, reference, digest, watch);
        checked.map_err(|reason| ResolveError::Untrusted {
            reference: reference.to_string(),
            reason: whole(&reason),
            advice: reason.advice(),
        })
    }

    fn in_store(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<ImageRecord>, StoreError> {
        let images = StoreImages { store: self.store };
        let found = match images.find_for(&reference.to_string(), platform) {
            // Lost with the power, before it was synced.
            Err(StoreError::BlobMissing { .. } | StoreError::BlobDamaged { .. }) => None,
            found => found?,
        };
        // One that was pulled for another platform, or is not whole any more, is no reason not to
        // pull it.
        let is_whole = |record: &ImageRecord| {
            let mut layers = record.layers.iter();
            layers.all(|layer| self.store.snapshot_exists(&layer.snapshot))
        };
        Ok(found.filter(|record| {
            record.pulled.is_none() || platform.matches(&record.platform) && is_whole(record)
        }))
    }

    /// A base with what is known of its layers.
    fn promised(
        &self,
        name: &str,
        reference: &Reference,
        base: &KnownBase,
    ) -> Result<Arc<BaseImage>, ResolveError> {
        self.check(reference, &base.record)?;
        let found = self.bases.layers(self.store, self.caches, base);
        let found = found.map_err(|source| ResolveError::Store {
            reference: name.to_owned(),
            source,
        })?;
        let record = ImageRecord {
            layers: found.layers,
            ..base.record.clone()
        };
        Ok(Arc::new(BaseImage {
            promised: found.promised,
            ..base_image(name, record)
        }))
    }

    pub(super) fn tell(&self, text: String) {
        self.notice(false, text);
    }

    /// Tells of mirrors that failed: what was wanted came from elsewhere, or the error says it.
    pub(super) fn tell_of_mirrors(&self) {
        for text in self.client.mirror_troubles() {
            self.notice(true, text);
        }
    }

    fn notice(&self, warning: bool, text: String) {
        self.events.emit(Event::Notice { warning, text });
    }
}

impl ImageSource for Externals<'_> {
    fn open(&self, name: &str, platform: &Platform) -> Result<Arc<BaseImage>, ResolveError> {
        let images = StoreImages { store: self.store };
        let Ok(reference) = name.parse::<Reference>() else {
            return images.open(name, platform);
        };
        let failed = |source| ResolveError::Store {
            reference: name.to_owned(),
            source,
        };
        // What a registry said in this run counts for more than what the store has under the name.
        if self.bases.met(&reference, platform).is_some()
            && let Some(base) = self.known(&reference, platform).map_err(failed)?
        {
            return self.promised(name, &reference, &base);
        }
        if let Some(record) = self.in_store(&reference, platform).map_err(failed)? {
            self.check(&reference, &record)?;
            self.bases.remember(self.store, &record).map_err(failed)?;
            return Ok(Arc::new(base_image(name, record)));
        }
        if let Some(base) = self.known(&reference, platform).map_err(failed)? {
            return self.promised(name, &reference, &base);
        }
        if self.policy == PullPolicy::Never {
            return Err(ResolveError::Offline {
                reference: name.to_owned(),
                near: images.near(name),
            });
        }
        // The plain name is the image for the run's platform.
        let names: &[String] = match reference.digest().is_none() && platform == self.platform {
            true => &[reference.to_string()],
            false => &[],
        };
        match self.obtain(&reference, platform, names) {
            Ok(Obtained::Known(base)) => self.promised(name, &reference, &base),
            Ok(Obtained::Here(record)) => Ok(Arc::new(base_image(name, *record))),
            Err(source) => Err(match &*source {
                RegistryError::Refused { reason, .. } => ResolveError::Untrusted {
                    reference: name.to_owned(),
                    reason: reason.clone(),
                    advice: SIGN_ADVICE,
                },
                _ => ResolveError::Pull {
                    reference: name.to_owned(),
                    near: images.near(name),
                    source,
                },
            }),
        }
    }
}

fn settled(record: &ImageRecord) -> Settled {
    digest_of(record).map_or(Settled::Open, Settled::At)
}

/// What an image is locked to: what its reference named, an index for most.
fn digest_of(record: &ImageRecord) -> Option<Digest> {
    let pulled = record
        .pulled
        .as_ref()
        .and_then(|from| from.digest().cloned());
    pulled.or_else(|| Some(record.packed.as_ref()?.digest.clone()))
}
