//! The ledger: what each tag means since when, kept as OCI artifacts beside the images.
//!
//! ```text
//! HOST/PATH/<stack>-generations:gen-<generation>               one generation
//! HOST/PATH/<stack>-generations:log-<number>-<id>-<tag>        one time that a tag got a meaning
//! HOST/PATH/<stack>-generations:tests-<generation>-<id>        its images passed their tests
//! HOST/PATH/<stack>-generations:made-<image>-<platform>-<name> what an image was made of; `-1`, `-2` behind it: its long lists
//! HOST/PATH/<stack>-generations:part-<what>-<number>-<id>      what one machine brought of one
//! HOST/PATH/<stack>-generations:yank-<number>-<generation>     nobody should get it any more
//! HOST/PATH/<stack>-generations:keep-<number>-<generation>     that is taken back
//! ```
//!
//! Registries offer no way to change something only if nobody else did meanwhile. So nothing here
//! is changed: whatever happens is an artifact of its own under a name of its own, found by the
//! list of tags and merged by who reads. Two machines at once add two entries, and none is lost.
//! What is written is kept in the store, too, under `cairn:ledger/...`.

use std::collections::BTreeSet;

use cairn_oci::{Digest, Platform, Reference};

use super::Means;
use super::artifact;
use super::error::PublishError;
use super::generation::{Evidence, Generation, GenerationImage, LogEntry, TagLog};
use super::part::Part;
use super::switch::few_at_a_time;
use crate::made_of::{MORE_MAX, MadeOf};

const GENERATION: &str = "application/vnd.cairn.generation.v2+json";
const ENTRY: &str = "application/vnd.cairn.log-entry.v2+json";
const TESTS: &str = "application/vnd.cairn.tests.v2+json";
const MADE_OF: &str = "application/vnd.cairn.made-of.v1+json";
/// So many digits of an image's digest name what it was made of.
const MADE_DIGITS: usize = 24;
/// So many digits of the digest of its name in the stack tell it from others with equal content.
const NAME_DIGITS: usize = 12;
const PART: &str = "application/vnd.cairn.part.v2+json";
const YANK: &str = "application/vnd.cairn.yank.v2+json";
/// Tags up to this length stand in the names of their entries as they are.
const TAG_SHOWN: usize = 100;
/// So much of longer ones does, and a digest of all.
const TAG_CUT: usize = 83;
/// So many entries of a tag are read, the newest ones.
const ENTRIES_MAX: usize = 200;

/// The ledger of a stack at one registry, with the names of what is in it.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The registry, with its path.
    pub registry: String,
    stack: String,
    place: Reference,
    entries: Vec<EntryName>,
    yanks: Vec<YankName>,
    parts: Vec<PartName>,
    /// Names of evidence, whole.
    tests: Vec<String>,
    /// All names.
    names: Vec<String>,
}

/// `log-<number>-<id>-<tag>`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EntryName {
    number: u32,
    id: String,
    /// As [`shown`].
    tag: String,
}

/// `yank-<number>-<generation>` or `keep-<number>-<generation>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct YankName {
    number: u32,
    is_yanked: bool,
    generation: String,
}

/// `part-<what>-<number>-<id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PartName {
    /// As [`Part::key`].
    of: String,
    number: u32,
    id: String,
}

/// The repository of a stack's ledger below a registry's path.
pub(crate) fn place(registry: &str, stack: &str) -> Result<Reference, PublishError> {
    Ok(format!("{registry}/{stack}-generations").parse()?)
}

impl Ledger {
    /// Finds out what is in the ledger of a stack below a registry's path.
    pub fn open(means: Means<'_>, registry: &str, stack: &str) -> Result<Self, PublishError> {
        let place = place(registry, stack)?;
        let tags = means.client.tags(&place, means.watch);
        let tags = tags.map_err(|source| PublishError::Read {
            what: "the ledger".to_owned(),
            place: place.name(),
            source: Box::new(source),
        })?;
        Ok(Self {
            registry: registry.to_owned(),
            stack: stack.to_owned(),
            place,
            entries: tags
                .iter()
                .filter_map(|tag| EntryName::parse(tag))
                .collect(),
            names: tags.clone(),
            yanks: tags.iter().filter_map(|tag| YankName::parse(tag)).collect(),
            parts: tags.iter().filter_map(|tag| PartName::parse(tag)).collect(),
            tests: tags
                .into_iter()
                .filter(|tag| tag.starts_with("tests-"))
                .collect(),
        })
    }

    /// As [`Ledger::open`], for all registries at the same time.
    pub fn open_all(
        means: Means<'_>,
        registries: &[String],
        stack: &str,
    ) -> Result<Vec<Self>, PublishError> {
        Self::open_each(means, registries, stack)
            .into_iter()
            .collect()
    }

    /// As [`Ledger::open_all`], with what each registry says for itself.
    pub fn open_each(
        means: Means<'_>,
        registries: &[String],
        stack: &str,
    ) -> Vec<Result<Self, PublishError>> {
        few_at_a_time(registries, |registry| Self::open(means, registry, stack))
    }

    /// All names in it that begin so.
    pub(crate) fn names<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(move |name| name.starts_with(start))
    }

    /// The stack that it is of.
    pub(crate) fn stack(&self) -> &str {
        &self.stack
    }

    /// Its repository, as a place for names.
    pub(crate) fn repository(&self) -> &Reference {
        &self.place
    }

    /// All entries of all tags, with their names.
    pub(crate) fn entries(
        &self,
        means: Means<'_>,
    ) -> Result<Vec<(String, LogEntry)>, PublishError> {
        let read = few_at_a_time(&self.entries, |name| {
            let name = name.to_string();
            let entry = artifact::read_final(means, &self.place.with_tag(&name)?)?;
            Ok::<_, PublishError>(entry.map(|entry: LogEntry| (name, entry)))
        });
        let read: Vec<_> = read.into_iter().collect::<Result<_, _>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Its repository, to write to.
    pub(super) fn reference(&self) -> &Reference {
        &self.place
    }

    /// Its repository.
    pub fn place(&self) -> String {
        self.place.name()
    }

    /// What a tag meant, as far back as anybody asks.
    pub fn log(&self, means: Means<'_>, tag: &str) -> Result<TagLog, PublishError> {
        let shown = shown(tag);
        let mut names: Vec<&EntryName> = self.entries.iter().filter(|it| it.tag == shown).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.number));
        names.truncate(ENTRIES_MAX);
        self.read_entries(means, &names)
    }

    /// What a tag means now.
    pub fn current(&self, means: Means<'_>, tag: &str) -> Result<Option<LogEntry>, PublishError> {
        let shown = shown(tag);
        let of_tag = || self.entries.iter().filter(|it| it.tag == shown);
        let newest = of_tag().map(|it| it.number).max();
        let names: Vec<&EntryName> = of_tag().filter(|it| Some(it.number) == newest).collect();
        let log = self.read_entries(means, &names)?;
        Ok(log.entries.into_iter().next())
    }

    fn read_entries(&self, means: Means<'_>, names: &[&EntryName]) -> Result<TagLog, PublishError> {
        let read = few_at_a_time(names, |name| {
            let reference = self.place.with_tag(&name.to_string())?;
            let entry: Option<LogEntry> = artifact::read_final(means, &reference)?;
            Ok::<_, PublishError>(entry)
        });
        let read: Vec<Option<LogEntry>> = read.into_iter().collect::<Result<_, _>>()?;
        let mut entries: Vec<LogEntry> = read.into_iter().flatten().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.order()));
        Ok(TagLog { entries })
    }

    /// The tags that have entries and are not too long to stand in their names.
    pub fn tags(&self) -> Vec<&str> {
        let mut tags: Vec<&str> = self.entries.iter().map(|it| it.tag.as_str()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// The number of the next entry of a tag.
    pub(crate) fn next_number(&self, tag: &str) -> u32 {
        let shown = shown(tag);
        let of_tag = self.entries.iter().filter(|it| it.tag == shown);
        of_tag.map(|it| it.number + 1).max().unwrap_or(1)
    }

    /// Whether another machine wrote an entry at the time of this one, or since.
    pub(crate) fn has_rival(&self, entry: &LogEntry) -> bool {
        self.rivals_of(entry).next().is_some()
    }

    /// Whether all that other machines wrote at the time of this entry, or since, says the same: two
    /// that put the same parts together agree.
    pub(crate) fn agrees(&self, means: Means<'_>, entry: &LogEntry) -> Result<bool, PublishError> {
        let rivals: Vec<&EntryName> = self.rivals_of(entry).collect();
        let read = self.read_entries(means, &rivals)?;
        let mut read_entries = read.entries.iter();
        Ok(read.entries.len() == rivals.len() && read_entries.all(|it| it.means_the_same(entry)))
    }

    fn rivals_of(&self, entry: &LogEntry) -> impl Iterator<Item = &EntryName> {
        let (shown, id, number) = (shown(&entry.tag), entry.id(), entry.number);
        let others = self.entries.iter();
        others.filter(move |it| it.tag == shown && it.number >= number && it.id != id)
    }

    /// What an image of a generation was made of on a platform, if that was written down.
    pub fn made_of(
        &self,
        means: Means<'_>,
        image: &GenerationImage,
        platform: &Platform,
    ) -> Result<Option<MadeOf>, PublishError> {
        let reference = made_at(&self.place, image, platform)?;
        let made_of: Option<MadeOf> = artifact::read_final(means, &reference)?;
        let Some(made_of) = made_of else {
            return Ok(None);
        };
        let mut pieces = Vec::new();
        // A registry may say anything.
        for number in 1..=made_of.more.min(MORE_MAX) {
            let piece: Option<String> = artifact::read_final(means, &further(&reference, number)?)?;
            pieces.extend(piece);
        }
        Ok(Some(made_of.with_lists(&pieces)))
    }

    /// Looks a generation up.
    pub fn generation(
        &self,
        means: Means<'_>,
        name: &str,
    ) -> Result<Option<Generation>, PublishError> {
        artifact::read(means, &generation_at(&self.place, name)?)
    }

    /// The generation in any of these ledgers whose name is this, or the only one that begins so.
    pub fn generation_named(ledgers: &[Self], start: &str) -> Result<Option<String>, PublishError> {
        let names = ledgers.iter().flat_map(|ledger| ledger.names("gen-"));
        let names: BTreeSet<&str> = names.map(|name| &name["gen-".len()..]).collect();
        if start.is_empty() || names.contains(start) {
            return Ok(names.get(start).map(|&name| name.to_owned()));
        }
        let begun = names.into_iter().filter(|name| name.starts_with(start));
        match begun.collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [one] => Ok(Some((*one).to_owned())),
            several => Err(PublishError::Refused(format!(
                "the names of several generations begin with `{start}`: {}",
                several.join(", ")
            ))),
        }
    }

    /// What is known of the tests of a generation.
    pub(crate) fn evidence(
        &self,
        means: Means<'_>,
        generation: &str,
    ) -> Result<Vec<Evidence>, PublishError> {
        let start = format!("tests-{generation}-");
        let of_it = self.tests.iter().filter(|name| name.starts_with(&start));
        let mut found = Vec::new();
        for name in of_it {
            found.extend(artifact::read_final(means, &self.place.with_tag(name)?)?);
        }
        Ok(found)
    }

    /// Whether evidence is written down here.
    pub(crate) fn has_evidence(&self, evidence: &Evidence) -> bool {
        self.tests.contains(&evidence_name(evidence))
    }

    /// What machines brought of something, the last one last, as far as it is wanted by its id.
    pub(crate) fn parts(
        &self,
        means: Means<'_>,
        of: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Part>, PublishError> {
        let mut names: Vec<&PartName> = self.parts_of(of).collect();
        names.retain(|name| is_wanted(&name.id));
        names.sort();
        let read = few_at_a_time(&names, |name| {
            let reference = self.place.with_tag(&name.to_string())?;
            artifact::read_final(means, &reference)
        });
        let read: Vec<Option<Part>> = read.into_iter().collect::<Result<_, PublishError>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Everything that machines brought, with its name.
    pub(crate) fn all_parts(&self, means: Means<'_>) -> Result<Vec<(String, Part)>, PublishError> {
        let read = few_at_a_time(&self.parts, |name| {
            let reference = self.place.with_tag(&name.to_string())?;
            let part: Option<Part> = artifact::read_final(means, &reference)?;
            Ok(part.map(|part| (name.to_string(), part)))
        });
        let read: Vec<Option<_>> = read.into_iter().collect::<Result<_, PublishError>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    fn parts_of(&self, of: &str) -> impl Iterator<Item = &PartName> {
        let key = Part::key(of);
        self.parts.iter().filter(move |name| name.of == key)
    }

    /// The number of the next part of something.
    pub(crate) fn next_part(&self, of: &str) -> u32 {
        let numbers = self.parts_of(of).map(|name| name.number + 1);
        numbers.max().unwrap_or(1)
    }

    /// Whether a part is written down here.
    pub(crate) fn has_part(&self, of: &str, id: &str) -> bool {
        self.parts_of(of).any(|name| name.id == id)
    }

    /// Writes a part down, unless it is.
    pub(crate) fn put_part(
        &self,
        means: Means<'_>,
        part: &Part,
        number: u32,
    ) -> Result<(), PublishError> {
        let name = PartName {
            of: Part::key(&part.of),
            number,
            id: part.id(),
        };
        if self.has_part(&part.of, &name.id) {
            return Ok(());
        }
        let reference = self.place.with_tag(&name.to_string())?;
        artifact::write(means, &reference, PART, &part.to_json())
    }

    /// Whether nobody should get a generation any more.
    pub fn is_yanked(&self, generation: &str) -> bool {
        let of_it = self.yanks.iter().filter(|it| it.generation == generation);
        of_it.max().is_some_and(|newest| newest.is_yanked)
    }

    /// Notes that nobody should get a generation any more, or that they may again.
    pub fn yank(
        &self,
        means: Means<'_>,
        generation: &str,
        is_yanked: bool,
    ) -> Result<(), PublishError> {
        if self.is_yanked(generation) == is_yanked {
            return Ok(());
        }
        let of_it = self.yanks.iter().filter(|it| it.generation == generation);
        let name = YankName {
            number: of_it.map(|it| it.number + 1).max().unwrap_or(1),
            is_yanked,
            generation: generation.to_owned(),
        };
        let reference = self.place.with_tag(&name.to_string())?;
        let content = format!("{{\"time\":{}}}", means.now);
        artifact::write(means, &reference, YANK, &content)
    }
}

/// Writes a generation down.
pub(crate) fn put_generation(
    means: Means<'_>,
    place: &Reference,
    generation: &Generation,
) -> Result<(), PublishError> {
    let reference = generation_at(place, &generation.generation)?;
    let content = serde_json::to_string(generation).expect("a value of plain fields");
    artifact::write(means, &reference, GENERATION, &content)
}

/// Writes down what a tag means.
pub(crate) fn put_entry(
    means: Means<'_>,
    place: &Reference,
    entry: &LogEntry,
) -> Result<(), PublishError> {
    let name = EntryName {
        number: entry.number,
        id: entry.id(),
        tag: shown(&entry.tag),
    };
    let reference = place.with_tag(&name.to_string())?;
    artifact::write(means, &reference, ENTRY, &entry.to_json())
}

/// Writes down that images passed their tests.
pub(crate) fn put_evidence(
    means: Means<'_>,
    place: &Reference,
    evidence: &Evidence,
) -> Result<(), PublishError> {
    let reference = place.with_tag(&evidence_name(evidence))?;
    artifact::write(means, &reference, TESTS, &evidence.to_json())
}

/// Writes down what an image was made of on a platform.
pub(crate) fn put_made_of(
    means: Means<'_>,
    place: &Reference,
    image: &GenerationImage,
    platform: &Platform,
    made_of: &MadeOf,
) -> Result<(), PublishError> {
    let reference = made_at(place, image, platform)?;
    let documents = made_of.to_documents();
    // The first one comes last: whoever finds it finds the others.
    for (number, document) in documents.iter().enumerate().rev() {
        let place = match number {
            0 => reference.clone(),
            number => further(&reference, number)?,
        };
        artifact::write(means, &place, MADE_OF, document)?;
    }
    Ok(())
}

/// Where a further document of what an image was made of is.
fn further(first: &Reference, number: usize) -> Result<Reference, PublishError> {
    let tag = first.tag().unwrap_or_default();
    Ok(first.with_tag(&format!("{tag}-{number}"))?)
}

/// How the names begin of what an image was made of, on any platform.
pub(crate) fn made_start(image: &Digest) -> String {
    format!("made-{}-", &image.hex()[..MADE_DIGITS])
}

/// Images that came out the same were made of different things: each has a document of its own.
fn made_at(
    place: &Reference,
    image: &GenerationImage,
    platform: &Platform,
) -> Result<Reference, PublishError> {
    let start = made_start(image.manifest_for(platform));
    let platform = platform.to_string().replace('/', "-");
    let name = Digest::sha256(image.name().as_bytes());
    let name = &name.hex()[..NAME_DIGITS];
    Ok(place.with_tag(&format!("{start}{platform}-{name}"))?)
}

fn evidence_name(evidence: &Evidence) -> String {
    format!("tests-{}-{}", evidence.generation, evidence.id())
}

fn generation_at(place: &Reference, name: &str) -> Result<Reference, PublishError> {
    Ok(place.with_tag(&format!("gen-{name}"))?)
}

/// The tag that an entry of this name is about, as it stands there, and its number.
pub(crate) fn tag_and_number(name: &str) -> Option<(String, u32)> {
    EntryName::parse(name).map(|entry| (entry.tag, entry.number))
}

/// A tag as it stands in the names of its entries.
fn shown(tag: &str) -> String {
    match tag.len() {
        0..=TAG_SHOWN => tag.to_owned(),
        _ => {
            let digest = Digest::sha256(tag.as_bytes());
            let cut: String = tag.chars().take(TAG_CUT).collect();
            format!("{cut}.{}", &digest.hex()[..16])
        }
    }
}

impl EntryName {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("log-")?.splitn(3, '-');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
            tag: parts.next()?.to_owned(),
        })
    }
}

impl std::fmt::Display for EntryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "log-{:08}-{}-{}", self.number, self.id, self.tag)
    }
}

impl PartName {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("part-")?.splitn(3, '-');
        Some(Self {
            of: parts.next()?.to_owned(),
            number: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
        })
    }
}

impl std::fmt::Display for PartName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "part-{}-{:08}-{}", self.of, self.number, self.id)
    }
}

impl YankName {
    fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once('-')?;
        let (number, generation) = rest.split_once('-')?;
        Some(Self {
            number: number.parse().ok()?,
            is_yanked: match word {
                "yank" => true,
                "keep" => false,
                _ => return None,
            },
            generation: generation.to_owned(),
        })
    }
}

impl std::fmt::Display for YankName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.is_yanked { "yank" } else { "keep" };
        write!(f, "{word}-{:08}-{}", self.number, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_are_and_fit_into_a_tag() {
        let long = "x".repeat(128);
        for tag in ["main", "2026.3-stable", &long[..100], &long] {
            let name = EntryName {
                number: 7,
                id: "0123456789ab".to_owned(),
                tag: shown(tag),
            };
            let text = name.to_string();
            assert!(text.len() <= 128, "{text}");
            assert_eq!(EntryName::parse(&text), Some(name));
        }
        assert_ne!(shown(&long), shown(&format!("{}y", &long[..127])));
        let yank = YankName::parse("keep-00000002-abc").unwrap();
        assert_eq!(yank.to_string(), "keep-00000002-abc");
        let part = PartName::parse("part-0123-00000002-abc").unwrap();
        assert_eq!(part.to_string(), "part-0123-00000002-abc");
        for other in ["gen-abc", "log-x-y-z", "yanked", "log-00000001-abc"] {
            assert_eq!(PartName::parse(other), None, "{other}");
            assert_eq!(EntryName::parse(other), None, "{other}");
            assert_eq!(YankName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_generation_is_named_by_its_beginning() {
        let ledger = |names: &[&str]| Ledger {
            registry: "localhost/lab".to_owned(),
            stack: "lab".to_owned(),
            place: place("localhost/lab", "lab").unwrap(),
            entries: Vec::new(),
            yanks: Vec::new(),
            parts: Vec::new(),
            tests: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let ledgers = [
            ledger(&["gen-abc1", "gen-ab", "log-ff"]),
            ledger(&["gen-abc1", "gen-f0"]),
        ];
        let named = |start: &str| Ledger::generation_named(&ledgers, start);
        assert_eq!(named("abc").unwrap().as_deref(), Some("abc1"));
        assert_eq!(named("ab").unwrap().as_deref(), Some("ab"), "it is whole");
        assert_eq!(named("ff").unwrap(), None);
        assert_eq!(named("").unwrap(), None);
        assert!(named("a").unwrap_err().to_string().contains("ab, abc1"));
    }
}
