//! Layers: snapshots as tars, out and in.
//!
//! Out: a snapshot becomes a tar, its DiffId, a compressed blob and its digest in one streaming
//! pass (`export`, `tar_write`, `compress`), once per form: `layers/` remembers. In: a tar of any
//! form becomes a snapshot, once per DiffId (`decompress`, `tar_read`, `unpack`). A layer that came
//! in goes out as the very blob that came, or as that blob's tar compressed anew; its DiffId stays.
//!
//! | file in `layers/` | says |
//! | --- | --- |
//! | `<diff id>` | which snapshot this layer was unpacked to |
//! | `<snapshot>.imported` | the DiffId it came with, and the blobs that hold it |
//! | `<snapshot>.<compression>.<epoch>` | what it was exported as |

mod compress;
mod decompress;
mod export;
mod noise;
mod tar_field;
mod tar_read;
mod tar_write;
mod unpack;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use cairn_oci::{Compression, Descriptor, DiffId, Digest, MediaType};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::SnapshotId;
use crate::blob::BlobWriter;
use crate::cache::read_and_touch;
use crate::error::{At, StoreError};
use crate::home::read_if_there;
use crate::parallel;
use crate::record_file;
use crate::store::Store;
use compress::Compressor;

pub use export::{Tree, write_tree, write_trees};

const UNPACKED_KIND: &str = "unpacked/1";
const IMPORTED_KIND: &str = "imported/1";
const EXPORTED_KIND: &str = "exported/1";

/// A layer as a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The blob.
    pub descriptor: Descriptor,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UnpackedRecord {
    pub(crate) snapshot: SnapshotId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImportedRecord {
    pub(crate) diff_id: DiffId,
    /// What it came as, and what it was compressed to since.
    pub(crate) blobs: Vec<Descriptor>,
}

impl Store {
    /// Gives a snapshot as a layer blob, making it unless that was done before.
    ///
    /// The same content gives the same bytes on every machine. Times are clamped to `epoch`
    /// (seconds since 1970) in layers made here; layers that were imported keep their tar.
    pub fn export_layer(
        &self,
        snapshot: &SnapshotId,
        epoch: i64,
        compression: Compression,
    ) -> Result<Layer, StoreError> {
        let _turn = self.turns().take(format!("export {snapshot}"));
        if let Some(imported) = self.imported_record(snapshot)
            && let Some(layer) = self.export_imported(snapshot, imported, compression)?
        {
            return Ok(layer);
        }
        let record = self.exported_path(snapshot, epoch, compression);
        if let Some(layer) = self.known_export(&record) {
            return Ok(layer);
        }
        let directory = self.layer_dir(snapshot)?;
        let layer = self.write_layer_blob(compression, |sink| {
            export::write_layer(&directory, epoch, sink)
        })?;
        let bytes = record_file::print(EXPORTED_KIND, &layer);
        self.session()?.write(&record, &bytes)?;
        Ok(layer)
    }

    /// Unpacks a layer tar (gzip, zstd or plain) into a snapshot, unless its DiffId is known.
    ///
    /// With `expected`, a known layer is not even read, and another tar is refused. `blob` says
    /// which stored blob the bytes are, so that an export can give that very blob.
    pub fn import_layer(
        &self,
        source: impl Read + Send,
        expected: Option<&DiffId>,
        blob: Option<&Descriptor>,
    ) -> Result<(SnapshotId, DiffId), StoreError> {
        let _turn = expected.map(|diff_id| self.turns().take(format!("import {diff_id}")));
        if let Some(diff_id) = expected
            && let Some(snapshot) = self.imported_layer(diff_id)
        {
            self.remember_import(&snapshot, diff_id, blob)?;
            return Ok((snapshot, diff_id.clone()));
        }
        let active = self.begin_snapshot()?;
        let (active, found) = decompress::with_tar(source, |tar| {
            unpack::unpack(&active, tar)?;
            Ok(active)
        })?;
        if let Some(expected) = expected
            && expected != &found
        {
            return Err(StoreError::DiffIdMismatch {
                expected: expected.clone(),
                found,
            });
        }
        // Without an expectation it may turn out to be known now: then this one is dropped.
        let snapshot = match self.imported_layer(&found) {
            Some(known) => known,
            None => active.commit()?,
        };
        self.remember_import(&snapshot, &found, blob)?;
        Ok((snapshot, found))
    }

    /// Unpacks a layer tar into a new snapshot that nobody takes for an imported layer: it is
    /// exported as one made here. Times that are still to come become those of files made now.
    pub fn unpack_layer(&self, source: impl Read + Send) -> Result<SnapshotId, StoreError> {
        let active = self.begin_snapshot()?;
        let (active, _) = decompress::with_tar(source, |tar| {
            unpack::unpack_until(&active, tar, active.new_since())?;
            Ok(active)
        })?;
        active.commit()
    }

    /// The snapshot that a layer was unpacked to, if it is there.
    pub fn imported_layer(&self, diff_id: &DiffId) -> Option<SnapshotId> {
        let bytes = read_and_touch(&self.unpacked_path(diff_id))?;
        let record: UnpackedRecord = record_file::parse(UNPACKED_KIND, &bytes)?;
        self.snapshot_exists(&record.snapshot)
            .then_some(record.snapshot)
    }

    fn remember_import(
        &self,
        snapshot: &SnapshotId,
        diff_id: &DiffId,
        blob: Option<&Descriptor>,
    ) -> Result<(), StoreError> {
        let known = self.imported_record(snapshot);
        let is_new = known.is_none();
        let mut record = known.unwrap_or_else(|| ImportedRecord {
            diff_id: diff_id.clone(),
            blobs: Vec::new(),
        });
        let has_blob = |blob: &Descriptor| record.blobs.iter().any(|has| has.digest == blob.digest);
        let new_blob = blob.filter(|blob| !has_blob(blob));
        if is_new || new_blob.is_some() {
            record.blobs.extend(new_blob.cloned());
            self.put_imported_record(snapshot, &record)?;
        }
        if is_new {
            let unpacked = UnpackedRecord {
                snapshot: *snapshot,
            };
            let bytes = record_file::print(UNPACKED_KIND, &unpacked);
            self.session()?
                .write(&self.unpacked_path(diff_id), &bytes)?;
        }
        Ok(())
    }

    /// An imported layer as a blob it came as, or its tar compressed anew. `None` if no blob of it
    /// is left: then only its files are.
    fn export_imported(
        &self,
        snapshot: &SnapshotId,
        mut record: ImportedRecord,
        compression: Compression,
    ) -> Result<Option<Layer>, StoreError> {
        let fits = |blob: &&Descriptor| {
            blob.media_type.layer_compression() == Some(compression) && self.has_blob(&blob.digest)
        };
        if let Some(blob) = record.blobs.iter().find(fits) {
            let media_type = MediaType::OciLayer(compression);
            let descriptor = Descriptor::new(media_type, blob.digest.clone(), blob.size);
            let diff_id = record.diff_id;
            return Ok(Some(Layer {
                diff_id,
                descriptor,
            }));
        }
        let Some(source) = record.blobs.iter().find(|blob| self.has_blob(&blob.digest)) else {
            return Ok(None);
        };
        let path = self.blob_path(&source.digest);
        let blob = self.open_blob(&source.digest)?;
        let layer = self.write_layer_blob(compression, |mut sink| {
            let mut tar = decompress::decompressed(blob).at("read", &path)?;
            io::copy(&mut tar, &mut sink).at("compress", &path)?;
            Ok(sink)
        })?;
        if layer.diff_id != record.diff_id {
            return Err(StoreError::DiffIdMismatch {
                expected: record.diff_id,
                found: layer.diff_id,
            });
        }
        record.blobs.push(layer.descriptor.clone());
        self.put_imported_record(snapshot, &record)?;
        Ok(Some(layer))
    }

    /// Runs a tar through digest and compression into a blob.
    fn write_layer_blob(
        &self,
        compression: Compression,
        write: impl FnOnce(TarSink) -> Result<TarSink, StoreError>,
    ) -> Result<Layer, StoreError> {
        let blob = self.blob_writer()?;
        let output = |source| StoreError::Output {
            what: "layer",
            source,
        };
        let compressor = Compressor::new(blob, compression, parallel::workers()).map_err(output)?;
        let sink = write(TarSink {
            hasher: Sha256::new(),
            compressor,
        })?;
        let diff_id = DiffId(Digest::from_sha256(sink.hasher.finalize().into()));
        let blob = sink.compressor.finish().map_err(output)?;
        let (digest, size) = blob.finish(None)?;
        let descriptor = Descriptor::new(MediaType::OciLayer(compression), digest, size);
        Ok(Layer {
            diff_id,
            descriptor,
        })
    }

    fn known_export(&self, record: &std::path::Path) -> Option<Layer> {
        let layer: Layer = record_file::parse(EXPORTED_KIND, &read_and_touch(record)?)?;
        self.has_blob(&layer.descriptor.digest).then_some(layer)
    }

    fn imported_record(&self, snapshot: &SnapshotId) -> Option<ImportedRecord> {
        let bytes = read_if_there(&self.imported_path(snapshot)).ok()??;
        record_file::parse(IMPORTED_KIND, &bytes)
    }

    fn put_imported_record(
        &self,
        snapshot: &SnapshotId,
        record: &ImportedRecord,
    ) -> Result<(), StoreError> {
        let bytes = record_file::print(IMPORTED_KIND, record);
        self.session()?.write(&self.imported_path(snapshot), &bytes)
    }

    fn unpacked_path(&self, diff_id: &DiffId) -> PathBuf {
        self.layout().part("layers").join(diff_id.0.hex())
    }

    fn imported_path(&self, snapshot: &SnapshotId) -> PathBuf {
        self.layout()
            .part("layers")
            .join(format!("{snapshot}.imported"))
    }

    fn exported_path(
        &self,
        snapshot: &SnapshotId,
        epoch: i64,
        compression: Compression,
    ) -> PathBuf {
        let name = format!("{snapshot}.{compression}.{epoch}");
        self.layout().part("layers").join(name)
    }
}

/// What a file in `layers/` names: a snapshot, and blobs. `None` if it is no whole record.
pub(crate) fn named_by(name: &str, bytes: &[u8]) -> Option<(SnapshotId, Vec<Digest>)> {
    let digest = |descriptor: &Descriptor| descriptor.digest.clone();
    let Some((snapshot, form)) = name.split_once('.') else {
        let record: UnpackedRecord = record_file::parse(UNPACKED_KIND, bytes)?;
        return Some((record.snapshot, Vec::new()));
    };
    let snapshot = snapshot.parse().ok()?;
    if form == "imported" {
        let record: ImportedRecord = record_file::parse(IMPORTED_KIND, bytes)?;
        return Some((snapshot, record.blobs.iter().map(digest).collect()));
    }
    let layer: Layer = record_file::parse(EXPORTED_KIND, bytes)?;
    Some((snapshot, vec![digest(&layer.descriptor)]))
}

/// Digests a tar on its way into the compressor.
#[derive(Debug)]
struct TarSink {
    hasher: Sha256,
    compressor: Compressor<BlobWriter>,
}

impl Write for TarSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.compressor.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.compressor.flush()
    }
}
