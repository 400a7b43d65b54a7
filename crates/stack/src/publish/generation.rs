//! What a generation is, and what a tag meant: the documents of the ledger.

use std::collections::BTreeMap;

use cairn_oci::{Descriptor, Digest, Platform};
use serde::{Deserialize, Serialize};

use super::naming::tag_around;

/// How many digits of its digest name a generation.
const NAME_DIGITS: usize = 12;

/// Everything that one publishing moves together, as one registry has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name: equal images give equal names, whatever the registries call them.
    pub generation: String,
    /// The stack.
    pub stack: String,
    /// Those of its images that go to the registry, in the stack's order.
    pub images: Vec<GenerationImage>,
}

/// One image of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationImage {
    /// Its name in the stack, without the variant.
    pub image: String,
    /// The variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The platforms.
    pub platforms: Vec<Platform>,
    /// Its repository, below the registry's path.
    pub repository: String,
    /// Its manifest, or the index of its manifests.
    pub manifest: Descriptor,
    /// Those in its index: of its platforms, in their order, and behind them of what is attested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Descriptor>,
}

impl GenerationImage {
    /// The digest of the manifest for one of its platforms.
    pub fn manifest_for(&self, platform: &Platform) -> &Digest {
        let mut platforms = self.platforms.iter();
        let at = platforms.position(|it| it == platform);
        let of_it = at.and_then(|at| self.manifests.get(at));
        &of_it.unwrap_or(&self.manifest).digest
    }

    /// Its name in the stack, as in `model:cloud`.
    pub fn name(&self) -> String {
        full_name(&self.image, self.variant.as_deref())
    }
}

/// The name of an image, as in `model:cloud`.
pub(crate) fn full_name(image: &str, variant: Option<&str>) -> String {
    match variant {
        Some(variant) => format!("{image}:{variant}"),
        None => image.to_owned(),
    }
}

/// The name of the generation of these images: each with its name and its digest.
pub(super) fn generation_name<'a>(
    stack: &str,
    images: impl Iterator<Item = (String, &'a Digest)>,
) -> String {
    let mut text = format!("{stack}\n");
    for (name, digest) in images {
        text.push_str(&format!("{name} {digest}\n"));
    }
    Digest::sha256(text.as_bytes()).hex()[..NAME_DIGITS].to_owned()
}

/// What made a tag mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The generation was built and published.
    Publish,
    /// It had another tag before.
    Promote,
    /// It had this tag before.
    Rollback,
}

/// One time that a tag got a meaning. It is written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The tag, without the prefixes and suffixes of variants.
    pub tag: String,
    /// Comes after all entries with smaller numbers.
    pub number: u32,
    /// The generation.
    pub generation: String,
    /// What happened.
    pub action: Action,
    /// When, in seconds since 1970.
    pub time: i64,
    /// The tag it was promoted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The registries where the tag was to mean it.
    pub registries: Vec<String>,
    /// The images that have the tag, each with what stands around theirs: what it ends with, or
    /// `cuda12-*`, where `*` is the tag.
    pub images: BTreeMap<String, String>,
}

impl LogEntry {
    /// Its bytes in the ledger.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a value of plain fields")
    }

    /// Its name among entries.
    pub(crate) fn id(&self) -> String {
        let digest = Digest::sha256(self.to_json().as_bytes());
        digest.hex()[..NAME_DIGITS].to_owned()
    }

    /// Entries in their order. Two machines at once may write the same number: then the clock
    /// decides, and then anything that every reader decides alike.
    pub(crate) fn order(&self) -> (u32, i64, String) {
        (self.number, self.time, self.id())
    }

    /// Whether an entry says nothing new after this one.
    pub(crate) fn means_the_same(&self, other: &Self) -> bool {
        self.generation == other.generation && self.images == other.images
    }

    /// The tag of an image, if it has one by this entry.
    pub(crate) fn tag_of(&self, image: &str) -> Option<String> {
        Some(tag_around(&self.tag, self.images.get(image)?))
    }
}

/// That images of a generation passed their tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The generation.
    pub generation: String,
    /// Its images, all platforms together.
    pub images: BTreeMap<String, Tested>,
    /// The platforms of the images that have several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<String, BTreeMap<String, Tested>>,
}

/// What came of the tests of an image, none of which failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// How many passed.
    pub passed: usize,
    /// How many files or suites of tests were left out.
    pub left_out: usize,
    /// The workflow tests that passed, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<String>,
}

impl Tested {
    /// The tests of an image on all its platforms; a workflow has passed that did on each.
    pub fn together<'a>(platforms: impl Iterator<Item = &'a Self>) -> Self {
        let mut platforms = platforms;
        let first = platforms.next().cloned().unwrap_or_default();
        platforms.fold(first, |mut all, one| {
            all.passed += one.passed;
            all.left_out += one.left_out;
            all.workflows.retain(|name| one.workflows.contains(name));
            all
        })
    }
}

impl Evidence {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a value of plain fields")
    }

    pub(crate) fn id(&self) -> String {
        let digest = Digest::sha256(self.to_json().as_bytes());
        digest.hex()[..NAME_DIGITS].to_owned()
    }

    /// Whether an image passed tests, and none was left out: on each of its platforms, whoever
    /// tested it there.
    pub(crate) fn are_enough_for(known: &[Self], image: &str) -> bool {
        let is_enough = |it: &Tested| it.passed > 0 && it.left_out == 0;
        let of_image = || known.iter().filter_map(|it| it.platforms.get(image));
        let mut platforms = of_image().flat_map(BTreeMap::keys).peekable();
        if platforms.peek().is_none() {
            let mut totals = known.iter().filter_map(|it| it.images.get(image));
            return totals.any(is_enough);
        }
        platforms.all(|name| {
            let mut tested = of_image().filter_map(|it| it.get(name));
            tested.any(is_enough)
        })
    }

    /// Whether an image passed these workflow tests.
    pub(crate) fn has_workflow(&self, image: &str, workflow: &str) -> bool {
        let tested = self.images.get(image);
        tested.is_some_and(|it| it.workflows.iter().any(|name| name == workflow))
    }
}

/// What a tag meant, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagLog {
    /// The entries.
    pub entries: Vec<LogEntry>,
}

impl TagLog {
    /// What the tag means now.
    pub fn current(&self) -> Option<&LogEntry> {
        self.entries.first()
    }

    /// The entry of the generation before the current one: going back twice goes back two.
    pub fn before(&self, is_allowed: impl Fn(&str) -> bool) -> Option<&LogEntry> {
        let current = self.current()?.generation.as_str();
        let went_forward = |entry: &&LogEntry| entry.action != Action::Rollback;
        let forward: Vec<&LogEntry> = self.entries.iter().filter(went_forward).collect();
        let now = forward.iter().position(|e| e.generation == current)?;
        let mut earlier = forward[now..].iter().copied();
        earlier.find(|entry| entry.generation != current && is_allowed(&entry.generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(&str, Action)]) -> TagLog {
        let entries = entries.iter().enumerate().rev();
        let entries = entries.map(|(number, (generation, action))| LogEntry {
            tag: "t".to_owned(),
            number: u32::try_from(number).unwrap(),
            generation: (*generation).to_owned(),
            action: *action,
            time: 0,
            from: None,
            commit: None,
            registries: Vec::new(),
            images: BTreeMap::new(),
        });
        TagLog {
            entries: entries.collect(),
        }
    }

    #[test]
    fn going_back_twice_goes_back_two() {
        use Action::{Publish, Rollback};
        fn before(log: &TagLog, allowed: impl Fn(&str) -> bool) -> Option<&str> {
            log.before(allowed).map(|entry| entry.generation.as_str())
        }
        let all = |_: &str| true;
        let three = [("a", Publish), ("b", Publish), ("c", Publish)];
        assert_eq!(before(&log(&three), all), Some("b"));
        assert_eq!(before(&log(&three), |g| g != "b"), Some("a"));
        let once = [&three[..], &[("b", Rollback)]].concat();
        assert_eq!(before(&log(&once), all), Some("a"));
        let twice = [&once[..], &[("a", Rollback)]].concat();
        assert_eq!(before(&log(&twice), all), None);
        let anew = [&twice[..], &[("d", Publish)]].concat();
        assert_eq!(before(&log(&anew), all), Some("c"));
        assert_eq!(before(&TagLog::default(), all), None);
    }

    #[test]
    fn equal_images_give_equal_names() {
        let name = |bytes: &str| {
            let digest = Digest::sha256(bytes.as_bytes());
            generation_name("s", [("a".to_owned(), &digest)].into_iter())
        };
        assert_eq!(name("1"), name("1"));
        assert_ne!(name("1"), name("2"));
    }
}
