//! The removal of what a registry need not keep, in two steps.

use cairn_oci::{Descriptor, Digest, Reference};
use cairn_registry::Document;

use super::super::Means;
use super::super::artifact;
use super::super::error::PublishError;
use super::super::ledger::Ledger;
use super::super::switch::few_at_a_time;
use super::find::{Found, rank};
use super::record::{Event, Manifests, Record, Thing};

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was removed.
    pub removed: Vec<Thing>,
    /// What was announced.
    pub announced: Vec<Thing>,
    /// Tags that the registry does not remove alone, as long as something else needs what they mean.
    pub stuck: Vec<String>,
    /// What somebody needed in the very moment, and was put back.
    pub put_back: Vec<String>,
}

pub(super) fn sweep(
    means: Means<'_>,
    ledger: &Ledger,
    found: &Found,
) -> Result<Swept, PublishError> {
    let mut swept = Swept {
        stuck: found.stuck.clone(),
        ..Swept::default()
    };
    let record = |number, event, things: &[Thing]| Record {
        number,
        time: means.now,
        event,
        things: things.to_vec(),
    };
    if !found.new.is_empty() {
        record(found.next, Event::Announced, &found.new).write(means, ledger, &Manifests::new())?;
        swept.announced.clone_from(&found.new);
    }
    if found.due.is_empty() {
        return Ok(swept);
    }
    let carried = few_at_a_time(&found.due, |thing| carried(means, thing));
    let carried: Vec<Option<(Digest, String)>> = carried.into_iter().collect::<Result<_, _>>()?;
    let carried: Manifests = carried.into_iter().flatten().collect();
    let removal = record(found.next + 1, Event::Removed, &found.due);
    removal.write(means, ledger, &carried)?;
    for things in found
        .due
        .chunk_by(|a, b| rank(ledger, a) == rank(ledger, b))
    {
        let removed = few_at_a_time(things, |thing| remove(means, ledger, thing));
        for (thing, removed) in things.iter().zip(removed) {
            match removed? {
                true => swept.removed.push(thing.clone()),
                false => {
                    let names = thing.tags.iter();
                    let names = names.map(|tag| format!("{}:{tag}", thing.repository));
                    swept.stuck.extend(names);
                }
            }
        }
    }
    swept.put_back = settle(means, ledger, found, &swept.removed)?;
    Ok(swept)
}

/// The text of a manifest, to be put back one day.
fn carried(means: Means<'_>, thing: &Thing) -> Result<Option<(Digest, String)>, PublishError> {
    if thing.only_tags {
        return Ok(None);
    }
    let digest = &thing.digest;
    if !means.store.has_blob(digest) {
        let repository: Reference = thing.repository.parse()?;
        let reference = repository.with_digest(digest.clone());
        match means.client.current_document(&reference, means.watch) {
            Ok(document) => means.store.put_blob_bytes(&document.bytes)?,
            Err(error) if error.is_missing() => return Ok(None),
            Err(source) => return Err(unchanged("read a manifest", &thing.repository, source)),
        };
    }
    // It was read as JSON, which is text.
    let text = String::from_utf8(means.store.read_blob(digest)?).ok();
    Ok(text.map(|text| (digest.clone(), text)))
}

/// Removes a thing; `false` for a tag that the registry does not remove alone.
fn remove(means: Means<'_>, ledger: &Ledger, thing: &Thing) -> Result<bool, PublishError> {
    let repository: Reference = thing.repository.parse()?;
    if thing.only_tags {
        for tag in &thing.tags {
            let reference = repository.with_tag(tag)?;
            match means.client.remove_tag(&reference, means.watch) {
                Ok(()) => {}
                Err(error) if error.is_without_effect() && !error.is_unreachable() => {
                    return Ok(false);
                }
                Err(source) => return Err(unchanged("remove a tag", &thing.repository, source)),
            }
        }
        return Ok(true);
    }
    let removed = means
        .client
        .remove_manifest(&repository, &thing.digest, means.watch);
    removed.map_err(|source| unchanged("remove a manifest", &thing.repository, source))?;
    if thing.repository == ledger.place() {
        for tag in &thing.tags {
            artifact::forget(means, &repository.with_tag(tag)?)?;
        }
    }
    Ok(true)
}

/// Puts back what somebody published in the very moment: whoever writes an entry after it was looked
/// at needs what the entry names.
fn settle(
    means: Means<'_>,
    ledger: &Ledger,
    found: &Found,
    removed: &[Thing],
) -> Result<Vec<String>, PublishError> {
    let name = ledger.stack();
    let now = Ledger::open(means, &ledger.registry, name)?;
    let mut back = Vec::new();
    let entries = now.entries(means)?;
    let new = entries
        .iter()
        .filter(|(name, _)| !found.entries.contains(name));
    for (_, entry) in new {
        let Some(generation) = now.generation(means, &entry.generation)? else {
            continue;
        };
        for image in &generation.images {
            let repository = format!("{}/{}", ledger.registry, image.repository);
            let digest = &image.manifest.digest;
            let is_it = |thing: &&Thing| {
                !thing.only_tags && thing.repository == repository && thing.digest == *digest
            };
            if !removed.iter().any(|thing| is_it(&thing)) {
                continue;
            }
            let repository: Reference = repository.parse()?;
            let mut names = vec![repository.with_digest(digest.clone())];
            if let Some(tag) = entry.tag_of(&image.name()) {
                names.push(repository.with_tag(&tag)?);
            }
            for name in names {
                put(means, &name, &image.manifest)?;
                back.push(name.to_string());
            }
        }
    }
    Ok(back)
}

/// Puts a manifest of the store under a name.
pub(super) fn put(
    means: Means<'_>,
    name: &Reference,
    manifest: &Descriptor,
) -> Result<(), PublishError> {
    let document = Document {
        descriptor: manifest.clone(),
        bytes: means.store.read_blob(&manifest.digest)?,
    };
    let put = means.client.put_manifest(name, &document, means.watch);
    put.map_err(|source| unchanged("put a manifest back", &name.name(), source))
}

pub(super) fn unchanged(
    what: &str,
    place: &str,
    source: cairn_registry::RegistryError,
) -> PublishError {
    PublishError::Change {
        what: what.to_owned(),
        place: place.to_owned(),
        source: Box::new(source),
    }
}
