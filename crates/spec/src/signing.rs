//! Signatures on what is published: whose key, on which events, at which registries.

use std::collections::BTreeSet;

use crate::settings::{EventKind, SignForm};
use crate::written::Spanned;

/// What is signed, and by which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignRule {
    /// The file with the private key, by its path from the spec's folder.
    pub key: Spanned<String>,
    /// How the signatures are kept beside the images.
    pub form: SignForm,
    /// The events; without, all that publish.
    pub when: Option<BTreeSet<EventKind>>,
    /// The registries and namespaces, or globs over them; without, all.
    pub registries: Option<Vec<String>>,
}

impl SignRule {
    /// Whether anything is signed on such an event.
    #[must_use]
    pub fn is_for(&self, event: EventKind) -> bool {
        self.when.as_ref().is_none_or(|when| when.contains(&event))
    }

    /// Whether what goes to this registry, with its namespace, is signed.
    #[must_use]
    pub fn concerns(&self, registry: &str) -> bool {
        let is_named = |globs: &Vec<String>| {
            let mut globs = globs.iter();
            globs.any(|glob| crate::glob::matches(glob, registry))
        };
        self.registries.as_ref().is_none_or(is_named)
    }
}
