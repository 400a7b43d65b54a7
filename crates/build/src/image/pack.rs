//! An image record to OCI blobs: layers exported, config and manifest written.

use cairn_oci::{
    Compression, Descriptor, ImageConfig, Index, Manifest, MediaType, RootFs, annotation, rfc3339,
};
use cairn_store::{Layer, Store, StoreError};

use super::annotated::Level;
use super::attested::{self, PackedAttestations};
use super::dialect::Words;
use super::record::ImageRecord;

/// A packed image: everything it consists of is a blob of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Its manifest; with the platform.
    pub manifest: Descriptor,
    /// Its config: what Docker calls the image id.
    pub config: Descriptor,
    /// Its layers from the bottom up.
    pub layers: Vec<Descriptor>,
    /// What is attested of it, if anything is.
    pub attestations: Option<PackedAttestations>,
}

/// Packs an image. Equal records give equal bytes; what was packed before is found again.
///
/// A loaded image keeps the manifest that it came with, whatever compression is asked for.
pub fn pack(
    store: &Store,
    record: &ImageRecord,
    compression: Compression,
) -> Result<Packed, StoreError> {
    if let Some(manifest) = &record.packed
        && store.has_blob(&manifest.digest)
    {
        let mut packed = reopen(store, manifest)?;
        let said = record.said(Level::ManifestDescriptor);
        packed.manifest.annotations.extend(said);
        return Ok(packed);
    }
    let words = record.words(compression);
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for layer in &record.layers {
        let exported = match record.absent.get(&layer.snapshot) {
            // What the store would give if the layer were here.
            Some(absent) => Layer {
                diff_id: absent.diff_id.clone(),
                descriptor: Descriptor::new(
                    MediaType::OciLayer(compression),
                    absent.blob.digest.clone(),
                    absent.blob.size,
                ),
            },
            None => store.export_layer(&layer.snapshot, record.layer_epoch(), compression)?,
        };
        let mut layer = exported.descriptor;
        layer.media_type = words.layer(layer.media_type);
        layers.push(layer);
        diff_ids.push(exported.diff_id);
    }
    if let Some(epoch) = record.marked {
        for layer in layers.iter_mut().skip(record.inherited.layers) {
            let mark = annotation::REWRITTEN_TIMESTAMP.to_owned();
            layer.annotations.insert(mark, epoch.to_string());
        }
    }
    let config = ImageConfig {
        created: Some(rfc3339(record.epoch)),
        author: record.author.clone(),
        config: record.config.clone(),
        rootfs: RootFs {
            diff_ids,
            ..RootFs::default()
        },
        history: record.history.clone(),
        results: match record.results.is_empty() {
            true => None,
            false => serde_json::to_value(&record.results).ok(),
        },
        ..ImageConfig::new(&record.platform)
    };
    let config = put(store, words.config(), &config.to_json_bytes())?;
    let mut manifest = Manifest::new(config.clone(), layers.clone());
    manifest.media_type = Some(words.manifest());
    if words == Words::Oci {
        manifest.annotations.clone_from(&record.annotations);
        let annotations = &mut manifest.annotations;
        let created = annotations.entry(annotation::CREATED.to_owned());
        created.or_insert(rfc3339(record.epoch));
    }
    let mut manifest = put(store, words.manifest(), &manifest.to_json_bytes())?;
    manifest.platform = Some(record.platform.clone());
    manifest.annotations = record.said(Level::ManifestDescriptor);
    let attestations = attested::pack(store, record, &manifest, &layers)?;
    Ok(Packed {
        manifest,
        config,
        layers,
        attestations,
    })
}

/// An image as it leaves the store.
#[derive(Debug, Clone, Copy)]
pub enum Image<'a> {
    /// For one platform.
    One(&'a ImageRecord),
    /// One record for each platform, under an index.
    Index(&'a [ImageRecord]),
}

impl<'a> Image<'a> {
    /// One record as it is, several under an index.
    pub fn of(records: &'a [ImageRecord]) -> Self {
        match records {
            [record] => Self::One(record),
            records => Self::Index(records),
        }
    }

    /// The records it consists of.
    pub fn records(self) -> &'a [ImageRecord] {
        match self {
            Self::One(record) => std::slice::from_ref(record),
            Self::Index(records) => records,
        }
    }
}

/// A packed image, for one platform or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedImage {
    /// What its names lead to: the manifest, or the index over the manifests. What is attested of
    /// an image needs an index, even beside a single one.
    pub root: Descriptor,
    /// The image for each platform.
    pub images: Vec<Packed>,
}

impl PackedImage {
    /// Every blob that it consists of, some more than once.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let images = self.images.iter().flat_map(|packed| {
            [&packed.manifest, &packed.config]
                .into_iter()
                .chain(&packed.layers)
        });
        let attested = self.attestations().flat_map(|attested| {
            [&attested.manifest, &attested.config]
                .into_iter()
                .chain(&attested.statements)
        });
        std::iter::once(&self.root).chain(images).chain(attested)
    }

    /// What is attested of its images.
    pub fn attestations(&self) -> impl Iterator<Item = &PackedAttestations> {
        let images = self.images.iter();
        images.filter_map(|packed| packed.attestations.as_ref())
    }
}

/// Packs an image for all its platforms; see [`pack`].
pub fn pack_image(
    store: &Store,
    image: Image<'_>,
    compression: Compression,
) -> Result<PackedImage, StoreError> {
    let mut images = Vec::new();
    for record in image.records() {
        images.push(pack(store, record, compression)?);
    }
    let root = match (image, images.as_slice()) {
        (Image::One(record), [packed])
            if packed.attestations.is_none() && !record.needs_index() =>
        {
            packed.manifest.clone()
        }
        _ => {
            let records = image.records();
            let said = |level| records.iter().flat_map(move |record| record.said(level));
            let attested = images.iter().filter_map(|it| it.attestations.as_ref());
            let attested = attested.map(|it| it.manifest.clone());
            let words = Words::of_index(images.iter().map(|packed| &packed.manifest));
            let manifests = images.iter().map(|packed| packed.manifest.clone());
            let mut index = Index::new(manifests.chain(attested).collect());
            index.media_type = Some(words.index());
            index.annotations.extend(said(Level::Index));
            let mut index = put(store, words.index(), &index.to_json_bytes())?;
            index.annotations.extend(said(Level::IndexDescriptor));
            index
        }
    };
    Ok(PackedImage { root, images })
}

/// Writes a document.
pub(super) fn put(
    store: &Store,
    media_type: MediaType,
    bytes: &[u8],
) -> Result<Descriptor, StoreError> {
    let digest = store.put_blob_bytes(bytes)?;
    Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
}

fn reopen(store: &Store, descriptor: &Descriptor) -> Result<Packed, StoreError> {
    let bytes = store.read_blob(&descriptor.digest)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(StoreError::decode)?;
    Ok(Packed {
        manifest: descriptor.clone(),
        config: manifest.config,
        layers: manifest.layers,
        attestations: None,
    })
}
