//! Images of the store into registries.

use std::collections::BTreeMap;

use cairn_oci::{Compression, Descriptor, Digest, Manifest, Reference};
use cairn_registry::{Document, Places, Pushed, RegistryClient, RegistryError, Watch};
use cairn_store::{Store, StoreError};

use super::named;
use super::pack::{Image, Packed, pack, pack_image};
use super::record::ImageRecord;

/// An image that is ready to be sent: packed, with the bytes of its manifest.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Its manifest.
    pub manifest: Document,
    /// Everything else it consists of.
    pub blobs: Vec<Descriptor>,
    /// Those of them that the store does not have, and where they are.
    pub absent: BTreeMap<Digest, Vec<Reference>>,
}

impl Parcel {
    /// Packs an image, and beside it what is attested of it.
    pub fn pack(
        store: &Store,
        record: &ImageRecord,
        compression: Compression,
    ) -> Result<(Self, Option<Self>), StoreError> {
        let Packed {
            manifest,
            config,
            layers,
            attestations,
        } = pack(store, record, compression)?;
        let absent = record.absent.values();
        let image = Self {
            absent: absent
                .map(|it| (it.blob.digest.clone(), it.homes.clone()))
                .collect(),
            ..Self::of(store, manifest, config, layers)?
        };
        let attested =
            attestations.map(|it| Self::of(store, it.manifest, it.config, it.statements));
        Ok((image, attested.transpose()?))
    }

    fn of(
        store: &Store,
        manifest: Descriptor,
        config: Descriptor,
        layers: Vec<Descriptor>,
    ) -> Result<Self, StoreError> {
        let bytes = store.read_blob(&manifest.digest)?;
        let mut blobs = layers;
        blobs.push(config);
        Ok(Self {
            manifest: Document {
                descriptor: manifest,
                bytes,
            },
            blobs,
            absent: BTreeMap::new(),
        })
    }

    /// Takes note of where layers are that the store does not have: a registry that has one in another
    /// repository need not be sent it.
    pub fn note_homes(&self, places: &mut Places, registry: &str) {
        for (digest, homes) in &self.absent {
            for home in homes {
                places.add_home(digest, home);
                if home.registry() == registry {
                    places.add(digest, home.repository());
                }
            }
        }
    }

    /// Makes sure that a repository has the image, by its digest. No tag is moved.
    pub fn send(
        &self,
        store: &Store,
        client: &RegistryClient,
        repository: &Reference,
        places: &Places,
        watch: Watch<'_>,
    ) -> Result<Pushed, RegistryError> {
        client.push_image(
            store,
            repository,
            &self.manifest,
            &self.blobs,
            places,
            watch,
        )
    }
}

/// An image that is ready to be sent, for one platform or several.
#[derive(Debug, Clone)]
pub struct Shipment {
    /// What its tag will lead to.
    pub root: Document,
    parcels: Vec<Parcel>,
}

impl Shipment {
    /// Packs an image for all its platforms.
    pub fn pack(
        store: &Store,
        image: Image<'_>,
        compression: Compression,
    ) -> Result<Self, StoreError> {
        let packed = pack_image(store, image, compression)?;
        let bytes = store.read_blob(&packed.root.digest)?;
        let mut parcels = Vec::new();
        for image in packed.images {
            parcels.push(Parcel::of(
                store,
                image.manifest,
                image.config,
                image.layers,
            )?);
            if let Some(it) = image.attestations {
                parcels.push(Parcel::of(store, it.manifest, it.config, it.statements)?);
            }
        }
        Ok(Self {
            root: Document {
                descriptor: packed.root,
                bytes,
            },
            parcels,
        })
    }

    /// Makes sure that a repository has the image, and moves its tag to it, in this order. A
    /// destination without a tag gets the image under its digest alone.
    pub fn send(
        &self,
        store: &Store,
        client: &RegistryClient,
        destination: &Reference,
        watch: Watch<'_>,
    ) -> Result<Pushed, SendError> {
        let places = places(store, destination.registry())?;
        let mut pushed = Pushed::default();
        for parcel in &self.parcels {
            pushed += parcel.send(store, client, destination, &places, watch)?;
        }
        let of_digest = || destination.with_digest(self.root.descriptor.digest.clone());
        let destination = &match destination.tag() {
            Some(_) => destination.clone(),
            None => of_digest(),
        };
        let now = client.look_up(destination, watch)?;
        if now.is_none_or(|now| now.digest != self.root.descriptor.digest) {
            client.put_manifest(destination, &self.root, watch)?;
        }
        Ok(pushed)
    }
}

/// Why an image was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where at a registry the layers of images lie that were pulled from it: what is built on them
/// need not be sent.
pub fn places(store: &Store, registry: &str) -> Result<Places, StoreError> {
    let mut places = Places::new();
    for (_, descriptor) in store.list_refs()? {
        if !named::is_image(&descriptor) {
            continue;
        }
        for record in named::read_all(store, &descriptor)? {
            let (Some(from), Some(packed)) = (record.pulled, record.packed) else {
                continue;
            };
            if from.registry() != registry || !store.has_blob(&packed.digest) {
                continue;
            }
            let bytes = store.read_blob(&packed.digest)?;
            let Ok(manifest) = Manifest::from_json_bytes(&bytes) else {
                continue;
            };
            for layer in manifest.layers {
                places.add(&layer.digest, from.repository());
            }
        }
    }
    Ok(places)
}
