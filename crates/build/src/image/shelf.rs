//! The images of the store as a registry has them, and what clients pushed beside them.
//!
//! An image is found by its name in the store: `app` as `app:latest`, `ghcr.io/lab/base:1` as the
//! repository `ghcr.io/lab/base`. No repository may have a port in its name, so `host:5000/app` is
//! `host_5000/app`. One that was built here is packed when it is first asked for.
//! Its name is the store's: no client moves or removes it.

use std::collections::BTreeSet;
use std::fs::File;

use cairn_oci::{Compression, Descriptor, Digest, Index, Manifest, MediaType, Reference};
use cairn_registry::Document;
use cairn_registry::serve::{Incoming, Intake, Item, Removed, Shelf, ShelfError, Stock};
use cairn_store::{DOCUMENT_SIZE_MAX, Store, StoreError};

use super::named;
use super::pack::{Image, pack, pack_image};
use super::record::ImageRecord;
use super::stock::Repositories;

/// The images of a store.
#[derive(Debug)]
pub struct StoreShelf {
    store: Store,
    /// How layers are compressed that were made here.
    compression: Compression,
    pushed: Repositories,
}

impl StoreShelf {
    /// Offers a store; layers that were made here are compressed so.
    #[must_use]
    pub fn new(store: Store, compression: Compression) -> Self {
        Self {
            pushed: Repositories::new(store.clone()),
            store,
            compression,
        }
    }

    /// Writes down what was pushed and no manifest names yet: to be called when serving ends.
    ///
    /// # Errors
    /// When the store cannot be written to.
    pub fn keep_pending(&self) -> Result<(), StoreError> {
        self.pushed.keep_pending()
    }

    /// The name in the store that a tag of a repository is, if it is one.
    fn name_of(&self, wanted: &str, tag: &str) -> Result<Option<String>, StoreError> {
        let name = format!("{wanted}:{tag}");
        let is_name = name.parse::<Reference>().is_ok();
        if is_name && ImageRecord::open(&self.store, &name)?.is_some() {
            return Ok(Some(name));
        }
        let names = self.names()?.into_iter();
        let mut served = names.filter(|name| name.tag() == Some(tag) && is_in(name, wanted));
        Ok(served.next().map(|name| name.to_string()))
    }

    /// Whether a repository is one of the store's images.
    fn has_images(&self, wanted: &str) -> Result<bool, StoreError> {
        let names = self.names()?;
        Ok(names.iter().any(|name| is_in(name, wanted)))
    }

    /// What is attested of an image of the store with this manifest.
    fn attestations(&self, wanted: &str, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let mut found = Vec::new();
        for name in self.names()? {
            if !is_in(&name, wanted) {
                continue;
            }
            let records = named::open_all(&self.store, &name.to_string())?;
            for record in records.unwrap_or_default() {
                if record.attested.is_none() {
                    continue;
                }
                let packed = pack(&self.store, &record, self.compression)?;
                let attestations = packed.attestations;
                if packed.manifest.digest == *subject {
                    found.extend(attestations.and_then(|it| it.referrer()));
                }
            }
        }
        Ok(found)
    }

    /// A document of the store, if it is one that a registry has.
    fn document(&self, digest: &Digest) -> Result<Option<Document>, StoreError> {
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

    /// The names of images, as references.
    fn names(&self) -> Result<Vec<Reference>, StoreError> {
        let refs = self.store.list_refs()?.into_iter();
        let images = refs.filter(|(_, found)| named::is_image(found));
        Ok(images.filter_map(|(name, _)| name.parse().ok()).collect())
    }
}

/// The repository that a name is served as: as people write it, without the tag.
fn repository(name: &Reference) -> String {
    let familiar = name.familiar();
    let end = familiar.len() - suffix(name);
    familiar[..end].replace(':', "_")
}

/// Whether a name is in a repository, as it is served or written at length.
fn is_in(name: &Reference, wanted: &str) -> bool {
    let at_length = wanted.parse::<Reference>();
    at_length.is_ok_and(|at_length| at_length.name() == name.name()) || repository(name) == wanted
}

fn suffix(name: &Reference) -> usize {
    let tag = name.tag().map_or(0, |tag| tag.len() + 1);
    let digest = name.digest().map_or(0, |digest| digest.as_str().len() + 1);
    tag + digest
}

impl Shelf for StoreShelf {
    fn repositories(&self) -> Result<Vec<String>, ShelfError> {
        let mut names: BTreeSet<String> = self.names()?.iter().map(repository).collect();
        names.extend(self.pushed.names()?);
        Ok(names.into_iter().collect())
    }

    fn tags(&self, wanted: &str) -> Result<Option<Vec<String>>, ShelfError> {
        let mut tags = BTreeSet::new();
        let pushed = self.pushed.open(wanted)?;
        let mut is_there = pushed.is_some();
        tags.extend(pushed.unwrap_or_default().tags.into_keys());
        for name in self.names()? {
            if is_in(&name, wanted) {
                is_there = true;
                tags.extend(name.tag().map(str::to_owned));
            }
        }
        Ok(is_there.then(|| tags.into_iter().collect()))
    }

    fn by_tag(&self, repository: &str, tag: &str) -> Result<Option<Document>, ShelfError> {
        if let Some(name) = self.name_of(repository, tag)?
            && let Some(records) = named::open_all(&self.store, &name)?
        {
            let image = Image::of(&records);
            let root = pack_image(&self.store, image, self.compression)?.root;
            let bytes = self.store.read_blob(&root.digest)?;
            return Ok(Some(Document {
                descriptor: root,
                bytes,
            }));
        }
        let pushed = self.pushed.open(repository)?.unwrap_or_default();
        match pushed.tags.get(tag) {
            Some(digest) => self.by_digest(repository, digest),
            None => Ok(None),
        }
    }

    fn by_digest(&self, repository: &str, digest: &Digest) -> Result<Option<Document>, ShelfError> {
        let pushed = self.pushed.open(repository)?.unwrap_or_default();
        if let Some(entry) = pushed.manifests.get(digest) {
            let kind = entry.descriptor.media_type.clone();
            let bytes = self.store.read_blob(digest)?;
            return Ok(Some(Document {
                descriptor: Descriptor::new(kind, digest.clone(), bytes.len() as u64),
                bytes,
            }));
        }
        match self.has_images(repository)? {
            true => Ok(self.document(digest)?),
            false => Ok(None),
        }
    }

    fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<(File, u64)>, ShelfError> {
        let Some(size) = self.store.blob_size(digest) else {
            return Ok(None);
        };
        let pushed = self.pushed.open(repository)?.unwrap_or_default();
        if !pushed.blobs.contains(digest) && !self.has_images(repository)? {
            return Ok(None);
        }
        Ok(Some((self.store.open_blob(digest)?, size)))
    }

    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, ShelfError> {
        let pushed = self.pushed.open(repository)?.unwrap_or_default();
        let entries = pushed.manifests.into_values();
        let about = entries.filter(|entry| entry.subject.as_ref() == Some(subject));
        let mut found: Vec<Descriptor> = about.map(|entry| entry.descriptor).collect();
        for own in self.attestations(repository, subject)? {
            if !found.iter().any(|known| known.digest == own.digest) {
                found.push(own);
            }
        }
        Ok(found)
    }
}

impl Stock for StoreShelf {
    fn begin(&self) -> Result<Box<dyn Intake>, ShelfError> {
        self.pushed.begin()
    }

    fn add_blob(&self, repository: &str, digest: &Digest) -> Result<(), ShelfError> {
        self.pushed.add_blob(repository, digest);
        Ok(())
    }

    fn add_manifest(
        &self,
        repository: &str,
        tags: &[&str],
        manifest: Incoming,
    ) -> Result<(), ShelfError> {
        Ok(self.pushed.add_manifest(repository, tags, manifest)?)
    }

    fn keeps(&self, repository: &str, tag: &str) -> Result<bool, ShelfError> {
        Ok(self.name_of(repository, tag)?.is_some())
    }

    fn remove(&self, repository: &str, item: Item<'_>) -> Result<Removed, ShelfError> {
        let is_kept = match item {
            Item::Tag(tag) => self.keeps(repository, tag)?,
            Item::Manifest(_) | Item::Blob(_) => false,
        };
        if is_kept {
            return Ok(Removed::Kept);
        }
        let removed = self.pushed.remove(repository, item)?;
        let is_of_image = removed == Removed::Absent
            && match item {
                Item::Tag(_) => false,
                Item::Manifest(digest) => self.by_digest(repository, digest)?.is_some(),
                Item::Blob(digest) => self.blob(repository, digest)?.is_some(),
            };
        Ok(if is_of_image { Removed::Kept } else { removed })
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
        assert_eq!(
            served("127.0.0.1:5000/lab/base:1"),
            "127.0.0.1_5000/lab/base"
        );
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
