//! Images out of the store: layouts, archives, root file systems.
//!
//! | form | what it is, for one platform; for several | compression |
//! | --- | --- | --- |
//! | [`Form::OciDirectory`], [`Form::OciArchive`] | an image layout; with an index over the platforms | as packed |
//! | [`Form::DockerArchive`] | the same as tar, plus docker's `manifest.json`; not possible | as packed |
//! | [`Form::Tar`], [`Form::Directory`] | the root file system; one in a folder `os_architecture` each (`roots`) | none |
//!
//! Bytes are deterministic: entries are sorted and carry no time but those of the image. A
//! destination appears whole or not at all: everything is written beside it and renamed. Only a
//! root file system that goes into a directory with files in it is merged, as docker does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cairn_oci::{Compression, Descriptor, Index, Reference, annotation, layout};
use cairn_sandbox::Cancel;
use cairn_store::{Store, StoreError};
use serde::Serialize;

use super::beside::Beside;
use super::load::blob_name;
use super::pack::{Image, PackedImage, pack_image};
use super::record::ImageRecord;
use super::roots::Roots;
use super::stoppable::Stoppable;

/// What an image is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An image layout in a directory.
    OciDirectory,
    /// An image layout in a tar.
    OciArchive,
    /// What `docker load` reads.
    DockerArchive,
    /// The root file system as a tar.
    Tar,
    /// The root file system as files.
    Directory,
}

/// An image to export.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The image.
    pub image: Image<'a>,
    /// The names it gets in the archive.
    pub names: &'a [Reference],
    /// What it becomes.
    pub form: Form,
    /// How its layers are compressed, unless it came with layers of its own.
    pub compression: Compression,
    /// Whether each root file system goes into the folder of its platform; usually those of
    /// several platforms do.
    pub split: Option<bool>,
    /// Whether a directory loses what the image does not have.
    pub deletes: bool,
    /// Whether a directory keeps the times that files came with, even those behind the epoch.
    pub keeps_times: bool,
    /// What the names of files about the image begin with, beside its own files.
    pub attestation_prefix: &'a str,
    /// The request to stop: then the export fails, and what it wrote is removed.
    pub cancel: &'a Cancel,
}

/// What was exported.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    /// Manifests and configs, for the forms that have them.
    pub packed: Option<PackedImage>,
    /// Files that could not be made as they are in the image.
    pub skipped: Vec<PathBuf>,
    /// Whether the destination had files of its own, among which the image's were put.
    pub is_merged: bool,
}

/// Why an image cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The destination cannot be written.
    #[error("cannot {doing} {}", path.display())]
    Write {
        /// What was tried.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The stream cannot be written.
    #[error("cannot write the archive")]
    Stream(#[source] io::Error),
    /// There is something else at the destination.
    #[error("{} exists and is no image layout", .0.display())]
    Occupied(PathBuf),
    /// A directory was asked for where only a stream is possible.
    #[error("a directory cannot be written to a stream")]
    NoStream,
    /// Docker's archive has no place for an index.
    #[error("a docker archive holds the image for one platform only")]
    OnePlatform,
    /// Two platforms have a file of the same name, and no folder of their own.
    #[error("cannot overwrite {} from {first} with {second} when split option is disabled", path.display())]
    Collision {
        /// The file.
        path: PathBuf,
        /// The platform that has it first.
        first: String,
        /// The other one.
        second: String,
    },
    /// The image has a file where one about it is to be.
    #[error("the image has a file `{0}`, where what is attested of it would be")]
    AttestationCollision(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Export<'_> {
    /// Writes the image to a path.
    pub fn to_path(&self, store: &Store, path: &Path) -> Result<Exported, ExportError> {
        match self.form {
            Form::OciDirectory => self.layout_directory(store, path),
            Form::Directory => self.roots().write_directory(store, path),
            Form::OciArchive | Form::DockerArchive | Form::Tar if is_special(path) => {
                let failed = |doing| {
                    let path = path.to_owned();
                    move |source| ExportError::Write {
                        doing,
                        path,
                        source,
                    }
                };
                let file = File::options().write(true).open(path);
                let mut file = file.map_err(failed("open"))?;
                match self.to_stream(store, &mut file) {
                    Err(ExportError::Stream(source)) => Err(failed("write")(source)),
                    exported => exported,
                }
            }
            Form::OciArchive | Form::DockerArchive | Form::Tar => {
                // A link stays one: the file that it names is replaced.
                let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                let beside = Beside::new(path)?;
                let file = File::create_new(&beside.temporary).map_err(beside.failed("create"))?;
                let mut out = BufWriter::with_capacity(1 << 20, file);
                let exported = match self.to_stream(store, &mut out) {
                    Err(ExportError::Stream(source)) => {
                        return Err(beside.failed("write")(source));
                    }
                    exported => exported?,
                };
                out.flush().map_err(beside.failed("write"))?;
                beside.rename()?;
                Ok(exported)
            }
        }
    }

    /// Writes the image as one stream.
    pub fn to_stream(
        &self,
        store: &Store,
        out: &mut (dyn Write + Send),
    ) -> Result<Exported, ExportError> {
        let cancel = self.cancel;
        let out = &mut Stoppable { inner: out, cancel };
        let packed = match self.form {
            Form::OciDirectory | Form::Directory => return Err(ExportError::NoStream),
            Form::Tar => {
                self.roots().write_tar(store, out)?;
                None
            }
            Form::DockerArchive if matches!(self.image, Image::Index(_)) => {
                return Err(ExportError::OnePlatform);
            }
            Form::OciArchive | Form::DockerArchive => {
                let bare = self.unattested();
                let image = bare.as_ref().map_or(self.image, Image::One);
                let packed = pack_image(store, image, self.compression)?;
                let documents = self.documents(&packed);
                write_archive(store, &documents, &packed, out)?;
                Some(packed)
            }
        };
        Ok(Exported {
            packed,
            ..Exported::default()
        })
    }

    /// Docker's archive has no place for what is attested of its image.
    fn unattested(&self) -> Option<ImageRecord> {
        let [record] = self.image.records() else {
            return None;
        };
        let has_no_place = self.form == Form::DockerArchive && record.attested.is_some();
        has_no_place.then(|| ImageRecord {
            attested: None,
            ..record.clone()
        })
    }

    fn layout_directory(&self, store: &Store, path: &Path) -> Result<Exported, ExportError> {
        let exists = path.exists();
        let is_layout = || path.join(layout::MARKER_FILE).is_file();
        let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if exists && !is_layout() && !is_empty() {
            return Err(ExportError::Occupied(path.to_owned()));
        }
        let packed = pack_image(store, self.image, self.compression)?;
        let beside = Beside::new(path)?;
        self.write_layout(store, &packed, &beside.temporary)?;
        match exists {
            // The old directory takes the temporary name and goes with it.
            true => beside.exchange()?,
            false => beside.rename()?,
        }
        Ok(Exported {
            packed: Some(packed),
            ..Exported::default()
        })
    }

    fn write_layout(
        &self,
        store: &Store,
        packed: &PackedImage,
        root: &Path,
    ) -> Result<(), ExportError> {
        let write_error = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::Write {
                doing,
                path,
                source,
            }
        };
        fs::create_dir(root).map_err(write_error("create", root))?;
        for (name, descriptor) in blobs(packed) {
            let path = root.join(name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(write_error("create", folder))?;
            }
            let mut blob = Stoppable {
                inner: store.open_blob(&descriptor.digest)?,
                cancel: self.cancel,
            };
            let mut file = File::create_new(&path).map_err(write_error("create", &path))?;
            io::copy(&mut blob, &mut file).map_err(write_error("write", &path))?;
        }
        for (name, bytes) in self.documents(packed) {
            let path = root.join(name);
            fs::write(&path, bytes).map_err(write_error("write", &path))?;
        }
        Ok(())
    }

    fn roots(&self) -> Roots<'_> {
        Roots {
            images: self.image.records(),
            is_split: self.split.unwrap_or(matches!(self.image, Image::Index(_))),
            names_platform: self.split == Some(false),
            attestation_prefix: self.attestation_prefix,
            deletes: self.deletes,
            keeps_times: self.keeps_times,
            cancel: self.cancel,
        }
    }

    /// The files that are no blobs, by name.
    fn documents(&self, packed: &PackedImage) -> BTreeMap<&'static str, Vec<u8>> {
        let mut documents = BTreeMap::new();
        documents.insert(layout::MARKER_FILE, layout::MARKER.into());
        documents.insert(layout::INDEX_FILE, self.index(packed).to_json_bytes());
        if let (Form::DockerArchive, [packed]) = (self.form, packed.images.as_slice()) {
            let item = DockerItem {
                config: blob_name(&packed.config.digest),
                repo_tags: self.names.iter().map(Reference::familiar).collect(),
                layers: packed
                    .layers
                    .iter()
                    .map(|layer| blob_name(&layer.digest))
                    .collect(),
            };
            let bytes = serde_json::to_vec(&[item]).expect("strings are always JSON");
            documents.insert(super::docker_archive::MANIFEST, bytes);
        }
        documents
    }

    /// The layout's index: the manifest (or the index over the platforms) once per name, as docker
    /// and skopeo find it.
    fn index(&self, packed: &PackedImage) -> Index {
        let named = |name: &Reference| {
            let mut descriptor = packed.root.clone();
            let tag = name.tag().unwrap_or("latest").to_owned();
            let annotations = &mut descriptor.annotations;
            annotations.insert(annotation::REF_NAME.to_owned(), tag);
            annotations.insert(annotation::CONTAINERD_NAME.to_owned(), name.to_string());
            descriptor
        };
        let manifests: Vec<Descriptor> = match self.names {
            [] => vec![packed.root.clone()],
            names => names.iter().map(named).collect(),
        };
        Index::new(manifests)
    }
}

/// An entry of docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerItem {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// All blobs of an image, each once, in a stable order.
fn blobs(packed: &PackedImage) -> BTreeMap<String, &Descriptor> {
    packed
        .blobs()
        .map(|descriptor| (blob_name(&descriptor.digest), descriptor))
        .collect()
}

/// Writes the tar form. Documents come first, so a reader of a stream meets the index early.
fn write_archive(
    store: &Store,
    documents: &BTreeMap<&'static str, Vec<u8>>,
    packed: &PackedImage,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let mut tar = tar::Builder::new(out);
    for (name, bytes) in documents {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        tar.append_data(&mut header, name, bytes.as_slice())
            .map_err(ExportError::Stream)?;
    }
    let mut folder = String::new();
    for (name, descriptor) in blobs(packed) {
        let above = &name[..name.rfind('/').map_or(0, |at| at + 1)];
        if folder != above {
            above.clone_into(&mut folder);
            for (at, _) in folder.match_indices('/') {
                let mut header = header(tar::EntryType::Directory, 0o755, 0);
                tar.append_data(&mut header, &folder[..=at], io::empty())
                    .map_err(ExportError::Stream)?;
            }
        }
        let blob = store.open_blob(&descriptor.digest)?;
        let mut header = header(tar::EntryType::Regular, 0o644, descriptor.size);
        tar.append_data(&mut header, &name, blob)
            .map_err(ExportError::Stream)?;
    }
    tar.finish().map_err(ExportError::Stream)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Whether a path leads to something that is written through, not replaced: a device, a pipe.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}
