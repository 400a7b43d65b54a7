//! Events to tags: what a push, a release, a pull request, a scheduled or a manual run publishes.
//!
//! Pure: the facts of an event come in as values ([`Facts`]), the rules from the stack, and out
//! comes every tag with the rule it is made by, and every rule that made none with the reason.
//! [`publication`] answers for a whole stack; it is what `cairn tags` prints and what publishing
//! goes by.
//!
//! Rules that no list can override:
//!
//! - **A moving tag only moves forward.** On a release, a tag that a newer release would have
//!   too (`latest`, `1`, `1.2`) stays with the newer one: 1.2.4 after 1.3.0 moves `1.2`, but
//!   neither `1` nor `latest`.
//! - **`latest` names what a main branch or a release made**: never another branch, a pull request
//!   or a version before a release.
//! - **`stable` and what ends in `-stable` is promoted, not built**: no event publishes it. So a
//!   branch called `stable` publishes nothing.
//! - A rule whose fact the event does not have (a `{patch}` of `2026.3`) makes no tag.

mod date;
mod rules;
mod template;
mod version;

use std::collections::BTreeMap;

pub use rules::TagRules;
pub use template::{FACTS, Template, safe};
pub(crate) use template::{PREFIX_FACTS, is_tag_character};
pub use version::Version;

use crate::glob;
use crate::settings::EventKind;
use crate::stack::{Image, ImageId, Stack};
use date::Date;

/// So many characters of a commit's hash name it.
const COMMIT_SHORT: usize = 7;
/// So many characters of a content's digest name it.
const CONTENT_SHORT: usize = 12;
/// A tag is not longer.
const TAG_MAX: usize = 128;
/// What counts as main where neither the spec nor the repository says anything.
const MAIN_BRANCHES: [&str; 2] = ["main", "master"];

/// What made a run start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A push to a branch, or a pushed tag.
    Push,
    /// A pull request, or a merge request.
    PullRequest {
        /// Its number.
        number: Option<u64>,
    },
    /// A set time.
    Schedule,
    /// Somebody.
    Manual,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitRef {
    /// A branch; that of a pull request is the one to be merged (DH-20).
    Branch(String),
    /// A tag.
    Tag(String),
    /// A commit that no branch and no tag was named for.
    Detached,
}

/// What is known of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What made the run start.
    pub trigger: Trigger,
    /// What it is about.
    pub reference: GitRef,
    /// The commit's hash.
    pub commit: Option<String>,
    /// When it was committed, in seconds since 1970.
    pub time: Option<i64>,
    /// The repository's default branch.
    pub default_branch: Option<String>,
    /// All tags of the repository: releases among them decide what may move.
    pub git_tags: Vec<String>,
}

/// What an event publishes, for all images of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Every image that is a product, in the order of the stack.
    pub images: Vec<ImageTags>,
    /// Tags that two images would both be published as; nothing may be published then.
    pub clashes: Vec<Clash>,
}

/// What an event publishes of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTags {
    /// The image.
    pub image: ImageId,
    /// What sort of event it is for this image; `None` if it publishes nothing by its nature.
    pub event: Option<EventKind>,
    /// Where the image goes: registry, namespace and name. Empty where the stack has no registry.
    pub repositories: Vec<String>,
    /// The tags, none twice.
    pub tags: Vec<Tag>,
    /// Rules that made none.
    pub left_out: Vec<LeftOut>,
}

/// A tag with the rule it is made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The tag.
    pub tag: String,
    /// The rule.
    pub rule: String,
}

/// A rule that made no tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The rule.
    pub rule: String,
    /// Why, as a phrase.
    pub reason: String,
}

/// Two images under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The name: repository and tag.
    pub name: String,
    /// The first image.
    pub one: ImageId,
    /// The other.
    pub other: ImageId,
}

impl ImageTags {
    /// All names: each repository with each tag.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let repositories = self.repositories.iter();
        repositories.flat_map(|repository| {
            let tags = self.tags.iter();
            tags.map(move |tag| format!("{repository}:{}", tag.tag))
        })
    }
}

/// What an event publishes: every image that is not internal, with its tags.
///
/// `content` gives the digest of what a container of an image can observe, where it is known; a
/// rule with `{content}` needs it, so equal content has equal tags.
pub fn publication(
    stack: &Stack,
    facts: &Facts,
    content: &dyn Fn(ImageId) -> Option<String>,
) -> Publication {
    let products = stack.ids().filter(|&id| !stack[id].internal);
    let images = products.map(|id| {
        let digest = content(id);
        image_tags(id, &stack[id], facts, digest.as_deref())
    });
    let images: Vec<ImageTags> = images.collect();
    let mut owners: BTreeMap<String, ImageId> = BTreeMap::new();
    let mut clashes = Vec::new();
    for image in &images {
        for name in names_or_own(image, stack) {
            let one = *owners.entry(name.clone()).or_insert(image.image);
            if one != image.image {
                let other = image.image;
                clashes.push(Clash { name, one, other });
            }
        }
    }
    Publication { images, clashes }
}

/// Without a registry, variants still must not share a tag.
fn names_or_own(image: &ImageTags, stack: &Stack) -> Vec<String> {
    if !image.repositories.is_empty() {
        return image.names().collect();
    }
    let name = &stack[image.image].name.image;
    let tags = image.tags.iter();
    tags.map(|tag| format!("{name}:{}", tag.tag)).collect()
}

/// What sort of event it is; an error says why it is none that publishes.
pub fn event_kind(rules: &TagRules, facts: &Facts) -> Result<EventKind, String> {
    match facts.trigger {
        Trigger::PullRequest { .. } => Ok(EventKind::PullRequest),
        Trigger::Schedule => Ok(EventKind::Schedule),
        Trigger::Manual => Ok(EventKind::Manual),
        Trigger::Push => push_kind(rules, facts),
    }
}

/// What a push of the same branch or tag would be.
fn push_kind(rules: &TagRules, facts: &Facts) -> Result<EventKind, String> {
    match &facts.reference {
        GitRef::Branch(branch) if is_main(rules, facts, branch) => Ok(EventKind::Main),
        GitRef::Branch(_) => Ok(EventKind::Branch),
        GitRef::Tag(tag) => match Version::parse(tag) {
            Some(version) if version.is_release() => Ok(EventKind::Release),
            Some(_) => Ok(EventKind::Prerelease),
            None => Err(format!("the git tag `{tag}` is no version")),
        },
        GitRef::Detached => Err("the commit is on no branch and has no tag".to_owned()),
    }
}

/// Whether a branch is a main branch by these rules.
pub fn is_main(rules: &TagRules, facts: &Facts, branch: &str) -> bool {
    match (&rules.main_branches, &facts.default_branch) {
        (Some(globs), _) => globs.iter().any(|glob| glob::matches(glob, branch)),
        (None, Some(default)) => default == branch,
        (None, None) => MAIN_BRANCHES.contains(&branch),
    }
}

fn image_tags(id: ImageId, image: &Image, facts: &Facts, content: Option<&str>) -> ImageTags {
    let mut made = ImageTags {
        image: id,
        event: None,
        repositories: image.repositories.clone(),
        tags: Vec::new(),
        left_out: Vec::new(),
    };
    let kind = match event_kind(&image.tags, facts) {
        Ok(kind) => kind,
        Err(reason) => {
            let rule = "every rule".to_owned();
            made.left_out.push(LeftOut { rule, reason });
            return made;
        }
    };
    made.event = Some(kind);
    // A scheduled or a manual run without a list of its own publishes what its branch does.
    let (listed_as, list) = match image.tags.list(kind) {
        Some(list) => (kind, list),
        None => match push_kind(&image.tags, facts) {
            Ok(kind) => (kind, image.tags.list(kind).unwrap_or_default()),
            Err(reason) => {
                let rule = "every rule".to_owned();
                made.left_out.push(LeftOut { rule, reason });
                return made;
            }
        },
    };
    let maker = Maker {
        image,
        facts,
        content,
        kind,
        listed_as,
    };
    for template in &list {
        let rule = template.to_string();
        match maker.tag(template) {
            Ok(tag) if made.tags.iter().any(|made| made.tag == tag) => {}
            Ok(tag) => made.tags.push(Tag { tag, rule }),
            Err(reason) => made.left_out.push(LeftOut { rule, reason }),
        }
    }
    made
}

/// Makes the tags of one image for one event.
struct Maker<'a> {
    image: &'a Image,
    facts: &'a Facts,
    content: Option<&'a str>,
    /// The event.
    kind: EventKind,
    /// The event whose list is used.
    listed_as: EventKind,
}

impl Maker<'_> {
    fn tag(&self, template: &Template) -> Result<String, String> {
        let version = match &self.facts.reference {
            GitRef::Tag(tag) => Version::parse(tag),
            _ => None,
        };
        let tag = self.filled(template, version.as_ref())?;
        if tag == "stable" || tag.ends_with("-stable") {
            return Err(format!("`{tag}` is given by promotion only"));
        }
        let is_latest = template.to_string() == "latest";
        let made_by = match self.listed_as {
            EventKind::Schedule | EventKind::Manual => push_kind(&self.image.tags, self.facts).ok(),
            kind => Some(kind),
        };
        if is_latest && !matches!(made_by, Some(EventKind::Main | EventKind::Release)) {
            return Err("`latest` names what a main branch or a release made".to_owned());
        }
        if let Some(version) = version
            && let Some(newer) = self.newer_with(template, &version, &tag)
        {
            return Err(format!("`{tag}` stays with {newer}, which is newer"));
        }
        Ok(tag)
    }

    /// The tag with its suffix, fit for a registry.
    fn filled(&self, template: &Template, version: Option<&Version>) -> Result<String, String> {
        let tag = template.fill(|fact| self.fact(fact, version))?;
        let names_variant = template
            .facts()
            .any(|fact| fact == "variant" || self.axis(fact).is_some());
        let suffix = match names_variant {
            true => "",
            false => self.image.suffix.as_str(),
        };
        // The suffix tells variants apart: what is too long is cut before it.
        let room = TAG_MAX.saturating_sub(suffix.len());
        let tag: String = tag.chars().take(room).collect();
        let tag = tag + suffix;
        let starts_well = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match starts_well {
            true => Ok(tag),
            false => Err(format!("`{tag}` cannot be a tag")),
        }
    }

    /// A newer release that has the same tag by the same rule, if it is a tag that moves.
    fn newer_with(&self, template: &Template, version: &Version, tag: &str) -> Option<String> {
        let moves = |fact: &str| {
            matches!(fact, "prefix" | "major" | "minor" | "patch" | "variant")
                || self.axis(fact).is_some()
        };
        if !template.facts().all(moves) {
            return None;
        }
        let releases = self
            .facts
            .git_tags
            .iter()
            .filter_map(|tag| Version::parse(tag));
        let newer = releases
            .filter(|other| other.is_release() && other.order(version).is_gt())
            .filter(|other| self.filled(template, Some(other)).is_ok_and(|it| it == tag));
        newer
            .max_by(|one, other| one.order(other))
            .map(|version| version.text)
    }

    fn axis(&self, name: &str) -> Option<&str> {
        let axes = self.image.axes.iter();
        axes.clone()
            .find(|(axis, _)| axis == name)
            .map(|(_, value)| value.as_str())
    }

    fn fact(&self, name: &str, version: Option<&Version>) -> Result<String, String> {
        if let Some(value) = self.axis(name) {
            return not_empty(safe(value), || format!("`{name}` is empty"));
        }
        let facts = self.facts;
        let commit = || {
            let commit = facts.commit.as_deref();
            commit.ok_or_else(|| "the commit is not known".to_owned())
        };
        let date = || {
            let time = facts
                .time
                .ok_or_else(|| "the commit's time is not known".to_owned());
            time.map(Date::of)
        };
        let number = |at: usize| {
            let version = version.ok_or_else(|| "the event has no version".to_owned())?;
            let number = version.numbers.get(at).cloned();
            number.ok_or_else(|| format!("{} has no {name}", version.text))
        };
        match name {
            "prefix" => match &self.image.tags.prefix {
                Some(prefix) => prefix.fill(|fact| self.fact(fact, version)),
                None => Err("`tags.prefix` is not set".to_owned()),
            },
            "branch" => match &facts.reference {
                GitRef::Branch(branch) => not_empty(safe(branch), || {
                    format!("`{branch}` has no character that can be in a tag")
                }),
                _ => Err("the event has no branch".to_owned()),
            },
            "tag" => match &facts.reference {
                GitRef::Tag(tag) => not_empty(safe(tag), || {
                    format!("`{tag}` has no character that can be in a tag")
                }),
                _ => Err("the event has no git tag".to_owned()),
            },
            "commit" => Ok(commit()?.chars().take(COMMIT_SHORT).collect()),
            "commit-full" => Ok(commit()?.to_owned()),
            "version" => {
                let version = version.ok_or_else(|| "the event has no version".to_owned())?;
                Ok(safe(&version.text))
            }
            "major" => number(0),
            "minor" => number(1),
            "patch" => number(2),
            "prerelease" => version
                .and_then(|version| version.prerelease.as_deref())
                .map(safe)
                .ok_or_else(|| "the event has no version before a release".to_owned()),
            "number" => match facts.trigger {
                Trigger::PullRequest {
                    number: Some(number),
                } => Ok(number.to_string()),
                _ => Err("the event has no pull request's number".to_owned()),
            },
            "event" => Ok(self.kind.to_string()),
            "date" => Ok(date()?.compact()),
            "year" => Ok(date()?.year),
            "quarter" => Ok(date()?.quarter()),
            "month" => Ok(date()?.month),
            "day" => Ok(date()?.day),
            "variant" => match &self.image.name.variant {
                Some(variant) => Ok(variant.clone()),
                None => Err("the image has no variants".to_owned()),
            },
            "content" => match self.content {
                Some(digest) => {
                    let hex = digest.rsplit_once(':').map_or(digest, |(_, hex)| hex);
                    Ok(hex.chars().take(CONTENT_SHORT).collect())
                }
                None => Err("the content is known once the image is built".to_owned()),
            },
            axis => Err(format!("the image has no axis `{axis}`")),
        }
    }
}

fn not_empty(text: String, reason: impl Fn() -> String) -> Result<String, String> {
    match text.is_empty() {
        true => Err(reason()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests;
