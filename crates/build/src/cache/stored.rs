//! A cache as a registry has it, for those that change it: its document read, and put in its place.

use cairn_oci::{Descriptor, Digest, Manifest, MediaType, Reference};
use cairn_registry::{Document, RegistryClient, RegistryError, Watch};
use cairn_store::Store;

use super::document::{CONFIG_TYPE, CacheDocument};

/// What is under a cache's name now.
pub(super) struct Stored {
    /// What it has now; `None` where there is nothing.
    pub(super) digest: Option<Digest>,
    /// Its results; `None` where it is no cache of this version.
    pub(super) document: Option<CacheDocument>,
}

/// Where a cache is, and the means to read and write it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a RegistryClient,
    pub(super) reference: &'a Reference,
    pub(super) watch: Watch<'a>,
}

impl At<'_> {
    /// Reads what is there.
    pub(super) fn read(self) -> Result<Stored, RegistryError> {
        let Self {
            store,
            client,
            reference,
            watch,
        } = self;
        if client.look_up(reference, watch)?.is_none() {
            let (digest, document) = (None, None);
            return Ok(Stored { digest, document });
        }
        let top = client.current_document(reference, watch)?;
        let digest = Some(top.descriptor.digest);
        let manifest = Manifest::from_json_bytes(&top.bytes).ok();
        let ours = manifest.filter(|manifest| manifest.config.media_type.as_str() == CONFIG_TYPE);
        let Some(manifest) = ours else {
            let document = None;
            return Ok(Stored { digest, document });
        };
        client.fetch_blob(store, reference, &manifest.config, watch)?;
        let bytes = store.read_blob(&manifest.config.digest)?;
        let document = CacheDocument::parse(&bytes);
        Ok(Stored { digest, document })
    }

    /// Whether what is there is what was read.
    pub(super) fn is_as_read(self, digest: Option<&Digest>) -> Result<bool, RegistryError> {
        let now = self.client.look_up(self.reference, self.watch)?;
        Ok(now.as_ref().map(|now| &now.digest) == digest)
    }

    /// Puts a document in its place, whose layers are there.
    pub(super) fn put(self, document: &CacheDocument) -> Result<(), RegistryError> {
        let printed = document.print();
        let manifest = document.manifest(&printed);
        self.store.put_blob_bytes(&printed)?;
        self.client.push_blob(
            self.store,
            self.reference,
            &manifest.config,
            &[],
            self.watch,
        )?;
        let bytes = manifest.to_json_bytes();
        let manifest = Document {
            descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
            bytes,
        };
        self.client
            .put_manifest(self.reference, &manifest, self.watch)
    }
}
