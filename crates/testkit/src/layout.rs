//! OCI image layouts from a few lines.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_oci::{
    Compression, Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, annotation,
    layout,
};

use crate::gzip;

/// Writes an image layout directory, image by image.
#[derive(Debug)]
pub struct OciLayout {
    directory: PathBuf,
    manifests: Vec<Descriptor>,
}

impl OciLayout {
    /// Starts a layout in a directory.
    pub fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).expect("new directories");
        fs::write(directory.join(layout::MARKER_FILE), layout::MARKER).expect("a new file");
        Self {
            directory: directory.into(),
            manifests: Vec::new(),
        }
    }

    /// Adds an image of gzip layers, bottom first, under a tag, and gives its manifest.
    ///
    /// `config` brings the settings; its layers are filled in.
    pub fn image(&mut self, tag: &str, mut config: ImageConfig, layers: &[Vec<u8>]) -> Descriptor {
        let diff_ids = layers.iter().map(|tar| DiffId(Digest::sha256(tar)));
        config.rootfs.diff_ids = diff_ids.collect();
        let gzip_layer = MediaType::OciLayer(Compression::Gzip);
        let layers = layers
            .iter()
            .map(|tar| self.blob(gzip_layer.clone(), &gzip(tar)))
            .collect();
        let config = self.blob(MediaType::OciConfig, &config.to_json_bytes());
        let manifest = Manifest::new(config, layers);
        let mut manifest = self.blob(MediaType::OciManifest, &manifest.to_json_bytes());
        manifest
            .annotations
            .insert(annotation::REF_NAME.into(), tag.into());
        self.manifests.push(manifest.clone());
        let index = Index::new(self.manifests.clone()).to_json_bytes();
        fs::write(self.directory.join(layout::INDEX_FILE), index).expect("a new file");
        manifest
    }

    /// Adds a blob.
    pub fn blob(&self, media_type: MediaType, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        let path = self
            .directory
            .join("blobs/sha256")
            .join(descriptor.digest.hex());
        fs::write(path, bytes).expect("a new file");
        descriptor
    }
}
