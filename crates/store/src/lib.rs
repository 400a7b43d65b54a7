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
//!   mounts/<hex>/                  cache mounts: directories that outlive steps
//!   synced/<boot id>               up to when everything written in that boot is on the disk
//!   busy/<key>                     whose work is being done
//!   tmp/<session>[.lock]           what a running process is writing
//!   history.db                     SQLite: runs, steps, tests, images
//! ```
//!
//! # Where to begin
//!
//! | to | see |
//! | --- | --- |
//! | open a home | [`Store::open`] |
//! | keep bytes by digest | [`Store::put_blob`], [`Store::blob_writer`], [`Store::open_blob`], [`Store::read_blob`] |
//! | name them | [`Store::set_ref`], [`Store::publish`], [`Store::get_ref`] |
//! | make a file system change | [`Store::begin_snapshot`], [`ActiveSnapshot`] |
//! | make it outlive a power cut | [`Store::make_durable`], [`Store::publish`] |
//! | look into several changes as one tree | [`LayeredView`], [`write_tree`] |
//! | know whether two are the same | [`Store::snapshot_content`], [`LayeredView::tree_digest`] |
//! | turn them into layers and back | [`Store::export_layer`], [`Store::import_layer`] |
//! | remember what a vertex gave | [`Store::put_record`], [`Store::get_record`], [`Store::find_equal`] |
//! | not do what another process is doing | [`Store::lock_work`] |
//! | not read an unchanged context | [`Store::file_digests`] |
//! | lend a step a directory that outlives it | [`Store::take_cache_mount`] |
//! | tell what happened | [`Store::history`], [`Store::log_writer`] |
//! | clean up, look for damage | [`collect()`], [`Store::check`] |
//!
//! # Invariants
//!
//! - Opening reads one file and takes one lock; a hit reads two small files. Nothing is synced,
//!   listed or locked besides, so that a run with nothing to do costs a millisecond.
//! - What can be read is true, after any crash: see `durability` and docs/dev/store-format.md.
//! - While a [`Store`] is open (views and caches hold it too), nothing is collected.
//! - Bytes are verified when they come in. Strangers' layers are contained in their snapshot.
//! - No output, no environment variables, no network, no mounts.

mod blob;
mod cache;
mod cache_mount;
mod check;
mod collect;
mod disk;
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
mod merge;
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
mod work_lock;

pub use blob::{BlobWriter, DOCUMENT_SIZE_MAX};
pub use cache::CacheRecord;
pub use cache_mount::{
    CacheMount, CacheMountClaims, CacheMountSharing, CacheMountStart, CacheMountUse,
};
pub use cairn_oci::Compression;
pub use check::{Finding, Severity};
pub use collect::{GcItem, GcKind, GcOptions, GcReason, GcReport, collect};
pub use disk::{Room, write_advice};
pub use error::StoreError;
pub use files::{FileDigestCache, FileIdentity};
pub use filesystem_kind::network_filesystem;
pub use history::{BuiltImage, History, RunRecord, StepRecord, TestRecord};
pub use keys::{CacheKey, ContentDigest, HexError, KeyHasher, SnapshotId};
pub use layer::{Layer, Tree, write_tree, write_trees};
pub use layer_dir::EntryKind;
pub use snapshot::{ActiveSnapshot, DeviceKind};
pub use store::{OpenOptions, Ownership, Store};
pub use tree_digest::{CONTENT_FORMAT, Exclude, TreeOptions};
pub use view::{Entry, HardlinkId, LayeredView};
pub use whiteout::{make_opaque, make_whiteout};
pub use work_lock::WorkLock;
