//! A removal taken back: the registry still has the blobs until it collects what nothing leads to.

use std::collections::{BTreeMap, BTreeSet};

use cairn_oci::{Descriptor, MediaType, Reference};

use super::super::Means;
use super::super::error::PublishError;
use super::super::ledger::{Ledger, tag_and_number};
use super::record::{Event, Manifests, Record, Thing, next_number, records, valid};
use super::sweep::{put, unchanged};

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// When it was removed, in seconds since 1970; `None` where it was only announced.
    pub removed: Option<i64>,
    /// What is there again, or will stay.
    pub back: Vec<String>,
    /// Tags that mean something else by now, and stay so.
    pub moved: Vec<String>,
    /// What cannot be brought back: the registry has taken its blobs.
    pub lost: Vec<String>,
}

pub(super) fn undo(means: Means<'_>, ledger: &Ledger) -> Result<Option<Undone>, PublishError> {
    let records = records(means, ledger)?;
    let valid = valid(&records);
    let removal = valid.iter().rev().find(|it| it.event == Event::Removed);
    let Some(last) = removal.or(valid.last()) else {
        return Ok(None);
    };
    let mut undone = Undone::default();
    match removal {
        Some(removal) => {
            undone.removed = Some(removal.time);
            removal.fetch_manifests(means, ledger)?;
            put_back(means, ledger, removal, &mut undone)?;
        }
        None => {
            let things = valid.iter().flat_map(|record| &record.things);
            let names: BTreeSet<String> = things.flat_map(Thing::names).collect();
            undone.back.extend(names);
        }
    }
    let record = Record {
        number: next_number(&records),
        time: means.now,
        event: Event::Undone(last.number),
        things: Vec::new(),
    };
    record.write(means, ledger, &Manifests::new())?;
    Ok(Some(undone))
}

/// In the opposite order: the parts of an index before it, tags last.
fn put_back(
    means: Means<'_>,
    ledger: &Ledger,
    removal: &Record,
    undone: &mut Undone,
) -> Result<(), PublishError> {
    let again = told_again(ledger, removal);
    for thing in removal.things.iter().rev() {
        let repository: Reference = thing.repository.parse()?;
        let by_digest = repository.with_digest(thing.digest.clone());
        let failed = |source| unchanged("read a tag", &thing.repository, source);
        let there = means.client.look_up(&by_digest, means.watch);
        let there = there.map_err(failed)?;
        let manifest = match (there, &thing.kind) {
            (Some(there), _) => {
                have(means, &by_digest)?;
                there
            }
            (None, Some((kind, size))) => {
                let kind = MediaType::from(kind.clone());
                let manifest = Descriptor::new(kind, thing.digest.clone(), *size);
                match put(means, &by_digest, &manifest) {
                    Ok(()) => manifest,
                    Err(PublishError::Change { source, .. }) if source.is_without_effect() => {
                        undone.lost.extend(thing.names());
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            // The manifest of a tag that went alone went later.
            (None, None) => {
                undone.lost.extend(thing.names());
                continue;
            }
        };
        for tag in &thing.tags {
            let is_older = |(tag, number)| again.get(&tag).is_none_or(|new| number < *new);
            if !tag_and_number(tag).is_none_or(is_older) {
                continue;
            }
            let reference = repository.with_tag(tag)?;
            let now = means.client.look_up(&reference, means.watch);
            match now.map_err(failed)? {
                None => put(means, &reference, &manifest)?,
                Some(now) if now.digest == thing.digest => {}
                Some(_) => {
                    undone.moved.push(reference.to_string());
                    continue;
                }
            }
        }
        undone.back.extend(thing.names());
    }
    Ok(())
}

/// Has a manifest of a registry in the store.
fn have(means: Means<'_>, by_digest: &Reference) -> Result<(), PublishError> {
    let is_there = by_digest
        .digest()
        .is_some_and(|digest| means.store.has_blob(digest));
    if is_there {
        return Ok(());
    }
    let document = means.client.current_document(by_digest, means.watch);
    let document =
        document.map_err(|source| unchanged("read a manifest", &by_digest.name(), source))?;
    means.store.put_blob_bytes(&document.bytes)?;
    Ok(())
}

/// Tags that were published again since, with the smallest number of their new entries: they begin
/// to count at one, and the old ones must not pass for newer ones.
fn told_again(ledger: &Ledger, removal: &Record) -> BTreeMap<String, u32> {
    let of_it = removal.things.iter();
    let of_it = of_it.filter(|thing| thing.repository == ledger.place());
    let removed: BTreeSet<&str> = of_it
        .flat_map(|thing| thing.tags.iter().map(String::as_str))
        .collect();
    let mut again = BTreeMap::new();
    let now = ledger.names("log-").filter(|name| !removed.contains(name));
    for (tag, number) in now.filter_map(tag_and_number) {
        let smallest = again.entry(tag).or_insert(number);
        *smallest = number.min(*smallest);
    }
    again
}
