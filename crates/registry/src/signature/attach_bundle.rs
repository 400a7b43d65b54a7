//! Bundles beside the image in its repository: artifacts that refer to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_oci::{Descriptor, Digest, Manifest, MediaType, Reference};
use cairn_store::Store;

use super::attach::{PAYLOAD_MAX, SIGNATURES_MAX};
use super::bundle::{BUNDLE, PREDICATE, bundle, enveloped, read, statement};
use super::evidence::{Evidence, Signature};
use super::key::SigningKey;
use crate::distribution::{Document, RegistryClient, RegistryError, Watch};

/// What a list of referrers says of a bundle.
const CONTENT: (&str, &str) = ("dev.sigstore.bundle.content", "dsse-envelope");
const KIND: (&str, &str) = ("dev.sigstore.bundle.predicateType", PREDICATE);

impl RegistryClient {
    pub(super) fn sign_by_bundle(
        &self,
        store: &Store,
        repository: &Reference,
        subject: &Descriptor,
        key: &SigningKey,
        watch: Watch<'_>,
    ) -> Result<bool, RegistryError> {
        let known = self.bundles(store, repository, &subject.digest, watch)?;
        let keys = [key.public().clone()];
        if known.signer(&subject.digest, &keys).is_some() {
            return Ok(false);
        }
        let says = statement(&subject.digest);
        let signature = key.sign(&enveloped(&says));
        let signature = signature.map_err(|error| RegistryError::Unusable {
            reference: Box::new(repository.clone()),
            reason: error.to_string(),
        })?;
        let made = bundle(&says, &signature, key.public());
        let layer = Descriptor::of(MediaType::from(BUNDLE.to_owned()), &made);
        let config = Descriptor::of(MediaType::OciEmpty, b"{}");
        for (blob, bytes) in [(&layer, &made[..]), (&config, b"{}")] {
            store.put_blob_bytes(bytes)?;
            self.push_blob(store, repository, blob, &[], watch)?;
        }
        let mut manifest = Manifest::new(config, vec![layer]);
        manifest.artifact_type = Some(BUNDLE.to_owned());
        let noted = [CONTENT, KIND].map(|(name, value)| (name.to_owned(), value.to_owned()));
        manifest.annotations.extend(noted);
        let (kind, digest) = (subject.media_type.clone(), subject.digest.clone());
        manifest.subject = Some(Descriptor::new(kind, digest, subject.size));
        let bytes = manifest.to_json_bytes();
        let manifest = Document {
            descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
            bytes,
        };
        self.attach(repository, &manifest, &[], watch)?;
        Ok(true)
    }

    /// What bundles a repository has of an image. Nothing of it is checked.
    pub(super) fn bundles(
        &self,
        store: &Store,
        repository: &Reference,
        subject: &Digest,
        watch: Watch<'_>,
    ) -> Result<Evidence, RegistryError> {
        let mut evidence = Evidence::default();
        let found = self.referrers(repository, subject, Some(BUNDLE), watch)?;
        for referrer in found.into_iter().take(SIGNATURES_MAX) {
            let by_digest = repository.with_digest(referrer.digest);
            // A fallback tag may still list what somebody removed.
            let document = match self.current_document(&by_digest, watch) {
                Err(error) if error.is_missing() => continue,
                document => document?,
            };
            // Whatever others put there is no reason to fail: it is no signature.
            let Ok(manifest) = Manifest::from_json_bytes(&document.bytes) else {
                continue;
            };
            let layers = manifest.layers.iter();
            let bundles = layers.filter(|it| it.media_type.as_str() == BUNDLE);
            for layer in bundles.filter(|it| it.size <= PAYLOAD_MAX) {
                match self.fetch_blob(store, repository, layer, watch) {
                    Err(error) if error.is_missing() => continue,
                    fetched => fetched?,
                };
                let signed = read(&store.read_blob(&layer.digest)?).into_iter();
                evidence
                    .signatures
                    .extend(signed.map(|(text, signature)| Signature {
                        payload: STANDARD.encode(text),
                        signature,
                    }));
            }
        }
        Ok(evidence)
    }
}
