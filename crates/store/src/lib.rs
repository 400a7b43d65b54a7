//! The on-disk state: blobs, references, snapshots, layers, cache records, locks, collection.
//!
//! ```text
//! $CAIRN_HOME
//!   version                        format of everything below, one line
//!   lock                           shared to use, exclusive to collect
//!   blobs/sha256/<hex>             manifests, configs, image records, compressed layers
//!   blobs/stamps/<hex>             when each was written (see "Durability")
//!   snapshots/<id>/fs              one committed change each, overlayfs form
//!   snapshots/<id>/snapshot        its stamp and ownership form
//!   snapshots/<id>/side            owners and devices that could not be made, if any
//!   snapshots/<id>/content         its content digest and size, once asked for
//!   cache/<2 hex>/<key>            one record per cache key
//!   equal/<2 hex>/<hex>            (parent content, layer content) -> snapshot
//!   trees/<2 hex>/<hex>            remembered tree digests of immutable layers
//!   layers/<diff id hex>           snapshot of an imported layer
//!   layers/<snapshot>.<form>       what a snapshot was exported as, or imported from
//!   files/<hex>                    content digests of one context's files
//!   refs/<escaped name>            reference -> descriptor
//!   logs/<run>/<vertex>            step logs
//!   synced/<boot id>               up to when everything written in that boot is on the disk
//!   tmp/<session>[.lock]           what a running process is writing
//!   history.db                     SQLite: runs, steps, tests, images
//! ```
//!
//! # The interface, in signatures
//!
//! Fallible functions return `Result<_, StoreError>`; only the value is written here.
//!
//! ```text
//! Store::open(home: &Path, OpenOptions { ownership }) -> Store         Clone, Send, Sync (an Arc)
//! enum Ownership { Native, Recorded }
//!
//! // keys and digests (BLAKE3): hex, Display, FromStr, serde, Ord, Hash
//! CacheKey, ContentDigest;  SnapshotId (32 hex digits)
//! KeyHasher::new("domain")  .field("label", bytes) -> &mut Self  .number("label", u64)
//!     .list("label", iterator of bytes)  .finish_key() -> CacheKey  .finish_content() -> ContentDigest
//!
//! // blobs
//! store.has_blob(&Digest) -> bool (plain)      store.blob_path(&Digest) -> PathBuf (plain)
//! store.open_blob(&Digest) -> File             store.blob_size(&Digest) -> Option<u64> (plain)
//! store.read_blob(&Digest) -> Vec<u8>          verified; at most 64 MiB
//! store.put_blob_bytes(&[u8]) -> Digest        store.put_blob(Option<&Digest>, &mut dyn Read) -> (Digest, u64)
//! store.blob_writer() -> BlobWriter            Write; .finish(Option<&Digest>) -> (Digest, u64)
//!
//! // references
//! store.set_ref(&str, &Descriptor)             store.get_ref(&str) -> Option<Descriptor>
//! store.publish(&[(String, Descriptor)])       make everything durable, then set all: one sync
//! store.remove_ref(&str) -> bool               store.list_refs() -> Vec<(String, Descriptor)>
//!
//! // snapshots
//! store.begin_snapshot() -> ActiveSnapshot     .id() .upper() .work(); Drop removes it
//! active.set_owner(rel, uid, gid)              active.make_device(rel, DeviceKind, major, minor, mode)
//! active.commit() -> SnapshotId                store.make_durable(&[SnapshotId])
//! store.snapshot_dir(&SnapshotId) -> PathBuf   store.snapshot_exists(&SnapshotId) -> bool   (plain)
//! store.snapshot_content(&SnapshotId) -> ContentDigest
//!
//! // one tree out of many snapshots (bottom first), without a mount
//! LayeredView::new(&store, &[SnapshotId]) -> LayeredView;  .with_upper(&ActiveSnapshot)
//! view.lookup(path) -> Option<Entry>           path taken literally: no symlink is followed
//! view.find(path, follow_last) -> Option<Entry>    as lstat/stat would inside the root
//! view.resolve(path, follow_last) -> PathBuf   inside the root; missing parts are kept as they are
//! view.read_dir(path) -> Vec<(OsString, Entry)>    sorted; path taken literally
//! view.open(&Entry) -> File   view.read_link(&Entry) -> PathBuf   view.xattrs(&Entry) -> Vec<(OsString, Vec<u8>)>
//! view.tree_digest(path, &TreeOptions) -> ContentDigest
//! Entry { path, kind: EntryKind, mode, uid, gid, size, mtime: (i64, u32), rdev: (u32, u32), host_path, hardlink: Option<HardlinkId> }
//!
//! // layers
//! store.export_layer(&SnapshotId, epoch: i64, Compression) -> Layer { diff_id, descriptor }
//! store.import_layer(impl Read + Send, Option<&DiffId>, Option<&Descriptor>) -> (SnapshotId, DiffId)
//! store.imported_layer(&DiffId) -> Option<SnapshotId> (plain)
//! write_tree(&LayeredView, epoch: Option<i64>, impl Write)             a root file system as one tar
//!
//! // cache records
//! store.put_record(&CacheRecord)               store.get_record(&CacheKey) -> Option<CacheRecord> (plain)
//! store.put_equal(&parent, &layer, &SnapshotId)    store.find_equal(&parent, &layer) -> Option<SnapshotId> (plain)
//!
//! // context files
//! store.file_digests(root: &Path) -> FileDigestCache (plain)
//! cache.lookup(&FileIdentity) -> Option<ContentDigest>   cache.insert(FileIdentity, ContentDigest, read_began: SystemTime)
//! cache.save()
//!
//! // history, logs, care
//! store.history() -> History                   opened when first asked for
//! store.log_writer(run: &str, vertex: &str) -> File
//! collect(home, &GcOptions) -> GcReport        store.check(repair: bool) -> Vec<Finding>
//! ```

mod blob;
mod cache;
mod check;
mod collect;
mod durability;
mod error;
mod files;
mod filesystem_kind;
mod history;
mod home;
mod keys;
mod layer;
mod layer_dir;
mod logs;
mod parallel;
mod record_file;
mod refs;
mod remove;
mod session;
mod side;
mod snapshot;
mod store;
mod tree_digest;
mod tree_hash;
mod turns;
mod view;
mod whiteout;

pub use blob::{BlobWriter, DOCUMENT_SIZE_MAX};
pub use cache::CacheRecord;
pub use cairn_oci::Compression;
pub use check::{Finding, Severity};
pub use collect::{GcItem, GcKind, GcOptions, GcReason, GcReport, collect};
pub use error::StoreError;
pub use files::{FileDigestCache, FileIdentity};
pub use filesystem_kind::network_filesystem;
pub use history::{BuiltImage, History, RunRecord, StepRecord, TestRecord};
pub use keys::{CacheKey, ContentDigest, HexError, KeyHasher, SnapshotId};
pub use layer::{Layer, write_tree};
pub use layer_dir::EntryKind;
pub use snapshot::{ActiveSnapshot, DeviceKind};
pub use store::{OpenOptions, Ownership, Store};
pub use tree_digest::{Exclude, TreeOptions};
pub use view::{Entry, HardlinkId, LayeredView};
pub use whiteout::{make_opaque, make_whiteout};
