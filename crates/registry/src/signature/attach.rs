//! Signatures beside the image in its repository.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_oci::{Descriptor, Digest, Manifest, MediaType, Reference};
use cairn_store::Store;
use serde_json::json;

use super::evidence::{Evidence, Signature};
use super::key::SigningKey;
use super::payload::payload;
use crate::distribution::{Document, RegistryClient, RegistryError, Watch};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURES: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// A payload is not larger, and an image has not more signatures.
pub(super) const PAYLOAD_MAX: u64 = 1 << 20;
pub(super) const SIGNATURES_MAX: usize = 100;
const TAG_HEX_MAX: usize = 64;
/// So often it is tried to add one that others overwrite.
const TRIES_MAX: usize = 8;

/// How a signature is kept beside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Under the tag `sha256-<hex>.sig`, as cosign 2, skopeo and podman look for it.
    Tag,
    /// As a sigstore bundle that refers to the image, as cosign 3 does it.
    Bundle,
}

impl RegistryClient {
    /// Signs a manifest or an index that a repository has, unless the key has done that already;
    /// says whether it did something.
    ///
    /// # Errors
    /// When the registry does not take the signature.
    pub fn sign(
        &self,
        store: &Store,
        repository: &Reference,
        subject: &Descriptor,
        (key, form): (&SigningKey, Form),
        watch: Watch<'_>,
    ) -> Result<bool, RegistryError> {
        match form {
            Form::Tag => self.sign_by_tag(store, repository, subject, key, watch),
            Form::Bundle => self.sign_by_bundle(store, repository, subject, key, watch),
        }
    }

    fn sign_by_tag(
        &self,
        store: &Store,
        repository: &Reference,
        subject: &Descriptor,
        key: &SigningKey,
        watch: Watch<'_>,
    ) -> Result<bool, RegistryError> {
        let text = payload(&repository.name(), &subject.digest);
        let tag = tag(repository, &subject.digest);
        let keys = [key.public().clone()];
        let mut signed = None;
        for number in 0..TRIES_MAX {
            // Others add theirs in the same way: what is there is read again after it was written.
            let known = self.signature_manifest(&tag, watch)?;
            if let Some((_, manifest)) = &known {
                let evidence = self.read_payloads(store, &tag, manifest, watch)?;
                if evidence.signer(&subject.digest, &keys).is_some() {
                    evidence.keep(store, &subject.digest)?;
                    return Ok(number > 0);
                }
            }
            let signed: &String = match &mut signed {
                Some(signed) => signed,
                none => none.insert(STANDARD.encode(key.sign(&text).map_err(|error| {
                    RegistryError::Unusable {
                        reference: Box::new(tag.clone()),
                        reason: error.to_string(),
                    }
                })?)),
            };
            let mut layer = Descriptor::of(MediaType::from(PAYLOAD.to_owned()), &text);
            layer
                .annotations
                .insert(SIGNATURE.to_owned(), signed.clone());
            let old: Option<Digest> = known
                .as_ref()
                .map(|(document, _)| document.descriptor.digest.clone());
            let mut layers = known
                .map(|(_, manifest)| manifest.layers)
                .unwrap_or_default();
            layers.push(layer);
            store.put_blob_bytes(&text)?;
            let manifest = self.push_signatures(store, repository, subject, layers, watch)?;
            let replaced: Vec<Digest> = old.into_iter().collect();
            self.attach(repository, &manifest, &replaced, watch)?;
            self.put_manifest(&tag, &manifest, watch)?;
        }
        Err(RegistryError::Unusable {
            reference: Box::new(tag),
            reason: "others change its signatures all the time".to_owned(),
        })
    }

    /// What a repository has of signatures of an image. Nothing of it is checked.
    ///
    /// # Errors
    /// When the registry cannot be asked, or gives something else.
    pub fn signatures(
        &self,
        store: &Store,
        repository: &Reference,
        subject: &Digest,
        watch: Watch<'_>,
    ) -> Result<Evidence, RegistryError> {
        let tag = tag(repository, subject);
        let mut evidence = match self.signature_manifest(&tag, watch)? {
            Some((_, manifest)) => self.read_payloads(store, &tag, &manifest, watch)?,
            None => Evidence::default(),
        };
        let bundles = self.bundles(store, repository, subject, watch)?;
        evidence.signatures.extend(bundles.signatures);
        Ok(evidence)
    }

    fn signature_manifest(
        &self,
        tag: &Reference,
        watch: Watch<'_>,
    ) -> Result<Option<(Document, Manifest)>, RegistryError> {
        let document = match self.current_document(tag, watch) {
            Ok(document) => document,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        let manifest = Manifest::from_json_bytes(&document.bytes);
        let manifest = manifest.map_err(|source| RegistryError::Document {
            what: "the list of signatures".to_owned(),
            reference: Box::new(tag.clone()),
            source,
        })?;
        Ok(Some((document, manifest)))
    }

    fn read_payloads(
        &self,
        store: &Store,
        tag: &Reference,
        manifest: &Manifest,
        watch: Watch<'_>,
    ) -> Result<Evidence, RegistryError> {
        let mut evidence = Evidence::default();
        let layers = manifest
            .layers
            .iter()
            .filter(|layer| layer.media_type.as_str() == PAYLOAD && layer.size <= PAYLOAD_MAX);
        for layer in layers.take(SIGNATURES_MAX) {
            let Some(signature) = layer.annotations.get(SIGNATURE) else {
                continue;
            };
            self.fetch_blob(store, tag, layer, watch)?;
            let payload = store.read_blob(&layer.digest)?;
            evidence.signatures.push(Signature {
                payload: STANDARD.encode(payload),
                signature: signature.clone(),
            });
        }
        Ok(evidence)
    }

    /// Sends payloads and a config; the manifest is put by the caller.
    fn push_signatures(
        &self,
        store: &Store,
        repository: &Reference,
        subject: &Descriptor,
        layers: Vec<Descriptor>,
        watch: Watch<'_>,
    ) -> Result<Document, RegistryError> {
        let diff_ids: Vec<String> = layers.iter().map(|it| it.digest.to_string()).collect();
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        store.put_blob_bytes(&config)?;
        let config = Descriptor::of(MediaType::OciConfig, &config);
        for blob in layers.iter().chain([&config]) {
            self.push_blob(store, repository, blob, &[], watch)?;
        }
        let mut manifest = Manifest::new(config, layers);
        manifest.artifact_type = Some(SIGNATURES.to_owned());
        let Descriptor {
            media_type,
            digest,
            size,
            ..
        } = subject.clone();
        manifest.subject = Some(Descriptor::new(media_type, digest, size));
        let bytes = manifest.to_json_bytes();
        Ok(Document {
            descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
            bytes,
        })
    }
}

/// The tag under which signatures of a digest are.
fn tag(repository: &Reference, digest: &Digest) -> Reference {
    // A whole SHA-512 would be too long.
    let hex = &digest.hex()[..TAG_HEX_MAX];
    let tag = format!("{}-{hex}.sig", digest.algorithm().name());
    let reference = repository.with_tag(&tag);
    reference.expect("a tag of letters, digits, a dash and a dot")
}
