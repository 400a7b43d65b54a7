//! Annotations of an image: what its documents, and the places that name them, say beside it.
//!
//! | level | where it stands |
//! | --- | --- |
//! | manifest | in the manifest of the image |
//! | manifest descriptor | where the manifest is named: in the index, or in a layout's `index.json` |
//! | index | in the index over the platforms; an image without one gets one for it |
//! | index descriptor | where the index is named: in a layout's `index.json` |

use std::collections::BTreeMap;

use cairn_oci::Platform;
use serde::{Deserialize, Serialize};

use super::record::ImageRecord;

/// Where an annotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// In the manifest.
    Manifest,
    /// Where the manifest is named.
    ManifestDescriptor,
    /// In the index.
    Index,
    /// Where the index is named.
    IndexDescriptor,
}

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// Where it stands.
    pub level: Level,
    /// The platform that it is about; every one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl ImageRecord {
    /// Annotates the image, if the annotation is about its platform.
    pub fn annotate(&mut self, annotation: &Annotation) {
        let about = annotation.platform.as_ref();
        if about.is_some_and(|platform| !platform.matches(&self.platform)) {
            return;
        }
        match annotation.level {
            Level::Manifest => {
                let (name, value) = (annotation.name.clone(), annotation.value.clone());
                self.annotations.insert(name, value);
            }
            _ => self.outer.push(annotation.clone()),
        }
    }

    /// What is said at a level outside of the manifest.
    pub(super) fn said(&self, level: Level) -> BTreeMap<String, String> {
        let all = self.outer.iter().filter(|it| it.level == level);
        all.map(|it| (it.name.clone(), it.value.clone())).collect()
    }

    /// Whether something is said that only an index has a place for.
    pub(super) fn needs_index(&self) -> bool {
        let of_index = [Level::Index, Level::IndexDescriptor];
        self.outer.iter().any(|it| of_index.contains(&it.level))
    }
}
