//! What a registry need not keep, and its removal in two steps.

use std::collections::{BTreeMap, BTreeSet};

use cairn_oci::{Descriptor, Digest, MediaType, Reference};
use cairn_registry::Document;

use super::super::Means;
use super::super::artifact;
use super::super::error::PublishError;
use super::super::generation::{Generation, LogEntry};
use super::super::ledger::{Ledger, made_start};
use super::super::switch::few_at_a_time;
use super::keep::{Kept, Rules, kept};
use super::record::{Event, Manifests, Record, THINGS_MAX, Thing, next_number, records, valid};
use super::survey::{Candidates, Surveyed, survey};

/// Records that are older are removed; what they tell of cannot be undone any more.
const RECORDS_KEPT: i64 = 90 * 24 * 60 * 60;

/// What a registry need not keep.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// What was announced long enough ago, or need not be.
    pub due: Vec<Thing>,
    /// What has to be announced.
    pub new: Vec<Thing>,
    /// What was announced, and how many seconds are left.
    pub waiting: Vec<(Thing, i64)>,
    /// Tags that were to be removed alone, which the registry does not do.
    pub stuck: Vec<String>,
    /// How many bytes the registry can free when all of it is gone, at most.
    pub bytes: u64,
    /// How many when what is due is gone.
    pub bytes_due: u64,
    /// The number of the next record.
    next: u32,
    /// Entries of the ledger that were looked at.
    entries: BTreeSet<String>,
}

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

pub(super) fn find(
    means: Means<'_>,
    ledger: &Ledger,
    rules: &Rules,
) -> Result<Found, PublishError> {
    let named = ledger.entries(means)?;
    let entries: Vec<&LogEntry> = named.iter().map(|(_, entry)| entry).collect();
    let kept = kept(&entries, rules, means.now);
    let names: BTreeSet<&str> = entries.iter().map(|it| it.generation.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let read = few_at_a_time(&names, |name| ledger.generation(means, name));
    let mut generations: BTreeMap<&str, Generation> = BTreeMap::new();
    for (name, read) in names.into_iter().zip(read) {
        generations.extend(read?.map(|generation| (name, generation)));
    }
    let records = records(means, ledger)?;
    let mut surveyed: Vec<Surveyed> = Vec::new();
    for (repository, candidates) in candidates(ledger, &entries, &kept, &generations) {
        let repository: Reference = repository.parse()?;
        surveyed.push(survey(means, &repository, &candidates)?);
    }
    let mut things: Vec<Thing> = surveyed.iter().flat_map(|it| it.things.clone()).collect();
    let held = held(ledger, &entries, &kept, &generations, &things);
    things.extend(of_the_ledger(
        means,
        ledger,
        &named,
        &kept,
        &held,
        &records,
        &generations,
    )?);
    let mut found = Found {
        next: next_number(&records),
        entries: named.iter().map(|(name, _)| name.clone()).collect(),
        ..Found::default()
    };
    let valid = valid(&records);
    let announced = announced(valid);
    let tried = valid.iter().filter(|it| it.event == Event::Removed);
    let tried: BTreeSet<_> = tried.flat_map(|it| &it.things).map(key).collect();
    for thing in things {
        if thing.only_tags && tried.contains(&key(&thing)) {
            found.stuck.extend(thing.names());
            continue;
        }
        let since = announced.get(&key(&thing)).copied();
        let left = since.map_or(rules.delay(), |since| since + rules.delay() - means.now);
        match since {
            _ if left <= 0 => found.due.push(thing),
            None => found.new.push(thing),
            Some(_) => found.waiting.push((thing, left)),
        }
    }
    found.due.sort_by_key(|thing| rank(ledger, thing));
    found.due.truncate(THINGS_MAX);
    found.new.truncate(THINGS_MAX);
    let is_due = |it: &Thing| found.due.contains(it);
    (found.bytes, found.bytes_due) = (freed(&surveyed, |_| true), freed(&surveyed, is_due));
    Ok(found)
}

/// What may go from each repository.
fn candidates(
    ledger: &Ledger,
    entries: &[&LogEntry],
    kept: &Kept,
    generations: &BTreeMap<&str, Generation>,
) -> BTreeMap<String, Candidates> {
    let mut all: BTreeMap<String, Candidates> = BTreeMap::new();
    let place = |repository: &str| format!("{}/{repository}", ledger.registry);
    for (name, generation) in generations {
        for image in &generation.images {
            let candidates = all.entry(place(&image.repository)).or_default();
            let digest = image.manifest.digest.clone();
            match kept.generations.contains(*name) {
                true => candidates.needed.insert(digest),
                false => candidates.manifests.insert(digest),
            };
        }
    }
    // With its suffix a tag may be that of another one, which stays.
    let mut staying: BTreeSet<(String, String)> = BTreeSet::new();
    for entry in entries {
        let Some(generation) = generations.get(entry.generation.as_str()) else {
            continue;
        };
        for image in &generation.images {
            let Some(tag) = entry.tag_of(&image.name()) else {
                continue;
            };
            let repository = place(&image.repository);
            if !kept.gone.contains(&entry.tag) {
                staying.insert((repository, tag));
                continue;
            }
            let candidates = all.entry(repository).or_default();
            let may_mean = candidates.tags.entry(tag).or_default();
            may_mean.insert(image.manifest.digest.clone());
        }
    }
    for (repository, candidates) in &mut all {
        let stays = |tag: &str| staying.contains(&(repository.clone(), tag.to_owned()));
        candidates.tags.retain(|tag, _| !stays(tag));
        let needed = &candidates.needed;
        candidates
            .manifests
            .retain(|digest| !needed.contains(digest));
    }
    all.retain(|_, it| !it.manifests.is_empty() || !it.tags.is_empty());
    all
}

/// Tags whose entries are needed until they are gone: they say that the tags are ours.
fn held<'a>(
    ledger: &Ledger,
    entries: &[&'a LogEntry],
    kept: &Kept,
    generations: &BTreeMap<&str, Generation>,
    things: &[Thing],
) -> BTreeSet<&'a str> {
    let alone = things.iter().filter(|thing| thing.only_tags);
    let alone: BTreeSet<String> = alone.flat_map(Thing::names).collect();
    let gone = entries.iter().filter(|it| kept.gone.contains(&it.tag));
    let is_held = |entry: &&&LogEntry| {
        let images = generations.get(entry.generation.as_str());
        let mut images = images.into_iter().flat_map(|it| &it.images);
        images.any(|image| {
            let tag = entry.tag_of(&image.name());
            let name = |tag| format!("{}/{}:{tag}", ledger.registry, image.repository);
            tag.is_some_and(|tag| alone.contains(&name(tag)))
        })
    };
    gone.filter(is_held)
        .map(|entry| entry.tag.as_str())
        .collect()
}

/// What images were made of that no generation has which stays.
fn made_of(
    ledger: &Ledger,
    told: &BTreeSet<&str>,
    stays: &BTreeSet<&str>,
    generations: &BTreeMap<&str, Generation>,
) -> BTreeSet<String> {
    let is_gone = |name: &str| told.contains(name) && !stays.contains(name);
    let digests = |gone: bool| -> BTreeSet<&Digest> {
        let of_them = generations.iter().filter(|(name, _)| is_gone(name) == gone);
        let images = of_them.flat_map(|(_, generation)| &generation.images);
        images.map(|image| &image.manifest.digest).collect()
    };
    let needed = digests(false);
    let gone = digests(true);
    let starts: Vec<String> = gone
        .difference(&needed)
        .map(|digest| made_start(digest))
        .collect();
    let names = starts.iter().flat_map(|start| ledger.names(start));
    names.map(str::to_owned).collect()
}

/// What the ledger need not tell any more.
fn of_the_ledger(
    means: Means<'_>,
    ledger: &Ledger,
    named: &[(String, LogEntry)],
    kept: &Kept,
    held: &BTreeSet<&str>,
    records: &[Record],
    generations: &BTreeMap<&str, Generation>,
) -> Result<Vec<Thing>, PublishError> {
    let mut names: Vec<String> = Vec::new();
    let mut stays: BTreeSet<&str> = BTreeSet::new();
    for (name, entry) in named {
        let is_needed = kept.generations.contains(&entry.generation);
        let is_gone = kept.gone.contains(&entry.tag) || !is_needed;
        match is_gone && !held.contains(entry.tag.as_str()) {
            true => names.push(name.clone()),
            false => {
                stays.insert(&entry.generation);
            }
        }
    }
    let told: BTreeSet<&str> = named.iter().map(|(_, it)| it.generation.as_str()).collect();
    // A generation that no entry names may be one that is just being published.
    for generation in told.difference(&stays) {
        names.extend(
            ledger
                .names(&format!("gen-{generation}"))
                .map(str::to_owned),
        );
        let tests = format!("tests-{generation}-");
        names.extend(ledger.names(&tests).map(str::to_owned));
    }
    names.extend(made_of(ledger, &told, &stays, generations));
    let is_old = |record: &&Record| record.time < means.now - RECORDS_KEPT;
    names.extend(records.iter().filter(is_old).map(Record::name));
    let found = few_at_a_time(&names, |name| {
        let reference = ledger.repository().with_tag(name)?;
        let found = means.client.look_up(&reference, means.watch);
        found.map_err(|source| PublishError::Read {
            what: "the ledger".to_owned(),
            place: ledger.place(),
            source: Box::new(source),
        })
    });
    let mut things = Vec::new();
    for (name, found) in names.into_iter().zip(found) {
        things.extend(found?.map(|found| Thing {
            repository: ledger.place(),
            digest: found.digest,
            kind: Some((found.media_type.as_str().to_owned(), found.size)),
            tags: vec![name],
            only_tags: false,
        }));
    }
    Ok(things)
}

/// What tells a thing from others, whatever was announced with it.
fn key(thing: &Thing) -> (String, Digest, Vec<String>) {
    let tags = match thing.only_tags {
        true => thing.tags.clone(),
        false => Vec::new(),
    };
    (thing.repository.clone(), thing.digest.clone(), tags)
}

/// When things were announced first.
fn announced(records: &[Record]) -> BTreeMap<(String, Digest, Vec<String>), i64> {
    let mut times = BTreeMap::new();
    let announced = records.iter().filter(|it| it.event == Event::Announced);
    for record in announced {
        for thing in &record.things {
            let time = times.entry(key(thing)).or_insert(record.time);
            *time = record.time.min(*time);
        }
    }
    times
}

/// In this order things go: a tag before what it means, an index before its parts, and what the
/// ledger says of something after it; the entries last, since they lead to all the rest.
fn rank(ledger: &Ledger, thing: &Thing) -> u8 {
    let is_index = |(kind, _): &(String, u64)| MediaType::from(kind.clone()).is_index();
    let is_entry = || thing.tags.iter().any(|tag| tag.starts_with("log-"));
    match thing.repository == ledger.place() {
        true if is_entry() => 4,
        true => 3,
        false if thing.only_tags => 0,
        false if thing.kind.as_ref().is_some_and(is_index) => 1,
        false => 2,
    }
}

/// The bytes that only chosen things need.
fn freed(surveyed: &[Surveyed], is_chosen: impl Fn(&Thing) -> bool) -> u64 {
    let mut kept: BTreeSet<&Digest> = surveyed.iter().flat_map(|it| &it.kept).collect();
    let mut freed: BTreeMap<&Digest, u64> = BTreeMap::new();
    for one in surveyed {
        let things = one.things.iter().filter(|it| !it.only_tags);
        for thing in things {
            let blobs = one.freed.get(&thing.digest).into_iter().flatten();
            match is_chosen(thing) {
                true => freed.extend(blobs.map(|(blob, size)| (blob, *size))),
                false => kept.extend(blobs.map(|(blob, _)| blob)),
            }
        }
    }
    freed.retain(|digest, _| !kept.contains(*digest));
    freed.values().sum()
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
