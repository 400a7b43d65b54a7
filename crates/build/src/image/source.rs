//! Images of the store as bases of a build.

use std::sync::Arc;

use cairn_oci::{History, Platform};
use cairn_store::Store;

use super::named::{self, is_image};
use super::record::{ImageRecord, canonical};
use crate::resolve::{BaseImage, ImageSource, ResolveError};

/// How many similar names an error offers.
const NEAR_MAX: usize = 3;
/// So many letters may be wrong in a name that is near: one in four, and no more than this.
const EDITS_MAX: usize = 3;

/// Opens images by their names in a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreImages<'a> {
    /// The store.
    pub store: &'a Store,
}

impl ImageSource for StoreImages<'_> {
    fn open(&self, reference: &str, platform: &Platform) -> Result<Arc<BaseImage>, ResolveError> {
        if reference.parse::<cairn_oci::Reference>().is_err() {
            return Err(ResolveError::Invalid {
                reference: reference.to_owned(),
            });
        }
        let failed = |source| ResolveError::Store {
            reference: reference.to_owned(),
            source,
        };
        let record = self.find_for(reference, platform).map_err(failed)?;
        let Some(record) = record else {
            return Err(ResolveError::Unknown {
                reference: reference.to_owned(),
                near: self.near(reference),
            });
        };
        Ok(Arc::new(base_image(reference, record)))
    }
}

impl StoreImages<'_> {
    /// Finds a record by name; a digest in the reference must be that of the manifest or index it
    /// came with.
    pub fn find(&self, reference: &str) -> Result<Option<ImageRecord>, cairn_store::StoreError> {
        self.find_best(reference, None)
    }

    /// As [`StoreImages::find`]; of several images under one digest, the one for the platform.
    pub fn find_for(
        &self,
        reference: &str,
        platform: &Platform,
    ) -> Result<Option<ImageRecord>, cairn_store::StoreError> {
        self.find_best(reference, Some(platform))
    }

    fn find_best(
        &self,
        reference: &str,
        platform: Option<&Platform>,
    ) -> Result<Option<ImageRecord>, cairn_store::StoreError> {
        if let Some(records) = named::open_all(self.store, reference)? {
            return Ok(named::choose(records, platform));
        }
        let Ok(wanted) = reference.parse::<cairn_oci::Reference>() else {
            return Ok(None);
        };
        let Some(digest) = wanted.digest() else {
            return Ok(None);
        };
        let mut best = None;
        for (name, descriptor) in self.store.list_refs_of(&wanted.name())? {
            let same = name
                .parse::<cairn_oci::Reference>()
                .is_ok_and(|known| known.name() == wanted.name());
            if !same || !is_image(&descriptor) {
                continue;
            }
            for record in named::read_all(self.store, &descriptor)? {
                if !came_as(&record, digest) {
                    continue;
                }
                if platform.is_none_or(|platform| platform.matches(&record.platform)) {
                    return Ok(Some(record));
                }
                best.get_or_insert(record);
            }
        }
        Ok(best)
    }

    /// Names of the store that end as the wanted one does, or nearly.
    pub fn near(&self, reference: &str) -> Vec<String> {
        let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let wanted = last(&canonical(reference));
        let letters = wanted.split(':').next().unwrap_or_default().len();
        let edits_max = letters.div_ceil(4).min(EDITS_MAX);
        let mut names: Vec<((usize, bool), String)> = self
            .store
            .list_refs()
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, found)| is_image(found))
            .map(|(name, _)| (distance(&last(&name), &wanted), name))
            .filter(|((letters, _), _)| *letters <= edits_max)
            .collect();
        names.sort();
        names
            .into_iter()
            .take(NEAR_MAX)
            .map(|(_, name)| name)
            .collect()
    }
}

/// How unlike two names are: the letters that are wrong, then whether the tag is another one. Tags
/// make no names near, for most have `latest` in common.
fn distance(one: &str, other: &str) -> (usize, bool) {
    let split = |name: &str| {
        let (name, tag) = name.split_once(':').unwrap_or((name, ""));
        (name.to_owned(), tag.to_owned())
    };
    let ((one, one_tag), (other, other_tag)) = (split(one), split(other));
    (strsim::osa_distance(&one, &other), one_tag != other_tag)
}

/// Whether an image came with this manifest, or out of this index.
fn came_as(record: &ImageRecord, digest: &cairn_oci::Digest) -> bool {
    let manifest = record.packed.as_ref().map(|packed| &packed.digest);
    let top = record.pulled.as_ref().and_then(|from| from.digest());
    manifest == Some(digest) || top == Some(digest)
}

/// An image record as a base.
pub fn base_image(name: &str, record: ImageRecord) -> BaseImage {
    let content = record.filesystem();
    let pulled = record.pulled.as_ref().and_then(|from| from.digest());
    let packed = record.packed.as_ref().map(|packed| &packed.digest);
    let digest = pulled.or(packed).cloned();
    let history = full_history(record.history, record.layers.len());
    BaseImage {
        name: name.to_owned(),
        platform: record.platform,
        config: record.config,
        author: record.author,
        history,
        layers: record.layers,
        content,
        promised: Vec::new(),
        digest,
        layout_of: None,
    }
}

/// Makes a history speak of every layer: some images come with too short a one, or none.
fn full_history(mut history: Vec<History>, layers: usize) -> Vec<History> {
    let told = history.iter().filter(|entry| !entry.empty_layer).count();
    if told > layers {
        history.clear();
    }
    let told = history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in told..layers {
        let created_by = Some("a layer of the base without history".to_owned());
        history.push(History {
            created_by,
            ..History::default()
        });
    }
    history
}
