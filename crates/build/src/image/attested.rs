//! What is attested of an image: kept beside its record, and packed as BuildKit packs it.
//!
//! ```text
//! index  --> manifest of the image
//!        --> manifest of its attestations    platform `unknown/unknown`; annotations name the image
//!              config   two bytes: `{}`
//!              subject  the image's manifest
//!              layers   a statement each, annotated with its kind
//! ```
//!
//! For registries that refuse artifacts an output may ask for the form of older builders: no
//! subject, and a config that lists the statements as an image's layers.
//!
//! Statements name the image's manifest, so they are written when that is known. The record names a
//! document with everything else: the same record gives the same bytes wherever it goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use cairn_attest::statement::{self, Subject};
use cairn_attest::{Attestation, Attestations};
use cairn_oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, MediaType, Platform, RootFs};
use cairn_store::{EntryKind, LayeredView, Store, StoreError};
use sha2::{Digest as _, Sha256};

use super::export::ExportError;
use super::pack::put;
use super::record::ImageRecord;

/// The media type of the document that a record names.
const MEDIA_TYPE: &str = "application/vnd.cairn.attestations.v1+json";
/// What the manifest of attestations is, in its own words.
const ARTIFACT_TYPE: &str = "application/vnd.docker.attestation.manifest.v1+json";
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// What runtimes take for no platform of theirs.
const NO_PLATFORM: &str = "unknown";
/// The name of an image that has none.
const NAMELESS: &str = "_";

/// The attestations of an image, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedAttestations {
    /// Their manifest, as an index names it.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Descriptor,
    /// The statements.
    pub statements: Vec<Descriptor>,
}

impl PackedAttestations {
    /// Their manifest as a registry names it to who asks what is said of the image; `None` in the
    /// form of older builders, which names no subject.
    pub(super) fn referrer(&self) -> Option<Descriptor> {
        if self.config.media_type != MediaType::OciEmpty {
            return None;
        }
        let named = &self.manifest;
        let kind = named.media_type.clone();
        let mut referrer = Descriptor::new(kind, named.digest.clone(), named.size);
        referrer.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        Some(referrer)
    }
}

impl ImageRecord {
    /// Keeps attestations of this image; the record is to be saved afterwards.
    pub fn attest(&mut self, store: &Store, all: &Attestations) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(all).map_err(StoreError::encode)?;
        let digest = store.put_blob_bytes(&bytes)?;
        self.attested = Some(Descriptor::new(MEDIA_TYPE, digest, bytes.len() as u64));
        Ok(())
    }

    /// What is attested of this image, if anything is.
    pub fn attestations(&self, store: &Store) -> Result<Option<Attestations>, StoreError> {
        let Some(descriptor) = &self.attested else {
            return Ok(None);
        };
        let bytes = store.read_blob(&descriptor.digest)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(StoreError::decode)
    }
}

/// The statements about the files of an image, as files beside them.
pub(super) fn beside(
    store: &Store,
    view: &LayeredView,
    record: &ImageRecord,
) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
    let all = record.attestations(store)?.unwrap_or_default();
    let list = all.list.iter().filter(|it| !it.inline_only);
    let list: Vec<&Attestation> = list.collect();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let subjects = files(view)?;
    let mut written = Vec::new();
    for attestation in list {
        let value = attestation.statement(&subjects, &[]);
        let mut bytes = serde_json::to_vec_pretty(&value).map_err(StoreError::encode)?;
        bytes.push(b'\n');
        written.push((attestation.file_name.clone(), bytes));
    }
    Ok(written)
}

/// Every regular file by its digest.
fn files(view: &LayeredView) -> Result<Vec<Subject>, ExportError> {
    let mut subjects = Vec::new();
    let mut open = vec![PathBuf::from("/")];
    while let Some(directory) = open.pop() {
        for (_, entry) in view.read_dir(&directory)? {
            match entry.kind {
                EntryKind::Directory => open.push(entry.path),
                EntryKind::File => {
                    let failed = |source| ExportError::Write {
                        doing: "read",
                        path: entry.path.clone(),
                        source,
                    };
                    let digest = sha256(view.open(&entry)?).map_err(failed)?;
                    let name = entry.path.strip_prefix("/").unwrap_or(&entry.path);
                    let name = name.display().to_string();
                    subjects.push(Subject { name, digest });
                }
                _ => {}
            }
        }
    }
    subjects.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(subjects)
}

fn sha256(mut file: File) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(Digest::from_sha256(hasher.finalize().into()))
}

/// Packs the attestations of an image with this manifest and these layers.
pub(super) fn pack(
    store: &Store,
    record: &ImageRecord,
    image: &Descriptor,
    layers: &[Descriptor],
) -> Result<Option<PackedAttestations>, StoreError> {
    let Some(all) = record.attestations(store)? else {
        return Ok(None);
    };
    let names = match all.names.as_slice() {
        [] => vec![NAMELESS.to_owned()],
        names => names.to_vec(),
    };
    let subject = |name| Subject {
        name,
        digest: image.digest.clone(),
    };
    let subjects: Vec<Subject> = names.into_iter().map(subject).collect();
    let mut statements = Vec::new();
    for attestation in &all.list {
        let value = attestation.statement(&subjects, layers);
        let bytes = serde_json::to_vec(&value).map_err(StoreError::encode)?;
        let mut layer = put(store, MediaType::from(statement::MEDIA_TYPE), &bytes)?;
        let kind = attestation.predicate_type().to_owned();
        layer
            .annotations
            .insert(statement::PREDICATE_ANNOTATION.to_owned(), kind);
        statements.push(layer);
    }
    let platform = Platform::new(NO_PLATFORM, NO_PLATFORM);
    let (config, manifest) = match record.dialect.attests_as_image {
        true => {
            let digests = statements.iter().map(|it| it.digest.clone());
            let config = ImageConfig {
                rootfs: RootFs {
                    diff_ids: digests.map(DiffId).collect(),
                    ..RootFs::default()
                },
                ..ImageConfig::new(&platform)
            };
            let config = put(store, MediaType::OciConfig, &config.to_json_bytes())?;
            let manifest = Manifest::new(config.clone(), statements.clone());
            (config, manifest)
        }
        false => {
            let config = put(store, MediaType::OciEmpty, b"{}")?;
            let image = (image.media_type.clone(), image.digest.clone(), image.size);
            let manifest = Manifest {
                artifact_type: Some(ARTIFACT_TYPE.to_owned()),
                subject: Some(Descriptor::new(image.0, image.1, image.2)),
                ..Manifest::new(config.clone(), statements.clone())
            };
            (config, manifest)
        }
    };
    let mut manifest = put(store, MediaType::OciManifest, &manifest.to_json_bytes())?;
    manifest.platform = Some(platform);
    manifest.annotations = BTreeMap::from([
        (REFERENCE_DIGEST.to_owned(), image.digest.to_string()),
        (REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned()),
    ]);
    Ok(Some(PackedAttestations {
        manifest,
        config,
        statements,
    }))
}
