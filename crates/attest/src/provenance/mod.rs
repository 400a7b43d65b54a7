//! How an image was built: SLSA provenance, with what BuildKit adds to it.
//!
//! The facts are the same for both versions of the format; [`slsa02`] and [`slsa1`] only put them
//! in place. Layers are named when the image is packed.

mod detail;
mod slsa02;
mod slsa1;

use std::collections::BTreeMap;

use cairn_oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use detail::{Detail, SourceText, Step, base64};

use crate::statement::digest_set;

/// How an image was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The form that is written.
    pub version: SlsaVersion,
    /// Who built it, as was said on the command line.
    pub builder_id: String,
    /// One build, whatever it is for.
    pub invocation_id: String,
    /// When the build began, in RFC 3339.
    pub started: String,
    /// When it was done.
    pub finished: String,
    /// Whether somebody said that the same bytes come out again.
    pub reproducible: bool,
    /// What the build began with.
    pub config_source: ConfigSource,
    /// What was asked for.
    pub request: Request,
    /// The platform of the machine that built.
    pub builder_platform: String,
    /// What came from outside, with its digests.
    pub materials: Vec<Material>,
    /// Whether everything that was asked for stands in the request.
    pub request_complete: bool,
    /// Whether everything that came from outside stands among the materials.
    pub materials_complete: bool,
    /// Whether no step could reach a network, either.
    pub hermetic: bool,
    /// What the version control system says of a context on this machine.
    pub vcs: BTreeMap<String, String>,
    /// The steps and the Dockerfile; not in the short form.
    pub detail: Option<Detail>,
}

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SlsaVersion {
    /// `v0.2`
    V02,
    /// `v1`
    #[default]
    V1,
}

/// What a build began with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigSource {
    /// Where the context came from, if not from this machine.
    pub uri: Option<String>,
    /// What it was there.
    pub digest: Option<Pin>,
    /// The Dockerfile.
    pub path: String,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Request {
    /// Who read the Dockerfile.
    pub frontend: String,
    /// Options by name: `build-arg:NAME`, `label:NAME`, `target`, `context:NAME`.
    pub args: BTreeMap<String, String>,
    /// Secrets that steps ask for, by name.
    pub secrets: Vec<Handed>,
    /// Agents that steps ask for, by name.
    pub ssh: Vec<Handed>,
    /// What came from this machine.
    pub locals: Vec<String>,
}

/// Something that is handed to steps and stays secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Handed {
    /// Its name.
    pub id: String,
    /// Whether steps do without it.
    pub optional: bool,
}

/// Something from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// Where it is.
    pub uri: String,
    /// What it was there.
    pub digest: Option<Pin>,
}

/// What something was when it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pin {
    /// Bytes.
    Digest(Digest),
    /// A commit of git.
    Commit(String),
}

impl SlsaVersion {
    /// Reads `v0.2` or `v1`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "v0.2" => Some(Self::V02),
            "v1" => Some(Self::V1),
            _ => None,
        }
    }

    /// What a statement calls it.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::V02 => "https://slsa.dev/provenance/v0.2",
            Self::V1 => "https://slsa.dev/provenance/v1",
        }
    }
}

impl Pin {
    fn to_json(&self) -> Value {
        match self {
            Self::Digest(digest) => digest_set(digest),
            Self::Commit(commit) if commit.len() == 64 => json!({ "sha256": commit }),
            Self::Commit(commit) => json!({ "sha1": commit }),
        }
    }
}

impl Provenance {
    /// The same in its short form: no values of arguments and labels, no names of secrets, no
    /// steps.
    #[must_use]
    pub fn minimal(mut self) -> Self {
        let is_private = |key: &String| key.starts_with("build-arg:") || key.starts_with("label:");
        let before = self.request.args.len();
        self.request.args.retain(|key, _| !is_private(key));
        self.request_complete &= self.request.args.len() == before;
        self.request.secrets.clear();
        self.request.ssh.clear();
        self.detail = None;
        self
    }

    /// The predicate, of an image with these layers.
    pub fn predicate(&self, layers: &[Descriptor]) -> Value {
        match self.version {
            SlsaVersion::V02 => slsa02::predicate(self, layers),
            SlsaVersion::V1 => slsa1::predicate(self, layers),
        }
    }

    /// What BuildKit adds under a name of its own.
    fn metadata(&self, layers: &[Descriptor]) -> Value {
        let mut metadata = Map::new();
        if !self.vcs.is_empty() {
            metadata.insert("vcs".to_owned(), json!(self.vcs));
        }
        if let Some(detail) = &self.detail {
            metadata.insert("source".to_owned(), detail.source());
            let layers = detail.layers(layers);
            if !layers.is_empty() {
                metadata.insert("layers".to_owned(), Value::Object(layers));
            }
        }
        Value::Object(metadata)
    }

    fn materials(&self) -> Vec<Value> {
        let materials = self.materials.iter().map(|material| {
            let mut value = json!({ "uri": material.uri });
            if let Some(pin) = &material.digest {
                value["digest"] = pin.to_json();
            }
            value
        });
        materials.collect()
    }
}

impl ConfigSource {
    /// With the name that a version of the format has for the Dockerfile.
    fn to_json(&self, path_key: &str) -> Value {
        let mut value = Map::new();
        if let Some(uri) = &self.uri {
            value.insert("uri".to_owned(), uri.as_str().into());
        }
        if let Some(pin) = &self.digest {
            value.insert("digest".to_owned(), pin.to_json());
        }
        if !self.path.is_empty() {
            value.insert(path_key.to_owned(), self.path.as_str().into());
        }
        Value::Object(value)
    }
}

impl Request {
    fn to_json(&self) -> Value {
        let mut value = json!({ "frontend": self.frontend });
        if !self.args.is_empty() {
            value["args"] = json!(self.args);
        }
        let handed = |list: &[Handed]| -> Vec<Value> {
            let list = list.iter();
            list.map(|it| match it.optional {
                true => json!({ "id": it.id, "optional": true }),
                false => json!({ "id": it.id }),
            })
            .collect()
        };
        if !self.secrets.is_empty() {
            value["secrets"] = handed(&self.secrets).into();
        }
        if !self.ssh.is_empty() {
            value["ssh"] = handed(&self.ssh).into();
        }
        if !self.locals.is_empty() {
            let locals: Vec<Value> = self.locals.iter().map(|it| json!({ "name": it })).collect();
            value["locals"] = locals.into();
        }
        value
    }
}

#[cfg(test)]
mod tests;
