//! All that is attested of one image.

use cairn_oci::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provenance::Provenance;
use crate::statement::{Subject, statement};

/// All that is attested of the image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attestations {
    /// What the image is called in them: package addresses.
    pub names: Vec<String>,
    /// One after the other: lists of packages, then how it was built.
    pub list: Vec<Attestation>,
}

/// One attestation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// What its file is called beside the files of an image.
    pub file_name: String,
    /// Whether it goes with images only, and never beside files.
    pub inline_only: bool,
    /// What it says.
    pub claim: Claim,
}

/// What an attestation says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// How the image was built.
    Provenance(Box<Provenance>),
    /// A finished document.
    Document {
        /// Of which kind.
        predicate_type: String,
        /// Its text.
        predicate: Value,
    },
}

impl Attestation {
    /// The kind of what it says.
    pub fn predicate_type(&self) -> &str {
        match &self.claim {
            Claim::Provenance(provenance) => provenance.version.predicate_type(),
            Claim::Document { predicate_type, .. } => predicate_type,
        }
    }

    /// What it says, of an image with these layers.
    pub fn predicate(&self, layers: &[Descriptor]) -> Value {
        match &self.claim {
            Claim::Provenance(provenance) => provenance.predicate(layers),
            Claim::Document { predicate, .. } => predicate.clone(),
        }
    }

    /// The whole statement about some subjects.
    pub fn statement(&self, subjects: &[Subject], layers: &[Descriptor]) -> Value {
        statement(self.predicate_type(), subjects, self.predicate(layers))
    }
}
