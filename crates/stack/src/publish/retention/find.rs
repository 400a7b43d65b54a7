//! What a registry need not keep: by its ledger, by what its repositories have, and by what was announced.

use std::collections::{BTreeMap, BTreeSet};

use cairn_oci::{Digest, MediaType, Reference};

use super::super::Means;
use super::super::error::PublishError;
use super::super::generation::{Generation, LogEntry};
use super::super::ledger::{Ledger, made_start};
use super::super::part::{Part, PartImage};
use super::super::switch::few_at_a_time;
use super::keep::{Kept, Rules, kept};
use super::record::{Event, Record, THINGS_MAX, Thing, next_number, records, valid};
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
    pub(super) next: u32,
    /// Entries of the ledger that were looked at.
    pub(super) entries: BTreeSet<String>,
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
    let parts = ledger.all_parts(means)?;
    for (repository, candidates) in
        candidates(&ledger.registry, &entries, &kept, &generations, &parts)
    {
        let repository: Reference = repository.parse()?;
        surveyed.push(survey(means, &repository, &candidates)?);
    }
    let mut things: Vec<Thing> = surveyed.iter().flat_map(|it| it.things.clone()).collect();
    let held = held(ledger, &entries, &kept, &generations, &things);
    things.extend(of_the_ledger(
        means,
        ledger,
        &Told {
            entries: &named,
            generations: &generations,
            parts: &parts,
            records: &records,
        },
        &kept,
        &held,
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
    let waiting = Waiting::new(&entries, &parts);
    for thing in things {
        let delay = match waiting.has(&thing) {
            true => rules.patience().min(RECORDS_KEPT / 2),
            false => rules.delay(),
        };
        if thing.only_tags && tried.contains(&key(&thing)) {
            found.stuck.extend(thing.names());
            continue;
        }
        let since = announced.get(&key(&thing)).copied();
        let left = since.map_or(delay, |since| since + delay - means.now);
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

/// The parts that may still be joined: nothing was published of their commit, or they have none.
fn open<'a>(
    entries: &[&LogEntry],
    parts: &'a [(String, Part)],
) -> impl Iterator<Item = &'a (String, Part)> {
    let published: BTreeSet<Option<String>> = entries.iter().map(|it| it.commit.clone()).collect();
    let parts = parts.iter();
    parts.filter(move |(_, part)| part.commit.is_none() || !published.contains(&part.commit))
}

/// What machines brought that nobody joined yet: it has more time.
struct Waiting {
    names: BTreeSet<String>,
    digests: BTreeSet<Digest>,
}

impl Waiting {
    fn new(entries: &[&LogEntry], parts: &[(String, Part)]) -> Self {
        let images = open(entries, parts).flat_map(|(_, part)| &part.images);
        Self {
            digests: images
                .flat_map(PartImage::manifests)
                .map(|manifest| manifest.digest.clone())
                .collect(),
            names: open(entries, parts).map(|(name, _)| name.clone()).collect(),
        }
    }

    fn has(&self, thing: &Thing) -> bool {
        let mut tags = thing.tags.iter();
        self.digests.contains(&thing.digest) || tags.any(|tag| self.names.contains(tag))
    }
}

/// What may go from each repository.
fn candidates(
    registry: &str,
    entries: &[&LogEntry],
    kept: &Kept,
    generations: &BTreeMap<&str, Generation>,
    parts: &[(String, Part)],
) -> BTreeMap<String, Candidates> {
    let mut all: BTreeMap<String, Candidates> = BTreeMap::new();
    let place = |repository: &str| format!("{registry}/{repository}");
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
    // What one machine brought and no other one joined is named by no generation.
    let brought: Vec<&PartImage> = open(entries, parts)
        .flat_map(|(_, part)| &part.images)
        .collect();
    for image in generations.values().flat_map(|it| &it.images) {
        let of_it = brought.iter().filter(|it| it.name() == image.name());
        let digests = of_it.flat_map(|it| it.manifests().map(|manifest| manifest.digest.clone()));
        let candidates = all.entry(place(&image.repository)).or_default();
        candidates.manifests.extend(digests);
    }
    // With its prefix or suffix a tag may be that of another one, which stays.
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
        let manifests = images.flat_map(|it| it.manifests.iter().chain([&it.manifest]));
        manifests.map(|manifest| &manifest.digest).collect()
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

/// What the ledger tells, with the names under which it does.
#[derive(Clone, Copy)]
struct Told<'a> {
    entries: &'a [(String, LogEntry)],
    generations: &'a BTreeMap<&'a str, Generation>,
    parts: &'a [(String, Part)],
    records: &'a [Record],
}

/// What the ledger need not tell any more.
fn of_the_ledger(
    means: Means<'_>,
    ledger: &Ledger,
    told: &Told<'_>,
    kept: &Kept,
    held: &BTreeSet<&str>,
) -> Result<Vec<Thing>, PublishError> {
    let Told {
        entries: named,
        generations,
        parts,
        records,
    } = *told;
    let mut names: Vec<String> = Vec::new();
    let mut commits: BTreeMap<&Option<String>, bool> = BTreeMap::new();
    let mut stays: BTreeSet<&str> = BTreeSet::new();
    for (name, entry) in named {
        let is_needed = kept.generations.contains(&entry.generation);
        let is_gone = kept.gone.contains(&entry.tag) || !is_needed;
        let goes = is_gone && !held.contains(entry.tag.as_str());
        *commits.entry(&entry.commit).or_insert(true) &= goes;
        match goes {
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
    // Parts go with the last entry of what was joined of them, or after long waiting.
    let is_done = |part: &Part| part.commit.is_some() && commits.get(&part.commit) == Some(&true);
    let done = parts.iter().filter(|(_, part)| is_done(part));
    names.extend(done.map(|(name, _)| name.clone()));
    let all: Vec<&LogEntry> = named.iter().map(|(_, entry)| entry).collect();
    names.extend(open(&all, parts).map(|(name, _)| name.clone()));
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
pub(super) fn rank(ledger: &Ledger, thing: &Thing) -> u8 {
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

#[cfg(test)]
mod tests {
    use super::super::super::generation::{Action, GenerationImage};
    use super::*;
    use cairn_oci::Descriptor;

    fn manifest(text: &str) -> Descriptor {
        let digest = Digest::sha256(text.as_bytes());
        Descriptor::new(MediaType::OciManifest, digest, text.len() as u64)
    }

    fn generation(name: &str, bytes: &str) -> Generation {
        let image = GenerationImage {
            image: "app".to_owned(),
            variant: None,
            platforms: vec!["linux/amd64".parse().unwrap()],
            repository: "app".to_owned(),
            manifest: manifest(bytes),
            manifests: Vec::new(),
        };
        Generation {
            generation: name.to_owned(),
            stack: "lab".to_owned(),
            images: vec![image],
        }
    }

    fn entry(generation: &str, commit: &str) -> LogEntry {
        LogEntry {
            tag: "main".to_owned(),
            number: 1,
            generation: generation.to_owned(),
            action: Action::Publish,
            time: 0,
            from: None,
            commit: Some(commit.to_owned()),
            registries: Vec::new(),
            images: BTreeMap::new(),
        }
    }

    fn part(commit: Option<&str>, bytes: &str) -> (String, Part) {
        let image = PartImage {
            image: "app".to_owned(),
            variant: None,
            platform: "linux/amd64".parse().unwrap(),
            manifest: manifest(bytes),
            attested: None,
            content: "content".to_owned(),
            tested: crate::publish::Tested::default(),
        };
        let part = Part {
            of: "source".to_owned(),
            commit: commit.map(str::to_owned),
            images: vec![image],
        };
        ("part".to_owned(), part)
    }

    /// What may go as soon as it was announced, where the generation `old` goes, of commit `1`, and
    /// `new` stays.
    fn may_go(parts: &[(String, Part)]) -> BTreeSet<Digest> {
        let (old, new) = (generation("old", "old"), generation("new", "new"));
        let generations = BTreeMap::from([("old", old), ("new", new)]);
        let entries = [entry("old", "1"), entry("new", "2")];
        let kept = Kept {
            generations: BTreeSet::from(["new".to_owned()]),
            gone: BTreeSet::new(),
        };
        let entries: Vec<&LogEntry> = entries.iter().collect();
        let mut all = candidates("host/lab", &entries, &kept, &generations, parts);
        let mut soon = all.remove("host/lab/app").unwrap_or_default().manifests;
        let waiting = Waiting::new(&entries, parts).digests;
        assert!(waiting.is_subset(&soon), "it goes in the end");
        soon.retain(|digest| !waiting.contains(digest));
        soon
    }

    #[test]
    fn a_part_that_waits_to_be_joined_has_more_time() {
        let old = BTreeSet::from([manifest("old").digest]);
        let nothing = BTreeSet::new();
        assert_eq!(may_go(&[]), old);
        assert_eq!(
            may_go(&[part(Some("3"), "old")]),
            nothing,
            "of a commit to come"
        );
        assert_eq!(
            may_go(&[part(None, "old")]),
            nothing,
            "of something without a commit"
        );
        assert_eq!(
            may_go(&[part(Some("1"), "old")]),
            old,
            "it was joined, and goes"
        );
        assert_eq!(
            may_go(&[part(Some("3"), "other")]),
            old,
            "another one waits"
        );
    }
}
