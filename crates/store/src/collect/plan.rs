//! Decides what goes. Pure: an inventory in, removals out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cairn_oci::Digest;

use super::inventory::{CacheMountItem, FileItem, Inventory, RecordItem, RecordKind};
use super::reach::Reachable;
use super::{GcItem, GcKind, GcOptions, GcReason, Removal, file_name};
use crate::SnapshotId;

/// Remembered digests, and records without a snapshot, that nobody asked for so long go, budget or
/// not: they take no room that a budget could see, and what they are about is gone by then.
const REMEMBERED_MAX_AGE: Duration = Duration::from_secs(60 * 24 * 3600);

/// What was decided.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) removals: Vec<Removal>,
    pub(crate) kept_bytes: u64,
    pub(crate) pinned_bytes: u64,
}

/// Something that may go when there is no room.
#[derive(Debug)]
struct Candidate {
    last_use: SystemTime,
    removal: Removal,
}

pub(crate) fn decide(
    inventory: &Inventory,
    reachable: &Reachable,
    options: &GcOptions,
    now: SystemTime,
) -> Plan {
    let mut removals = Vec::new();
    let mut candidates = Vec::new();
    rubbish(inventory, now, &mut removals);
    snapshots(inventory, reachable, &mut removals, &mut candidates);
    blobs(inventory, reachable, &mut candidates);
    candidates.extend(inventory.logs.iter().map(log_candidate));
    cache_mounts(inventory, options, now, &mut removals, &mut candidates);

    let pinned_bytes = pinned_bytes(inventory, reachable);
    let mut kept_bytes = pinned_bytes + candidates.iter().map(Candidate::bytes).sum::<u64>();
    candidates.sort_by_key(|candidate| candidate.last_use);
    let budget = options.budget_bytes.unwrap_or(u64::MAX);
    for candidate in candidates {
        let age = now
            .duration_since(candidate.last_use)
            .unwrap_or(Duration::MAX);
        if kept_bytes <= budget {
            break;
        }
        if age >= options.keep_within {
            kept_bytes -= candidate.bytes();
            removals.push(candidate.removal);
        }
    }
    Plan {
        removals,
        kept_bytes,
        pinned_bytes,
    }
}

impl Candidate {
    fn bytes(&self) -> u64 {
        self.removal.item.bytes
    }
}

fn rubbish(inventory: &Inventory, now: SystemTime, removals: &mut Vec<Removal>) {
    let is_old = |file: &&FileItem| {
        let age = now.duration_since(file.last_use);
        age.is_ok_and(|age| age > REMEMBERED_MAX_AGE)
    };
    let old = inventory.remembered.iter().filter(is_old);
    for file in inventory.rubbish.iter().chain(old) {
        removals.push(record_removal(&file.path, file.bytes));
    }
    for record in &inventory.records {
        let leads_nowhere = record
            .snapshot
            .is_some_and(|snapshot| !is_whole(inventory, &snapshot));
        let age = now.duration_since(record.last_use).unwrap_or_default();
        let is_forgotten = record.snapshot.is_none() && age > REMEMBERED_MAX_AGE;
        if leads_nowhere || is_forgotten {
            removals.push(record_removal(&record.path, 0));
        }
    }
}

fn record_removal(path: &std::path::Path, bytes: u64) -> Removal {
    Removal {
        item: GcItem {
            kind: GcKind::Record,
            name: file_name(path),
            bytes,
            reason: GcReason::Unreachable,
        },
        paths: vec![path.into()],
    }
}

fn is_whole(inventory: &Inventory, snapshot: &SnapshotId) -> bool {
    inventory
        .snapshots
        .get(snapshot)
        .is_some_and(|item| item.is_whole)
}

/// Damaged and unnamed snapshots go; those that records lead to may.
fn snapshots(
    inventory: &Inventory,
    reachable: &Reachable,
    removals: &mut Vec<Removal>,
    candidates: &mut Vec<Candidate>,
) {
    let mut named: BTreeMap<SnapshotId, Vec<&RecordItem>> = BTreeMap::new();
    for record in &inventory.records {
        if let Some(snapshot) = record.snapshot {
            named.entry(snapshot).or_default().push(record);
        }
    }
    for (snapshot, item) in &inventory.snapshots {
        let records = named.remove(snapshot).unwrap_or_default();
        let leads = || {
            records
                .iter()
                .filter(|record| record.kind == RecordKind::LeadsTo)
        };
        let reason = match item.is_whole {
            false => GcReason::Damaged,
            true if reachable.snapshots.contains(snapshot) => continue,
            true if leads().next().is_none() => GcReason::Unreachable,
            true => GcReason::OverBudget,
        };
        let description = leads()
            .map(|record| &record.description)
            .find(|text| !text.is_empty());
        let mut paths: Vec<PathBuf> = records.iter().map(|record| record.path.clone()).collect();
        paths.push(item.path.clone());
        let removal = Removal {
            item: GcItem {
                kind: GcKind::Snapshot,
                name: description.cloned().unwrap_or_else(|| snapshot.hex()),
                bytes: item.bytes,
                reason,
            },
            paths,
        };
        if reason == GcReason::OverBudget {
            let last_use = leads().map(|record| record.last_use).max();
            candidates.push(Candidate {
                last_use: last_use.unwrap_or(SystemTime::UNIX_EPOCH),
                removal,
            });
        } else {
            removals.push(removal);
        }
    }
}

/// Blobs that no reference leads to may go, with the record that says what was exported as them.
fn blobs(inventory: &Inventory, reachable: &Reachable, candidates: &mut Vec<Candidate>) {
    let mut exported: BTreeMap<&Digest, Vec<&RecordItem>> = BTreeMap::new();
    for record in &inventory.records {
        if record.kind == RecordKind::Exported {
            for digest in &record.blobs {
                exported.entry(digest).or_default().push(record);
            }
        }
    }
    for (digest, blob) in &inventory.blobs {
        if reachable.blobs.contains(digest) {
            continue;
        }
        let records = exported.remove(digest).unwrap_or_default();
        let uses = records.iter().map(|record| record.last_use);
        let mut paths: Vec<PathBuf> = records.iter().map(|record| record.path.clone()).collect();
        paths.extend([blob.path.clone(), blob.stamp_path.clone()]);
        candidates.push(Candidate {
            last_use: uses.chain([blob.last_use]).max().unwrap_or(blob.last_use),
            removal: Removal {
                item: GcItem {
                    kind: GcKind::Blob,
                    name: digest.to_string(),
                    bytes: blob.bytes,
                    reason: GcReason::OverBudget,
                },
                paths,
            },
        });
    }
}

fn log_candidate(folder: &FileItem) -> Candidate {
    Candidate {
        last_use: folder.last_use,
        removal: Removal {
            item: GcItem {
                kind: GcKind::Logs,
                name: file_name(&folder.path),
                bytes: folder.bytes,
                reason: GcReason::OverBudget,
            },
            paths: vec![folder.path.clone()],
        },
    }
}

/// Cache mounts that are too old or exceed the limit of their own go; the others may.
fn cache_mounts(
    inventory: &Inventory,
    options: &GcOptions,
    now: SystemTime,
    removals: &mut Vec<Removal>,
    candidates: &mut Vec<Candidate>,
) {
    let removal = |item: &CacheMountItem, reason| Removal {
        item: GcItem {
            kind: GcKind::CacheMount,
            name: item
                .name
                .clone()
                .unwrap_or_else(|| file_name(&item.file.path)),
            bytes: item.file.bytes,
            reason,
        },
        paths: vec![item.file.path.clone()],
    };
    let mut items: Vec<&CacheMountItem> = inventory.cache_mounts.iter().collect();
    // The most recently used first: they fill the limit.
    items.sort_by_key(|item| std::cmp::Reverse(item.file.last_use));
    let limit = options.cache_mounts_bytes.unwrap_or(u64::MAX);
    let mut taken: u64 = 0;
    for item in items {
        let age = now.duration_since(item.file.last_use).unwrap_or_default();
        let is_old = options.cache_mounts_age.is_some_and(|limit| age > limit);
        let is_over = taken.saturating_add(item.file.bytes) > limit && age >= options.keep_within;
        let reason = match (&item.name, is_old, is_over) {
            (None, ..) => GcReason::Unreachable,
            (Some(_), true, _) => GcReason::Old,
            (Some(_), false, true) => GcReason::OverBudget,
            (Some(_), false, false) => {
                taken += item.file.bytes;
                candidates.push(Candidate {
                    last_use: item.file.last_use,
                    removal: removal(item, GcReason::OverBudget),
                });
                continue;
            }
        };
        removals.push(removal(item, reason));
    }
}

fn pinned_bytes(inventory: &Inventory, reachable: &Reachable) -> u64 {
    let in_use: BTreeSet<_> = reachable.snapshots.iter().collect();
    let snapshots = inventory
        .snapshots
        .iter()
        .filter(|(snapshot, item)| item.is_whole && in_use.contains(snapshot))
        .map(|(_, item)| item.bytes);
    let blobs = inventory
        .blobs
        .iter()
        .filter(|(digest, _)| reachable.blobs.contains(digest))
        .map(|(_, blob)| blob.bytes);
    snapshots.chain(blobs).sum()
}
