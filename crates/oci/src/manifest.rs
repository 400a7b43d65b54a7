//! Manifests: one image, and one image per platform.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{self, null_is_default};
use crate::{Descriptor, JsonError, MediaType};

/// One image: its config and its layers, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is; some old tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of thing it describes, if that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Makes an OCI image manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::OciManifest),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a manifest.
    pub fn from_json_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        json::from_slice("image manifest", bytes)
    }

    /// Prints it; equal values give equal bytes.
    pub fn to_json_bytes(&self) -> Vec<u8> {
        json::to_bytes(self)
    }
}

/// Several manifests, usually one image per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is; some old tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of thing it describes, if that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests (or further indexes).
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Makes an OCI image index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::OciIndex),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an index.
    pub fn from_json_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        json::from_slice("image index", bytes)
    }

    /// Prints it; equal values give equal bytes.
    pub fn to_json_bytes(&self) -> Vec<u8> {
        json::to_bytes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn manifest_goes_there_and_back() {
        let config = Descriptor::of(MediaType::OciConfig, b"{}");
        let manifest = Manifest::new(config, vec![]);
        let bytes = manifest.to_json_bytes();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(
            text,
            format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
                 \"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
                 \"digest\":\"{}\",\"size\":2}},\"layers\":[]}}",
                Digest::sha256(b"{}")
            )
        );
        assert_eq!(Manifest::from_json_bytes(&bytes).unwrap(), manifest);
    }

    #[test]
    fn go_nulls_are_empty() {
        let index = Index::from_json_bytes(
            br#"{"schemaVersion":2,"manifests":null,"annotations":null,"unknown":1}"#,
        )
        .unwrap();
        assert!(index.manifests.is_empty() && index.media_type.is_none());
    }

    #[test]
    fn a_bad_digest_is_refused() {
        let text =
            br#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:1","size":1}}"#;
        let error = Manifest::from_json_bytes(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "image manifest is not valid JSON of its kind"
        );
    }
}
