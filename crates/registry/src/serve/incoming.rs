//! A manifest that a client puts: what it is, and what must be there before it.

use std::collections::BTreeMap;

use cairn_oci::{Algorithm, Descriptor, Digest, Index, Manifest, MediaType};
use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::answer::Code;
use crate::distribution::Document;

/// The largest manifest that is taken, as the spec asks for.
pub(crate) const MANIFEST_MAX: u64 = 4 << 20;

/// A manifest that was read, with what other manifests are found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The manifest; its descriptor has its annotations and its artifact type.
    pub document: Document,
    /// What it says something about.
    pub subject: Option<Digest>,
    /// The blobs that must be there before it.
    pub(crate) blobs: Vec<Digest>,
    /// The manifests that must be there before it.
    pub(crate) manifests: Vec<Digest>,
}

/// Why a manifest is not taken.
pub(crate) type Refused = (Code, String);

/// What manifests of any kind may say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Incoming {
    /// Reads a manifest that is put under a tag or a digest.
    pub(crate) fn read(
        reference: &Digest,
        content_type: Option<&str>,
        bytes: Vec<u8>,
    ) -> Result<Self, Refused> {
        let invalid = |text: String| (Code::ManifestInvalid, text);
        let said: Said = serde_json::from_slice(&bytes).map_err(|error| {
            invalid(format!(
                "the manifest is no JSON object of its kind: {error}"
            ))
        })?;
        // `; charset=utf-8` says nothing about a manifest.
        let header = content_type.map(|kind| kind.split(';').next().unwrap_or(kind).trim());
        let header = header.filter(|kind| !kind.is_empty()).map(MediaType::from);
        let kind = match (header, said.media_type) {
            (Some(header), Some(inside)) if header != inside => {
                return Err(invalid(format!(
                    "the request calls the manifest `{}`, and it calls itself `{}`",
                    header.as_str(),
                    inside.as_str()
                )));
            }
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => MediaType::OciManifest,
        };
        let mut descriptor = Descriptor::new(kind.clone(), reference.clone(), bytes.len() as u64);
        descriptor.artifact_type = said.artifact_type;
        descriptor.annotations = said.annotations.unwrap_or_default();
        let mut incoming = Self {
            subject: said.subject.map(|subject| subject.digest),
            blobs: Vec::new(),
            manifests: Vec::new(),
            document: Document { descriptor, bytes },
        };
        let wrong = |error: cairn_oci::JsonError| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            invalid(format!("{error}{}", cause.unwrap_or_default()))
        };
        if kind.is_index() {
            let index = Index::from_json_bytes(&incoming.document.bytes).map_err(wrong)?;
            incoming.manifests = index
                .manifests
                .into_iter()
                .map(|part| part.digest)
                .collect();
        } else if kind.is_manifest() {
            let manifest = Manifest::from_json_bytes(&incoming.document.bytes).map_err(wrong)?;
            let artifact_type = &mut incoming.document.descriptor.artifact_type;
            let of_config = manifest.config.media_type.as_str().to_owned();
            artifact_type.get_or_insert(of_config);
            // What says where else it is need not be here.
            let parts = manifest.layers.into_iter().chain([manifest.config]);
            let parts = parts.filter(|part| part.urls.is_empty());
            incoming.blobs = parts.map(|part| part.digest).collect();
        }
        Ok(incoming)
    }
}

/// The digest of bytes by the algorithm of another.
pub(crate) fn digest_like(other: Option<&Digest>, bytes: &[u8]) -> Digest {
    match other.map(Digest::algorithm) {
        Some(Algorithm::Sha512) => Digest::from_sha512(Sha512::digest(bytes).into()),
        _ => Digest::sha256(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: Option<&str>, text: &str) -> Result<Incoming, Refused> {
        let bytes = text.as_bytes().to_vec();
        Incoming::read(&digest_like(None, &bytes), content_type, bytes)
    }

    const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn what_it_says_is_kept() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{EMPTY}","size":2,"data":"e30="}},
            "layers":[{{"mediaType":"x","digest":"{EMPTY}","size":2,"urls":["https://x/y"]}}],
            "subject":{{"mediaType":"x","digest":"{EMPTY}","size":2}},"annotations":{{"k":"v"}}}}"#
        );
        let read = read(Some("application/vnd.oci.image.manifest.v1+json"), &text).unwrap();
        let descriptor = &read.document.descriptor;
        assert_eq!(descriptor.artifact_type.as_deref(), Some("a/b"));
        assert_eq!(descriptor.annotations["k"], "v");
        assert_eq!(read.subject.as_ref().map(Digest::as_str), Some(EMPTY));
        assert_eq!(read.blobs.len(), 1, "not the one that is elsewhere");
    }

    #[test]
    fn kinds_that_nobody_knows_are_taken() {
        let read = read(
            Some("application/vnd.lab.thing+json; charset=utf-8"),
            "{\"x\":1}",
        );
        let kind = read.unwrap().document.descriptor.media_type;
        assert_eq!(kind.as_str(), "application/vnd.lab.thing+json");
    }

    #[test]
    fn what_is_none_is_refused() {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        for (kind, text) in [
            (manifest, "blablabla"),
            (manifest, "{}"),
            (manifest, "{\"schemaVersion\":2,\"config\":{}}"),
            ("application/vnd.oci.image.index.v1+json", "{}"),
            (
                manifest,
                "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}",
            ),
        ] {
            assert_eq!(read(Some(kind), text).unwrap_err().0, Code::ManifestInvalid);
        }
    }
}
