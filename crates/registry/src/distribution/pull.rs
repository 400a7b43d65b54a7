//! One image from a registry into the store: documents, then layers, several at once, each
//! unpacked while it is downloaded.
//!
//! The blobs are kept as they came, so that an image that builds on them goes out without
//! compressing them again. What is in the store already is not asked for.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc::SyncSender;
use std::thread;

use cairn_oci::{
    Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, Platform, Reference,
};
use cairn_store::{BlobWriter, SnapshotId, Store};

use super::blob::stream;
use super::client::{Endpoint, RegistryClient};
use super::error::RegistryError;
use super::manifest::Document;
use super::options::Watch;
use super::pieces::pieces;
use crate::http::body::Sink;

const LAYERS_AT_ONCE: usize = 4;
/// Indexes may point to indexes; this deep and no deeper.
const INDEX_DEPTH_MAX: usize = 4;
/// BuildKit marks its attestations so; they are no images.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// An image that was pulled: all its blobs and layers are in the store.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What it is.
    pub image: Described,
    /// The files of its layers, bottom first.
    pub layers: Vec<SnapshotId>,
}

/// What an image is, without its files: its documents are in the store, its layers need not be.
#[derive(Debug, Clone)]
pub struct Described {
    /// What the reference names: an index, or the manifest itself.
    pub top: Descriptor,
    /// The manifest for the platform.
    pub manifest: Descriptor,
    /// The manifest's content.
    pub document: Manifest,
    /// Its config.
    pub config: ImageConfig,
    /// The blob and the DiffId of each layer, bottom first.
    pub layers: Vec<(Descriptor, DiffId)>,
}

impl RegistryClient {
    /// Pulls the image of a reference for a platform.
    ///
    /// An image for one platform only is taken whatever its platform is, unless it is `required`.
    ///
    /// # Errors
    /// When the image cannot be had, is damaged or is for other platforms; the store may then
    /// hold some of its blobs, and no name for them.
    pub fn pull(
        &self,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
        is_required: bool,
        watch: Watch<'_>,
    ) -> Result<Pulled, RegistryError> {
        let image = self.describe(store, reference, platform, is_required, watch)?;
        let pull = Pull::new(self, store, reference, watch);
        let layers = in_parallel(&image.layers, LAYERS_AT_ONCE, |(blob, diff_id)| {
            pull.layer(blob, diff_id)
        })?;
        Ok(Pulled { image, layers })
    }

    /// Pulls one layer of an image that was described.
    ///
    /// # Errors
    /// When it cannot be had or is damaged.
    pub fn pull_layer(
        &self,
        store: &Store,
        reference: &Reference,
        (blob, diff_id): &(Descriptor, DiffId),
        watch: Watch<'_>,
    ) -> Result<SnapshotId, RegistryError> {
        Pull::new(self, store, reference, watch).layer(blob, diff_id)
    }

    /// Pulls the documents of the image of a reference: no layer.
    ///
    /// # Errors
    /// As [`RegistryClient::pull`].
    pub fn describe(
        &self,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
        is_required: bool,
        watch: Watch<'_>,
    ) -> Result<Described, RegistryError> {
        let pull = Pull::new(self, store, reference, watch);
        let top = pull.document(reference)?;
        let chosen = pull.choose(&top, platform, INDEX_DEPTH_MAX)?;
        let manifest = Manifest::from_json_bytes(&chosen.bytes)
            .map_err(|source| pull.broken("the manifest", source))?;
        let config = pull.config(&manifest)?;
        let offered = config.platform().normalised();
        if is_required && !platform.matches(&offered) {
            return Err(pull.no_platform(platform, vec![offered.to_string()]));
        }
        let layers = pull.layers(&manifest, &config)?;
        Ok(Described {
            top: top.descriptor,
            manifest: chosen.descriptor,
            document: manifest,
            config,
            layers,
        })
    }
}

struct Pull<'a> {
    client: &'a RegistryClient,
    store: &'a Store,
    reference: &'a Reference,
    watch: Watch<'a>,
}

impl<'a> Pull<'a> {
    fn new(
        client: &'a RegistryClient,
        store: &'a Store,
        reference: &'a Reference,
        watch: Watch<'a>,
    ) -> Self {
        Self {
            client,
            store,
            reference,
            watch,
        }
    }

    /// A manifest or index; by digest it may be in the store.
    fn document(&self, reference: &Reference) -> Result<Document, RegistryError> {
        let document = self.client.document(reference, self.watch)?;
        let mut bytes = &document.bytes[..];
        self.store
            .put_blob(Some(&document.descriptor.digest), &mut bytes)?;
        Ok(document)
    }

    fn listed(&self, descriptor: &Descriptor) -> Result<Document, RegistryError> {
        if self.store.has_blob(&descriptor.digest) {
            let bytes = self.store.read_blob(&descriptor.digest)?;
            return Ok(Document {
                descriptor: bare(descriptor),
                bytes,
            });
        }
        self.document(&self.reference.with_digest(descriptor.digest.clone()))
    }

    /// Follows an index to the manifest for the platform.
    fn choose(
        &self,
        document: &Document,
        platform: &Platform,
        depth_left: usize,
    ) -> Result<Document, RegistryError> {
        if !document.descriptor.media_type.is_index() {
            return Ok(document.clone());
        }
        if depth_left == 0 {
            return Err(self.unusable("its indexes are nested too deep"));
        }
        let index = Index::from_json_bytes(&document.bytes)
            .map_err(|source| self.broken("the index", source))?;
        let images: Vec<&Descriptor> = index
            .manifests
            .iter()
            .filter(|listed| is_image(listed))
            .collect();
        let fits = |listed: &&&Descriptor| {
            let offered = listed.platform.as_ref();
            offered.is_some_and(|offered| platform.matches(offered))
        };
        // An entry without a platform may be a further index; only then it is looked into.
        let inner = |listed: &&&Descriptor| {
            listed.platform.is_none() && (listed.media_type.is_index() || images.len() == 1)
        };
        let mut images_in_order = images.iter();
        match images_in_order
            .find(fits)
            .or_else(|| images.iter().find(inner))
        {
            Some(listed) => {
                let inner = self.listed(listed)?;
                self.choose(&inner, platform, depth_left - 1)
            }
            None => {
                let offered = images.iter().filter_map(|listed| listed.platform.as_ref());
                let mut found: Vec<String> = offered
                    .map(|platform| platform.clone().normalised().to_string())
                    .collect();
                found.dedup();
                Err(self.no_platform(platform, found))
            }
        }
    }

    fn config(&self, manifest: &Manifest) -> Result<ImageConfig, RegistryError> {
        let kind = &manifest.config.media_type;
        if manifest.artifact_type.is_some() || !kind.is_config() {
            let what = manifest.artifact_type.as_deref().unwrap_or(kind.as_str());
            return Err(self.unusable(format!("it holds no image but `{what}`")));
        }
        self.client
            .fetch_blob(self.store, self.reference, &manifest.config, self.watch)?;
        let bytes = self.store.read_blob(&manifest.config.digest)?;
        ImageConfig::from_json_bytes(&bytes).map_err(|source| self.broken("the config", source))
    }

    fn layers(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
    ) -> Result<Vec<(Descriptor, DiffId)>, RegistryError> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(self.unusable(format!(
                "its config speaks of {} layers, its manifest of {}",
                diff_ids.len(),
                manifest.layers.len()
            )));
        }
        for layer in &manifest.layers {
            if layer.media_type.layer_compression().is_none()
                && layer.media_type != MediaType::DockerForeignLayer
            {
                let kind = &layer.media_type;
                return Err(self.unusable(format!("its layers are of the unknown kind `{kind}`")));
            }
        }
        let blobs = manifest.layers.iter().map(bare);
        Ok(blobs.zip(diff_ids.iter().cloned()).collect())
    }

    fn layer(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<SnapshotId, RegistryError> {
        if !self.store.has_blob(&blob.digest) {
            if self.store.imported_layer(diff_id).is_none() {
                let fetch = |sources: &[Endpoint]| self.unpacked(sources, blob, diff_id);
                return self.client.over_sources(self.reference, fetch);
            }
            self.client
                .fetch_blob(self.store, self.reference, blob, self.watch)?;
        }
        let bytes = self.store.open_blob(&blob.digest)?;
        let (snapshot, _) = self.store.import_layer(bytes, Some(diff_id), Some(blob))?;
        Ok(snapshot)
    }

    /// Downloads a layer to a blob and unpacks it at the same time.
    fn unpacked(
        &self,
        sources: &[Endpoint],
        blob: &Descriptor,
        diff_id: &DiffId,
    ) -> Result<SnapshotId, RegistryError> {
        let (sender, pieces) = pieces();
        let mut both = Both {
            blob: self.store.blob_writer_with(blob.digest.algorithm())?,
            unpacker: Some(sender),
        };
        thread::scope(|scope| {
            let unpacker =
                scope.spawn(|| self.store.import_layer(pieces, Some(diff_id), Some(blob)));
            let streamed = stream(sources, blob, &mut both, self.watch);
            both.unpacker = None;
            let unpacked = unpacker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // A layer that ended early cannot be unpacked either: the first cause is told.
            streamed?;
            let (snapshot, _) = unpacked?;
            both.blob.finish(Some(&blob.digest))?;
            Ok(snapshot)
        })
    }

    fn broken(&self, what: &str, source: cairn_oci::JsonError) -> RegistryError {
        RegistryError::Document {
            what: what.to_owned(),
            reference: Box::new(self.reference.clone()),
            source,
        }
    }

    fn unusable(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Unusable {
            reference: Box::new(self.reference.clone()),
            reason: reason.into(),
        }
    }

    fn no_platform(&self, wanted: &Platform, found: Vec<String>) -> RegistryError {
        RegistryError::NoPlatform {
            reference: Box::new(self.reference.clone()),
            wanted: wanted.to_string(),
            found,
        }
    }
}

/// A descriptor without what its list says of it.
fn bare(descriptor: &Descriptor) -> Descriptor {
    let Descriptor {
        media_type,
        digest,
        size,
        ..
    } = descriptor.clone();
    Descriptor::new(media_type, digest, size)
}

fn is_image(listed: &Descriptor) -> bool {
    let is_unknown = listed
        .platform
        .as_ref()
        .is_some_and(|platform| platform.os == "unknown");
    !is_unknown && !listed.annotations.contains_key(ATTESTATION)
}

/// Does the same to each of some things, a few at a time; gives the results in order, or the
/// first failure, after which nothing more is begun.
pub(crate) fn in_parallel<T: Sync, R: Send, E: Send>(
    things: &[T],
    at_once: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = Mutex::new(0);
    let results = Mutex::new(
        things
            .iter()
            .map(|_| None)
            .collect::<Vec<Option<Result<R, E>>>>(),
    );
    let take = || {
        let mut next = next.lock().expect("no panics while held");
        let taken = (*next < things.len()).then_some(*next);
        *next += 1;
        taken
    };
    thread::scope(|scope| {
        for _ in 0..at_once.min(things.len()) {
            scope.spawn(|| {
                while let Some(number) = take() {
                    let result = work(&things[number]);
                    if result.is_err() {
                        *next.lock().expect("no panics while held") = things.len();
                    }
                    results.lock().expect("no panics while held")[number] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("no panics while held");
    // What was not begun stands behind the failure that is the reason.
    let (failed, done): (Vec<_>, Vec<_>) = results
        .into_iter()
        .flatten()
        .partition(|result| result.is_err());
    failed.into_iter().chain(done).collect()
}

/// Writes to a blob and to whoever unpacks it.
struct Both {
    blob: BlobWriter,
    unpacker: Option<SyncSender<Vec<u8>>>,
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.blob.write(bytes)?;
        // An unpacker that is gone found the layer unpacked, or will say what is wrong with it.
        if let Some(unpacker) = &self.unpacker
            && unpacker.send(bytes[..count].to_vec()).is_err()
        {
            self.unpacker = None;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

impl Sink for Both {
    fn digest(&self) -> Option<Digest> {
        Some(self.blob.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_failure_first() {
        let things: Vec<u32> = (0..20).collect();
        let doubled = in_parallel(&things, 3, |n| Ok::<_, ()>(n * 2)).unwrap();
        assert_eq!(doubled, things.iter().map(|n| n * 2).collect::<Vec<_>>());
        let failed = in_parallel(&things, 3, |n| if *n == 7 { Err("seven") } else { Ok(()) });
        assert_eq!(failed, Err("seven"));
        let none: [u32; 0] = [];
        assert_eq!(in_parallel(&none, 3, |n| Ok::<_, ()>(*n)), Ok(vec![]));
    }
}
