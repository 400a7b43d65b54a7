//! The ledger: what each tag means since when, kept as OCI artifacts beside the images.
//!
//! ```text
//! HOST/PATH/<stack>-generations:gen-<generation>   one generation
//! HOST/PATH/<stack>-generations:tag-<tag>          all that a tag meant, the newest first
//! HOST/PATH/<stack>-generations:yanked             generations that nobody should get any more
//! ```
//!
//! Each is a manifest with an empty config and one JSON document. What is written is kept in the
//! store, too, under `cairn:ledger/...`.

use cairn_oci::{Descriptor, Manifest, MediaType, Reference};
use cairn_registry::{Document, Places, RegistryError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Means;
use super::error::PublishError;
use super::generation::{Generation, TagLog};

const GENERATION: &str = "application/vnd.cairn.generation.v1+json";
const LOG: &str = "application/vnd.cairn.tag-log.v1+json";
const YANKED: &str = "application/vnd.cairn.yanked.v1+json";
const EMPTY: &[u8] = b"{}";

/// The ledger of a stack at one registry.
#[derive(Debug, Clone)]
pub struct Ledger {
    place: Reference,
}

impl Ledger {
    /// The ledger of a stack below a registry's path.
    pub fn new(registry: &str, stack: &str) -> Result<Self, PublishError> {
        Ok(Self {
            place: format!("{registry}/{stack}-generations").parse()?,
        })
    }

    /// Its repository.
    pub fn place(&self) -> String {
        self.place.name()
    }

    /// What a tag meant.
    pub fn log(&self, means: Means<'_>, tag: &str) -> Result<TagLog, PublishError> {
        let log: Option<TagLog> = self.read(means, &format!("tag-{tag}"))?;
        Ok(log.unwrap_or_else(|| TagLog {
            tag: tag.to_owned(),
            entries: Vec::new(),
        }))
    }

    /// Writes down what a tag means.
    pub fn put_log(&self, means: Means<'_>, log: &TagLog) -> Result<(), PublishError> {
        self.write(means, &format!("tag-{}", log.tag), LOG, log)
    }

    /// Looks a generation up.
    pub fn generation(
        &self,
        means: Means<'_>,
        name: &str,
    ) -> Result<Option<Generation>, PublishError> {
        self.read(means, &format!("gen-{name}"))
    }

    /// Writes a generation down.
    pub fn put_generation(
        &self,
        means: Means<'_>,
        generation: &Generation,
    ) -> Result<(), PublishError> {
        let tag = format!("gen-{}", generation.generation);
        self.write(means, &tag, GENERATION, generation)
    }

    /// The generations that nobody should get any more.
    pub fn yanked(&self, means: Means<'_>) -> Result<Vec<String>, PublishError> {
        Ok(self.read(means, "yanked")?.unwrap_or_default())
    }

    /// Writes those down.
    pub fn put_yanked(&self, means: Means<'_>, yanked: &[String]) -> Result<(), PublishError> {
        self.write(means, "yanked", YANKED, &yanked)
    }

    fn read<T: DeserializeOwned>(
        &self,
        means: Means<'_>,
        tag: &str,
    ) -> Result<Option<T>, PublishError> {
        let failed = |source| PublishError::Read {
            what: format!("`{tag}` of the ledger"),
            place: self.place(),
            source: Box::new(source),
        };
        let reference = self.place.with_tag(tag)?;
        let document = match means.client.current_document(&reference, means.watch) {
            Ok(document) => document,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let damaged = || {
            let place = self.place();
            PublishError::Refused(format!("`{tag}` at {place} is no part of a ledger"))
        };
        let manifest = Manifest::from_json_bytes(&document.bytes).map_err(|_| damaged())?;
        let layer = manifest.layers.first().ok_or_else(damaged)?;
        means
            .client
            .fetch_blob(means.store, &reference, layer, means.watch)
            .map_err(failed)?;
        let bytes = means.store.read_blob(&layer.digest)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| damaged())
    }

    fn write<T: Serialize>(
        &self,
        means: Means<'_>,
        tag: &str,
        kind: &str,
        value: &T,
    ) -> Result<(), PublishError> {
        let failed = |source: RegistryError| PublishError::Ledger {
            place: self.place(),
            source: Box::new(source),
        };
        let put = |kind: MediaType, bytes: &[u8]| {
            let digest = means.store.put_blob_bytes(bytes)?;
            Ok::<_, PublishError>(Descriptor::new(kind, digest, bytes.len() as u64))
        };
        let content = serde_json::to_vec(value).map_err(cairn_store::StoreError::encode)?;
        let layer = put(MediaType::from(kind.to_owned()), &content)?;
        let config = put(MediaType::OciEmpty, EMPTY)?;
        let mut manifest = Manifest::new(config.clone(), vec![layer.clone()]);
        manifest.artifact_type = Some(kind.to_owned());
        let bytes = manifest.to_json_bytes();
        let document = Document {
            descriptor: put(MediaType::OciManifest, &bytes)?,
            bytes,
        };
        let reference = self.place.with_tag(tag)?;
        let name = format!("cairn:ledger/{reference}");
        means.store.set_ref(&name, &document.descriptor)?;
        let (client, watch) = (means.client, means.watch);
        let none = Places::new();
        client
            .push_image(
                means.store,
                &reference,
                &document,
                &[config, layer],
                &none,
                watch,
            )
            .and_then(|_| client.put_manifest(&reference, &document, watch))
            .map_err(failed)
    }
}
