//! Collection: what nothing names goes; under a budget, what was longest unused goes too.
//!
//! *Pinned* is what a reference leads to: its document, everything a document names (digests and
//! snapshots are found as strings in any JSON document, so that new kinds of documents are not
//! forgotten), and the blobs that an imported layer came as. Pinned things never go.
//!
//! *Rubbish* always goes: sessions of dead processes, snapshots that no record names or that a
//! power cut took the trust in, records that name nothing, remembered digests nobody asks for.
//!
//! *Kept while there is room* is the rest: cached snapshots with the records that name them,
//! layer blobs that could be made again, blobs that somebody put for later (packages), logs, cache
//! mounts, which may have limits of their own.
//! Over the budget, the longest unused goes first, but nothing that was used within
//! [`GcOptions::keep_within`].
//!
//! Collecting takes the store's exclusive lock: it waits for everybody who uses it, or gives up.
//! It is safe to be killed at any moment: records go before what they name, and a snapshot leaves
//! its place by one rename, or, where a full disk has no room for that, begins with its record.

pub(crate) mod inventory;
mod plan;
mod reach;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::{At, StoreError};
use crate::home::{Home, remove_if_there};
use crate::remove::remove_tree;
use crate::session::{Session, sweep};
use crate::snapshot;
use crate::store::{OpenOptions, Ownership, Store};
use crate::work_lock;
use inventory::Inventory;

/// How to collect.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// How many bytes blobs, snapshots and logs may take; `None` for no limit.
    pub budget_bytes: Option<u64>,
    /// How many of them cache mounts may take; `None` for no limit of their own.
    pub cache_mounts_bytes: Option<u64>,
    /// Cache mounts that no step took for so long go.
    pub cache_mounts_age: Option<Duration>,
    /// What was used so recently stays, over the budget or not.
    pub keep_within: Duration,
    /// Only say what would go. Does not wait for anybody.
    pub dry_run: bool,
    /// Wait for those who use the store, rather than give up with [`StoreError::Busy`].
    pub wait: bool,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Whether nothing was removed in truth.
    pub dry_run: bool,
    /// What went.
    pub removed: Vec<GcItem>,
    /// The bytes that it took.
    pub freed_bytes: u64,
    /// The bytes that what stayed takes.
    pub kept_bytes: u64,
    /// Of those, the bytes that references hold.
    pub pinned_bytes: u64,
}

/// One thing that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GcItem {
    /// What it was.
    pub kind: GcKind,
    /// Its name: an id, a digest, or what people called the step that made it.
    pub name: String,
    /// The bytes it took.
    pub bytes: u64,
    /// Why it went.
    pub reason: GcReason,
}

/// What kind of thing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GcKind {
    /// A snapshot, with the records that name it.
    Snapshot,
    /// A blob.
    Blob,
    /// A record that leads nowhere, or a remembered digest.
    Record,
    /// The logs of a run.
    Logs,
    /// A directory of a cache mount.
    CacheMount,
    /// What a process that ended early was writing.
    Leftover,
}

/// Why something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GcReason {
    /// Nothing names it.
    Unreachable,
    /// It is not whole, or may not be: written in a boot that ended before it was synced.
    Damaged,
    /// The budget was exceeded, and it was longest unused.
    OverBudget,
    /// It was unused for longer than it may be.
    Old,
}

/// A removal that was decided.
#[derive(Debug)]
pub(crate) struct Removal {
    item: GcItem,
    /// Removed in this order: what names something goes before what it names.
    paths: Vec<PathBuf>,
}

/// Collects, where there is a store. No [`Store`] of this process may be open on the home: it would wait for itself.
pub fn collect(home: &Path, options: &GcOptions) -> Result<GcReport, StoreError> {
    let layout = Home::open_existing(home)?;
    let _lock = match options.dry_run {
        true => layout.lock_shared()?,
        false => layout.lock_exclusive(options.wait)?,
    };
    let reader = Store::reader(layout);
    let inventory = Inventory::take(&reader)?;
    let reachable = reach::from_references(&reader, &inventory)?;
    let plan = plan::decide(&inventory, &reachable, options, SystemTime::now());
    let mut report = GcReport {
        dry_run: options.dry_run,
        removed: Vec::new(),
        freed_bytes: 0,
        kept_bytes: plan.kept_bytes,
        pinned_bytes: plan.pinned_bytes,
    };
    let tmp = reader.layout().part("tmp");
    for directory in sweep(&tmp, true)? {
        let bytes = inventory::bytes_below(&directory);
        report.add(GcItem {
            kind: GcKind::Leftover,
            name: file_name(&directory),
            bytes,
            reason: GcReason::Unreachable,
        });
    }
    if !options.dry_run {
        work_lock::clear(reader.layout())?;
        sweep(&tmp, false)?;
        remove_all(&tmp, &plan.removals)?;
    }
    for removal in plan.removals {
        report.add(removal.item);
    }
    Ok(report)
}

impl GcReport {
    fn add(&mut self, item: GcItem) {
        self.freed_bytes += item.bytes;
        self.removed.push(item);
    }
}

impl Store {
    /// A handle for somebody who holds the lock already.
    fn reader(layout: Home) -> Self {
        let options = OpenOptions {
            ownership: Ownership::Native,
        };
        Self::with_lock(layout, options, None)
    }
}

fn remove_all(tmp: &Path, removals: &[Removal]) -> Result<(), StoreError> {
    if removals.is_empty() {
        return Ok(());
    }
    // On a full disk there is no room for a session either.
    let session = Session::begin(tmp);
    for path in removals.iter().flat_map(|removal| &removal.paths) {
        if path.is_dir() {
            match &session {
                Ok(session) => {
                    let aside = session.fresh_path();
                    fs::rename(path, &aside).at("remove", path)?;
                    remove_tree(&aside).at("remove", &aside)?;
                }
                Err(_) => {
                    // Without its record a snapshot is absent, however much of it is left.
                    remove_if_there(&path.join(snapshot::RECORD))?;
                    remove_tree(path).at("remove", path)?;
                }
            }
        } else {
            remove_if_there(path)?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
