//! The images of the store as a registry has them.
//!
//! An image is found by its name in the store: `app` as `app:latest`, `ghcr.io/lab/base:1` as the
//! repository `ghcr.io/lab/base`. One that was built here is packed when it is first asked for.

use std::collections::BTreeSet;
use std::fs::File;

use cairn_oci::{Compression, Descriptor, Digest, Index, Manifest, MediaType, Reference};
use cairn_registry::Document;
use cairn_registry::serve::{Shelf, ShelfError};
use cairn_store::{DOCUMENT_SIZE_MAX, Store, StoreError};

use super::push::Parcel;
use super::record::{ImageRecord, MEDIA_TYPE};

/// The images of a store.
#[derive(Debug, Clone)]
pub struct StoreShelf {
    /// The store.
    pub store: Store,
    /// How layers are compressed that were made here.
    pub compression: Compression,
}

impl StoreShelf {
    /// The names of images, as references.
    fn names(&self) -> Result<Vec<Reference>, StoreError> {
        let refs = self.store.list_refs()?.into_iter();
        let images = refs.filter(|(_, found)| found.media_type.as_str() == MEDIA_TYPE);
        Ok(images.filter_map(|(name, _)| name.parse().ok()).collect())
    }
}

/// The repository that a name is served as: as people write it, without the tag.
fn repository(name: &Reference) -> String {
    let familiar = name.familiar();
    let end = familiar.len() - suffix(name);
    familiar[..end].to_owned()
}

fn suffix(name: &Reference) -> usize {
    let tag = name.tag().map_or(0, |tag| tag.len() + 1);
    let digest = name.digest().map_or(0, |digest| digest.as_str().len() + 1);
    tag + digest
}

impl Shelf for StoreShelf {
    fn repositories(&self) -> Result<Vec<String>, ShelfError> {
        let names: BTreeSet<String> = self.names()?.iter().map(repository).collect();
        Ok(names.into_iter().collect())
    }

    fn tags(&self, wanted: &str) -> Result<Option<Vec<String>>, ShelfError> {
        let Ok(wanted) = wanted.parse::<Reference>() else {
            return Ok(None);
        };
        let names = self.names()?.into_iter();
        let same: Vec<Reference> = names.filter(|name| name.name() == wanted.name()).collect();
        let tags: BTreeSet<String> = same
            .iter()
            .filter_map(|name| name.tag().map(str::to_owned))
            .collect();
        Ok((!same.is_empty()).then(|| tags.into_iter().collect()))
    }

    fn by_tag(&self, repository: &str, tag: &str) -> Result<Option<Document>, ShelfError> {
        let name = format!("{repository}:{tag}");
        if name.parse::<Reference>().is_err() {
            return Ok(None);
        }
        let Some(record) = ImageRecord::open(&self.store, &name)? else {
            return Ok(None);
        };
        let parcel = Parcel::pack(&self.store, &record, self.compression)?;
        Ok(Some(parcel.manifest))
    }

    fn by_digest(&self, digest: &Digest) -> Result<Option<Document>, ShelfError> {
        let is_document = self
            .store
            .blob_size(digest)
            .is_some_and(|size| size <= DOCUMENT_SIZE_MAX);
        if !is_document {
            return Ok(None);
        }
        let bytes = self.store.read_blob(digest)?;
        Ok(media_type(&bytes).map(|kind| Document {
            descriptor: Descriptor::new(kind, digest.clone(), bytes.len() as u64),
            bytes,
        }))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, ShelfError> {
        let Some(size) = self.store.blob_size(digest) else {
            return Ok(None);
        };
        Ok(Some((self.store.open_blob(digest)?, size)))
    }
}

/// What a document is, if it is one that a registry has.
fn media_type(bytes: &[u8]) -> Option<MediaType> {
    if let Ok(manifest) = Manifest::from_json_bytes(bytes) {
        return Some(manifest.media_type.unwrap_or(MediaType::OciManifest));
    }
    // Anything with a list of manifests is an index; a record of ours has none.
    let index = Index::from_json_bytes(bytes).ok()?;
    match index.media_type {
        Some(kind) => kind.is_index().then_some(kind),
        None => (!index.manifests.is_empty()).then_some(MediaType::OciIndex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_served_as_people_write_them() {
        let served = |text: &str| repository(&text.parse().unwrap());
        assert_eq!(served("app"), "app");
        assert_eq!(served("model:cloud"), "model");
        assert_eq!(served("user/app:1"), "user/app");
        assert_eq!(served("ghcr.io/lab/base:1"), "ghcr.io/lab/base");
        let digest = Digest::sha256(b"");
        assert_eq!(served(&format!("app@{digest}")), "app");
    }

    #[test]
    fn only_documents_of_registries_are_given_as_such() {
        assert_eq!(media_type(b"{\"schemaVersion\":2}"), None);
        assert_eq!(media_type(b"\x1f\x8b"), None);
        let index = Index::new(vec![]).to_json_bytes();
        assert_eq!(media_type(&index), Some(MediaType::OciIndex));
    }
}
