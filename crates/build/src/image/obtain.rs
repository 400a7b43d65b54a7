//! Images from outside as their registries have them: their documents, and their files where the
//! run will need them.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use cairn_oci::{Digest, Platform, Reference};
use cairn_registry::{RegistryError, Watch};
use cairn_store::StoreError;

use super::external::{Externals, PullPolicy};
use super::known_base::KnownBase;
use super::pull::pull;
use super::record::ImageRecord;
use super::trust::Untrusted;

/// What came of asking a registry for an image.
pub(super) enum Obtained {
    /// Its documents, and that is enough: its layers are promises, or stand-ins where nothing runs.
    Known(Box<KnownBase>),
    /// All of it.
    Here(Box<ImageRecord>),
}

impl Obtained {
    /// The image; of one that is only known, without layers.
    pub(super) fn record(&self) -> &ImageRecord {
        match self {
            Self::Known(base) => &base.record,
            Self::Here(record) => record,
        }
    }
}

impl Externals<'_> {
    /// What is known of an image, if that is enough for a run.
    pub(super) fn known(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<KnownBase>, StoreError> {
        let Some(base) = self.bases.find(self.store, reference, platform) else {
            return Ok(None);
        };
        let found = self.bases.layers(self.store, self.caches, &base)?;
        let is_enough = match self.policy {
            PullPolicy::Never => found.is_here(),
            _ => found.is_known || !self.fetches,
        };
        Ok(is_enough.then_some(base))
    }

    /// Asks the registry of an image for its documents, and for its files if they are not known and
    /// will be needed.
    pub(super) fn obtain(
        &self,
        reference: &Reference,
        platform: &Platform,
        names: &[String],
    ) -> Result<Obtained, Arc<RegistryError>> {
        let wanted = (reference.to_string(), platform.clone());
        if let Some(failure) = self.failures.lock().get(&wanted) {
            return Err(failure.clone());
        }
        let watch = Watch {
            is_stopped: &|| self.cancel.is_cancelled(),
            moved: &|_| {},
        };
        let met = self.trusted(reference, watch).and_then(|trusted| {
            // An image for one platform only is taken, as BuildKit does; the checker warns of it.
            let described = self
                .client
                .describe(self.store, &trusted, platform, false, watch)?;
            let names = match names {
                [] => vec![pin(reference, &described.manifest.digest)],
                names => names.to_vec(),
            };
            let base = KnownBase::new(&trusted, described, &names);
            self.bases.meet(self.store, reference, platform, &base)?;
            let found = self.bases.layers(self.store, self.caches, &base)?;
            if found.is_here()
                && let Some(record) = base.whole(self.store)?
            {
                record.save(self.store, &names)?;
            }
            Ok((base, found.is_known))
        });
        if met.is_ok() {
            self.tell_of_mirrors();
        }
        match met {
            Ok((base, is_known)) if is_known || !self.fetches => {
                Ok(Obtained::Known(Box::new(base)))
            }
            Ok((base, _)) => {
                let pinned = base.record.pulled.as_ref().unwrap_or(reference);
                let pulled = self.pull(pinned, reference, platform, names);
                pulled.map(|record| Obtained::Here(Box::new(record)))
            }
            Err(error) => {
                let failure = Arc::new(error);
                self.failures.lock().insert(wanted, failure.clone());
                Err(failure)
            }
        }
    }

    /// Pulls an image that was found trustworthy and is `pinned` by its digest, once a run, and names
    /// it.
    fn pull(
        &self,
        pinned: &Reference,
        reference: &Reference,
        platform: &Platform,
        names: &[String],
    ) -> Result<ImageRecord, Arc<RegistryError>> {
        let wanted = (reference.to_string(), platform.clone());
        let familiar = reference.familiar();
        self.tell(format!("pulling {familiar}"));
        let began = Instant::now();
        let moved = Mutex::new(0_u64);
        let watch = Watch {
            is_stopped: &|| self.cancel.is_cancelled(),
            moved: &|bytes| *moved.lock().expect("no panics while held") += bytes,
        };
        let pulled = pull(self.store, self.client, pinned, platform, false, watch);
        if pulled.is_ok() {
            self.tell_of_mirrors();
        }
        let named = pulled.and_then(|record| {
            let names = match (names, &record.packed) {
                ([], Some(packed)) => vec![pin(reference, &packed.digest)],
                (names, _) => names.to_vec(),
            };
            record.save(self.store, &names)?;
            self.bases.remember(self.store, &record)?;
            Ok(record)
        });
        match named {
            Ok(record) => {
                let layers = record.layers.len();
                let bytes = *moved.lock().expect("no panics while held");
                let seconds = began.elapsed().as_secs_f64();
                let megabytes = bytes as f64 / 1e6;
                self.tell(format!(
                    "pulled {familiar}: {layers} layer{}, {megabytes:.1} MB in {seconds:.1} s",
                    if layers == 1 { "" } else { "s" }
                ));
                Ok(record)
            }
            Err(error) => {
                let failure = Arc::new(error);
                self.failures.lock().insert(wanted, failure.clone());
                Err(failure)
            }
        }
    }

    /// What is to be pulled: where it must be signed, its digest, once that is sure. Nothing of an
    /// image that is not is downloaded.
    fn trusted(&self, reference: &Reference, watch: Watch<'_>) -> Result<Reference, RegistryError> {
        if !self.trust.concerns(reference) {
            return Ok(reference.clone());
        }
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => self.client.document(reference, watch)?.descriptor.digest,
        };
        let client = Some(self.client);
        let checked = self
            .trust
            .check(self.store, client, reference, Some(&digest), watch);
        match checked {
            Ok(()) => Ok(reference.with_digest(digest)),
            Err(Untrusted::Unknown(error)) => Err(error),
            Err(Untrusted::Store(error)) => Err(error.into()),
            Err(error) => Err(RegistryError::Refused {
                reference: Box::new(reference.clone()),
                reason: error.to_string(),
            }),
        }
    }
}

/// The name of an image that was pulled by its digest, or for another platform.
fn pin(reference: &Reference, manifest: &Digest) -> String {
    format!("{}@{manifest}", reference.name())
}
