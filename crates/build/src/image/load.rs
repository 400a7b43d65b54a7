//! Images from files into the store: OCI layouts, docker archives, root file systems.
//!
//! Manifest and config bytes are kept as they come, so digests stay: an image that is loaded and
//! exported again is the same image. What has no manifest (docker archives, root file systems)
//! gets an OCI one around the layers as they are. Everything is verified against its digest on
//! the way in, and nothing of a file that turns out bad can be seen under a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_oci::{
    Compression, Descriptor, DiffId, Digest, ImageConfig, JsonError, Manifest, MediaType, Platform,
    RootFs, layout, parse_rfc3339,
};
use cairn_store::{Store, StoreError};

use super::bundle::Bundle;
use super::dialect::Dialect;
use super::record::{ImageRecord, Inherited, RecordLayer};
use super::{docker_archive, oci_layout};
use crate::archive::decompress;

/// What is read of a file that is no archive.
const CONTENT: &str = "the content";

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `oci:DIR` or `oci:DIR:TAG`: an image layout; also `oci-archive:FILE`.
    Oci {
        /// The directory or archive.
        path: PathBuf,
        /// The one image wanted.
        tag: Option<String>,
    },
    /// `docker-archive:FILE`: what `docker save` writes.
    DockerArchive(PathBuf),
    /// `tar:FILE`: a root file system.
    RootFs(PathBuf),
    /// A bare path: what it is, it shows itself.
    Unknown(PathBuf),
    /// The same, in a file that standard input was kept in.
    Kept(PathBuf),
}

impl Source {
    /// Reads a source as people write it. Every text is one: without a known prefix it is a path.
    pub fn parse(text: &str) -> Self {
        let Some((kind, rest)) = text.split_once(':') else {
            return Self::Unknown(text.into());
        };
        match kind {
            "oci" | "oci-archive" => match rest.rsplit_once(':') {
                // A colon in a path is allowed if the path is there.
                Some((path, tag)) if !Path::new(rest).exists() => Self::Oci {
                    path: path.into(),
                    tag: Some(tag.to_owned()),
                },
                _ => Self::Oci {
                    path: rest.into(),
                    tag: None,
                },
            },
            "docker-archive" => Self::DockerArchive(rest.into()),
            "tar" => Self::RootFs(rest.into()),
            _ => Self::Unknown(text.into()),
        }
    }

    /// What messages call it.
    fn name(&self) -> &Path {
        match self {
            Self::Kept(_) => Path::new("standard input"),
            Self::Oci { path, .. }
            | Self::DockerArchive(path)
            | Self::RootFs(path)
            | Self::Unknown(path) => path,
        }
    }
}

/// An image that was loaded and has no name in the store yet.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The image.
    pub record: ImageRecord,
    /// The names it has in the file it came from.
    pub names: Vec<String>,
}

/// Why an image cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {what} of {}", path.display())]
    Read {
        /// Which part.
        what: String,
        /// The source.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// It is none of the forms known.
    #[error("{} is no image: {reason}", path.display())]
    NoImage {
        /// The source.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// A document in it is broken.
    #[error("{what} of {} is broken", path.display())]
    Document {
        /// Which.
        what: String,
        /// The source.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: JsonError,
    },
    /// Its bytes are not what they should be.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The source.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<StoreError>,
    },
    /// Its parts do not fit together.
    #[error("{}: {reason}", path.display())]
    Inconsistent {
        /// The source.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// No image in it has the tag asked for.
    #[error("{} has no image `{tag}`; it has {}", path.display(), list(found))]
    NoSuchTag {
        /// The source.
        path: PathBuf,
        /// The tag.
        tag: String,
        /// The tags it has.
        found: Vec<String>,
    },
    /// No image in it runs on the platform asked for.
    #[error("{} has no image for {wanted}; it has {}", path.display(), list(found))]
    NoSuchPlatform {
        /// The source.
        path: PathBuf,
        /// The platform asked for.
        wanted: String,
        /// The platforms it has.
        found: Vec<String>,
    },
    /// The store refused it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none with a name".to_owned();
    }
    names.join(", ")
}

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Which image of several to take, and what a root file system is for.
    pub platform: Platform,
    /// Refuse an image for another platform even if it is the only one.
    pub platform_required: bool,
}

/// Loads every image of a source that fits the platform.
///
/// Nothing gets a name here: save the records once all of them are there.
pub fn load(
    store: &Store,
    source: &Source,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, LoadError> {
    let loader = Loader {
        store,
        path: source.name().to_owned(),
        options,
    };
    let loaded = match source {
        Source::Oci { path, tag } => {
            let bundle = loader.bundle(path)?;
            oci_layout::load(&loader, &bundle, tag.as_deref())
        }
        Source::DockerArchive(path) => docker_archive::load(&loader, &loader.bundle(path)?),
        Source::RootFs(path) => loader.root_fs(path).map(|image| vec![image]),
        Source::Unknown(path) | Source::Kept(path) => loader.recognise(path),
    };
    loaded.map_err(|error| match error {
        LoadError::Store(source) if is_about_content(&source) => LoadError::Damaged {
            path: loader.path,
            source: Box::new(source),
        },
        error => error,
    })
}

/// Whether the bytes that came are at fault rather than the store they went to.
fn is_about_content(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Input { .. }
            | StoreError::DigestMismatch { .. }
            | StoreError::DiffIdMismatch { .. }
            | StoreError::Layer { .. }
            | StoreError::Tar { .. }
    )
}

/// What loading one source needs.
pub(super) struct Loader<'a> {
    pub(super) store: &'a Store,
    pub(super) path: PathBuf,
    pub(super) options: &'a LoadOptions,
}

impl Loader<'_> {
    fn bundle(&self, path: &Path) -> Result<Bundle, LoadError> {
        if path.is_dir() {
            return Ok(Bundle::Directory(path.to_owned()));
        }
        let bundle = Bundle::open_archive(path, self.store.home());
        let bundle = bundle.map_err(|source| self.unreadable(CONTENT, source))?;
        bundle.ok_or_else(|| self.no_image("it has too many files"))
    }

    /// Finds out what a path is.
    fn recognise(&self, path: &Path) -> Result<Vec<Loaded>, LoadError> {
        let bundle = if path.is_dir() {
            Some(Bundle::Directory(path.to_owned()))
        } else {
            let opened = Bundle::open_archive(path, self.store.home());
            opened.map_err(|source| self.unreadable(CONTENT, source))?
        };
        if let Some(bundle) = &bundle {
            // What docker writes today is both; the layout says more.
            if bundle.has(layout::INDEX_FILE) && bundle.has(layout::MARKER_FILE) {
                return oci_layout::load(self, bundle, None);
            }
            if bundle.has(docker_archive::MANIFEST) {
                return docker_archive::load(self, bundle);
            }
        }
        if path.is_dir() {
            return Err(self.no_image("it has no `oci-layout` and no `manifest.json`"));
        }
        self.root_fs(path).map(|image| vec![image])
    }

    /// Puts a blob of the bundle into the store, verified.
    pub(super) fn put(
        &self,
        bundle: &Bundle,
        name: &str,
        descriptor: &Descriptor,
    ) -> Result<(), LoadError> {
        if self.store.has_blob(&descriptor.digest) {
            return Ok(());
        }
        let mut file = self.open(bundle, name)?;
        let (_, size) = self.store.put_blob(Some(&descriptor.digest), &mut file)?;
        if size != descriptor.size {
            let digest = &descriptor.digest;
            let promised = descriptor.size;
            return Err(self.inconsistent(format!(
                "blob {digest} has {size} bytes, its descriptor says {promised}"
            )));
        }
        Ok(())
    }

    pub(super) fn open(&self, bundle: &Bundle, name: &str) -> Result<impl Read + Send, LoadError> {
        bundle
            .open(name)
            .map_err(|source| self.unreadable(name, source))
    }

    /// Unpacks the layers of an image whose blobs are in the store, and makes its record.
    pub(super) fn record(
        &self,
        manifest: Descriptor,
        layers: &[Descriptor],
        config: ImageConfig,
        annotations: BTreeMap<String, String>,
    ) -> Result<ImageRecord, LoadError> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            return Err(self.inconsistent(format!(
                "the config speaks of {} layers, the manifest of {}",
                diff_ids.len(),
                layers.len()
            )));
        }
        let platform = config.platform();
        let mut record_layers = Vec::new();
        for (descriptor, diff_id) in layers.iter().zip(diff_ids) {
            record_layers.push(self.layer(descriptor, diff_id)?);
        }
        let created = config.created.as_deref().and_then(parse_rfc3339);
        let mut packed = manifest;
        packed.platform = Some(platform.clone());
        Ok(ImageRecord {
            platform,
            config: config.config,
            author: config.author,
            epoch: created.unwrap_or(0),
            epoch_is_given: false,
            layers: record_layers,
            history: config.history,
            annotations,
            outer: Vec::new(),
            packed: Some(packed),
            pulled: None,
            results: Vec::new(),
            attested: None,
            inherited: Inherited::default(),
            marked: None,
            dialect: Dialect::default(),
            absent: BTreeMap::new(),
        })
    }

    fn layer(&self, descriptor: &Descriptor, diff_id: &DiffId) -> Result<RecordLayer, LoadError> {
        let blob = self.store.open_blob(&descriptor.digest)?;
        let imported = self
            .store
            .import_layer(blob, Some(diff_id), Some(descriptor));
        let (snapshot, _) = imported?;
        let content = self.store.snapshot_content(&snapshot)?;
        Ok(RecordLayer { snapshot, content })
    }

    /// Writes an OCI manifest for layers that have none.
    pub(super) fn wrap(
        &self,
        config: &[u8],
        layers: Vec<Descriptor>,
    ) -> Result<Descriptor, LoadError> {
        let digest = self.store.put_blob_bytes(config)?;
        let config = Descriptor::new(MediaType::OciConfig, digest, config.len() as u64);
        let bytes = Manifest::new(config, layers).to_json_bytes();
        let digest = self.store.put_blob_bytes(&bytes)?;
        Ok(Descriptor::new(
            MediaType::OciManifest,
            digest,
            bytes.len() as u64,
        ))
    }

    /// Takes a root file system in as an image of one layer, its bytes as they are.
    fn root_fs(&self, path: &Path) -> Result<Loaded, LoadError> {
        let unreadable = |source| self.unreadable(CONTENT, source);
        let mut file = File::open(path).map_err(unreadable)?;
        let mut start = [0; 4];
        let start = file.read_at(&mut start, 0).map(|read| &start[..read]);
        let compression = layer_compression(start.map_err(unreadable)?);
        let (digest, size) = match compression {
            // Forms that no layer may have are unpacked on the way.
            Compression::None => {
                let mut plain = decompress(file).map_err(unreadable)?;
                self.store.put_blob(None, &mut plain)?
            }
            Compression::Gzip | Compression::Zstd => self.store.put_blob(None, &mut file)?,
        };
        let layer = Descriptor::new(MediaType::OciLayer(compression), digest, size);
        let blob = self.store.open_blob(&layer.digest)?;
        let (snapshot, diff_id) = self.store.import_layer(blob, None, Some(&layer))?;
        let files = std::fs::read_dir(self.store.snapshot_dir(&snapshot));
        if files.is_ok_and(|mut files| files.next().is_none()) {
            return Err(self.no_image("the tar holds no file"));
        }
        let config = ImageConfig {
            rootfs: RootFs {
                diff_ids: vec![diff_id],
                ..RootFs::default()
            },
            ..ImageConfig::new(&self.options.platform)
        };
        let manifest = self.wrap(&config.to_json_bytes(), vec![layer.clone()])?;
        let record = self.record(manifest, &[layer], config, BTreeMap::new())?;
        Ok(Loaded {
            record,
            names: Vec::new(),
        })
    }

    pub(super) fn unreadable(&self, what: &str, source: io::Error) -> LoadError {
        LoadError::Read {
            what: match what {
                CONTENT => CONTENT.to_owned(),
                file => format!("`{file}`"),
            },
            path: self.path.clone(),
            source,
        }
    }

    pub(super) fn no_image(&self, reason: &'static str) -> LoadError {
        LoadError::NoImage {
            path: self.path.clone(),
            reason,
        }
    }

    pub(super) fn inconsistent(&self, reason: String) -> LoadError {
        LoadError::Inconsistent {
            path: self.path.clone(),
            reason,
        }
    }

    pub(super) fn broken(&self, what: impl Into<String>, source: JsonError) -> LoadError {
        LoadError::Document {
            what: what.into(),
            path: self.path.clone(),
            source,
        }
    }
}

/// How a layer's bytes are compressed, by the first of them. Layers know these forms only.
pub(super) fn layer_compression(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Where a blob is in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!(
        "{}/{}",
        layout::BLOBS,
        digest.to_string().replacen(':', "/", 1)
    )
}
