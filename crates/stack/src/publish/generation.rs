//! What a generation is, and what a tag meant: the documents of the ledger.

use cairn_oci::{Descriptor, Digest, Platform};
use serde::{Deserialize, Serialize};

/// How many digits of its digest name a generation.
const NAME_DIGITS: usize = 12;
/// How many entries a tag's log keeps.
const ENTRIES_MAX: usize = 500;

/// Everything that one publishing moves together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name: equal images give equal names.
    pub generation: String,
    /// The stack.
    pub stack: String,
    /// The commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its images, in the stack's order.
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
    /// The platform.
    pub platform: Platform,
    /// Its repository, below the registry's path.
    pub repository: String,
    /// Its manifest.
    pub manifest: Descriptor,
}

impl Generation {
    /// Makes a generation of a stack's images.
    pub fn new(stack: &str, commit: Option<String>, images: Vec<GenerationImage>) -> Self {
        let mut text = format!("{stack}\n");
        for image in &images {
            text.push_str(&format!("{} {}\n", image.repository, image.manifest.digest));
        }
        let digest = Digest::sha256(text.as_bytes());
        Self {
            generation: digest.hex()[..NAME_DIGITS].to_owned(),
            stack: stack.to_owned(),
            commit,
            images,
        }
    }
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

/// One time that a tag got a meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The generation.
    pub generation: String,
    /// What happened.
    pub action: Action,
    /// When, in seconds since 1970.
    pub time: i64,
    /// The tag it was promoted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// All that a tag meant, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagLog {
    /// The tag.
    pub tag: String,
    /// The entries.
    pub entries: Vec<LogEntry>,
}

impl TagLog {
    /// The generation that the tag means now.
    pub fn current(&self) -> Option<&str> {
        self.entries.first().map(|entry| entry.generation.as_str())
    }

    /// Notes a new meaning; the same again is no news.
    pub fn add(&mut self, entry: LogEntry) -> bool {
        if self.current() == Some(&entry.generation) {
            return false;
        }
        self.entries.insert(0, entry);
        self.entries.truncate(ENTRIES_MAX);
        true
    }

    /// The generation before the current one: going back twice goes back two.
    pub fn before(&self, is_allowed: impl Fn(&str) -> bool) -> Option<&str> {
        let current = self.current()?;
        let went_forward = |entry: &&LogEntry| entry.action != Action::Rollback;
        let forward: Vec<&LogEntry> = self.entries.iter().filter(went_forward).collect();
        let now = forward.iter().position(|e| e.generation == current)?;
        forward[now..]
            .iter()
            .map(|entry| entry.generation.as_str())
            .find(|generation| *generation != current && is_allowed(generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(&str, Action)]) -> TagLog {
        let mut log = TagLog::default();
        for (time, (generation, action)) in entries.iter().enumerate() {
            log.add(LogEntry {
                generation: (*generation).to_owned(),
                action: *action,
                time: time as i64,
                from: None,
            });
        }
        log
    }

    #[test]
    fn going_back_twice_goes_back_two() {
        use Action::{Publish, Rollback};
        let all = |_: &str| true;
        let three = [("a", Publish), ("b", Publish), ("c", Publish)];
        assert_eq!(log(&three).before(all), Some("b"));
        assert_eq!(log(&three).before(|g| g != "b"), Some("a"));
        let once = [&three[..], &[("b", Rollback)]].concat();
        assert_eq!(log(&once).before(all), Some("a"));
        let twice = [&once[..], &[("a", Rollback)]].concat();
        assert_eq!(log(&twice).before(all), None);
        let anew = [&twice[..], &[("d", Publish)]].concat();
        assert_eq!(log(&anew).before(all), Some("c"));
        assert_eq!(TagLog::default().before(all), None);
    }

    #[test]
    fn the_same_again_is_no_news() {
        let published = log(&[("a", Action::Publish), ("a", Action::Publish)]);
        assert_eq!(published.entries.len(), 1);
    }

    #[test]
    fn equal_images_give_equal_names() {
        let image = |digest: &str| GenerationImage {
            image: "a".into(),
            variant: None,
            platform: Platform::new("linux", "amd64"),
            repository: "a".into(),
            manifest: Descriptor::of(cairn_oci::MediaType::OciManifest, digest.as_bytes()),
        };
        let one = Generation::new("s", None, vec![image("1")]);
        let same = Generation::new("s", Some("commit".into()), vec![image("1")]);
        let other = Generation::new("s", None, vec![image("2")]);
        assert_eq!(one.generation, same.generation);
        assert_ne!(one.generation, other.generation);
    }
}
