//! Events to tags: what a push, a release, a pull request, a scheduled or a manual run publishes.
//!
//! Pure: the facts of an event come in as values ([`Facts`]), the rules from the stack, and out
//! comes every tag with the rule it is made by, and every rule that made none with the reason.
//! [`publication`] answers for a whole stack; it is what `cairn tags` prints and what `cairn publish`
//! does. What the command line says in place of the spec comes in as [`Instead`].
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
//! - **A pull request publishes nothing**, whatever its list says: its author may be anybody.
//! - A rule whose fact the event does not have (a `{patch}` of `2026.3`) makes no tag.

mod date;
mod maker;
mod pep440;
mod rules;
mod template;
mod version;

use std::collections::BTreeMap;

pub(crate) use pep440::normal as normal_version;
pub use rules::TagRules;
pub use template::{FACTS, Template, safe};
pub(crate) use template::{PREFIX_FACTS, is_tag_character};
pub use version::Version;

use crate::glob;
use crate::settings::EventKind;
use crate::stack::{Affixes, Image, ImageId, Repository, Stack};
use maker::{Maker, fit};

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

/// What the command line says in place of the spec; where it says nothing, the spec holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instead {
    /// The registries, as in `ghcr.io/lab`.
    pub registries: Vec<String>,
    /// The tags, without the prefixes and suffixes of variants.
    pub tags: Vec<String>,
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
    /// Where the image goes. Empty where the stack has no registry.
    pub repositories: Vec<Repository>,
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
    /// The tag without what tells the image's variant: what it has in common with the tags of
    /// other images, and what people promote.
    pub stem: String,
    /// What stands around the stem.
    pub affixes: Affixes,
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
    instead: &Instead,
    content: &dyn Fn(ImageId) -> Option<String>,
) -> Publication {
    let products = stack.ids().filter(|&id| !stack[id].internal);
    let images = products.map(|id| {
        let digest = content(id);
        let mut made = match instead.tags.as_slice() {
            [] => image_tags(id, &stack[id], facts, digest.as_deref()),
            tags => named_tags(id, &stack[id], facts, tags),
        };
        leave_to_promotion(stack, &mut made);
        if !instead.registries.is_empty() {
            let registries = instead.registries.iter();
            let places = registries.map(|registry| stack[id].repository_at(registry));
            made.repositories = places.collect();
        }
        made
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

/// The tags of the command line, for one image.
fn named_tags(id: ImageId, image: &Image, facts: &Facts, tags: &[String]) -> ImageTags {
    let rule = "--tag";
    let mut made = ImageTags {
        image: id,
        event: event_kind(&image.tags, facts).ok(),
        repositories: image.repositories.clone(),
        tags: Vec::new(),
        left_out: Vec::new(),
    };
    if made.event == Some(EventKind::PullRequest) {
        made.left_out.push(of_a_request(rule.to_owned()));
        return made;
    }
    for tag in tags {
        match fit(tag, image.affixes.clone(), rule.to_owned()) {
            Ok(tag) if made.tags.iter().any(|made| made.tag == tag.tag) => {}
            Ok(tag) => made.tags.push(tag),
            Err(reason) => made.left_out.push(LeftOut {
                rule: rule.to_owned(),
                reason,
            }),
        }
    }
    made
}

/// What a rule of promotion names is given by promotion only.
fn leave_to_promotion(stack: &Stack, made: &mut ImageTags) {
    let is_promoted = |tag: &Tag| stack.promote.iter().any(|it| it.to.fits(&tag.stem));
    let left_out = made
        .tags
        .extract_if(.., |tag| is_promoted(tag))
        .map(|tag| LeftOut {
            reason: format!("`{}` is given by promotion only", tag.tag),
            rule: tag.rule,
        });
    made.left_out.extend(left_out);
}

fn of_a_request(rule: String) -> LeftOut {
    let reason = "a pull request publishes nothing".to_owned();
    LeftOut { rule, reason }
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
        if kind == EventKind::PullRequest {
            made.left_out.push(of_a_request(rule));
            continue;
        }
        match maker.tag(template) {
            Ok(tag) if made.tags.iter().any(|made| made.tag == tag.tag) => {}
            Ok(tag) => made.tags.push(tag),
            Err(reason) => made.left_out.push(LeftOut { rule, reason }),
        }
    }
    made
}

#[cfg(test)]
mod tests;
