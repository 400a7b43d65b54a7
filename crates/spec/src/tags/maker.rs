//! One tag of one image: a rule's facts looked up, what tells its variant, and what no rule may make.

use super::date::Date;
use super::template::{Template, is_tag_character, safe};
use super::version::Version;
use super::{Facts, GitRef, Tag, Trigger, pep440, push_kind};
use crate::settings::EventKind;
use crate::stack::{Affixes, Image};

/// So many characters of a commit's hash name it.
const COMMIT_SHORT: usize = 7;
/// So many characters of a content's digest name it.
const CONTENT_SHORT: usize = 12;
/// A tag is not longer.
const TAG_MAX: usize = 128;

/// Makes the tags of one image for one event.
pub(super) struct Maker<'a> {
    pub(super) image: &'a Image,
    pub(super) facts: &'a Facts,
    pub(super) content: Option<&'a str>,
    /// The event.
    pub(super) kind: EventKind,
    /// The event whose list is used.
    pub(super) listed_as: EventKind,
}

impl Maker<'_> {
    /// The tag, with its stem and what stands around that.
    pub(super) fn tag(&self, template: &Template) -> Result<Tag, String> {
        let version = match &self.facts.reference {
            GitRef::Tag(tag) => Version::parse(tag),
            _ => None,
        };
        let made = self.filled(template, version.as_ref())?;
        let (tag, stem) = (&made.tag, &made.stem);
        // A variant's `2026.3-stable-gpu` is `2026.3-stable`, too.
        let is_stable = |tag: &str| tag == "stable" || tag.ends_with("-stable");
        if is_stable(tag) || is_stable(stem) {
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
            && let Some(newer) = self.newer_with(template, &version, tag)
        {
            return Err(format!("`{tag}` stays with {newer}, which is newer"));
        }
        Ok(made)
    }

    /// The tag with what stands around its stem, fit for a registry.
    fn filled(&self, template: &Template, version: Option<&Version>) -> Result<Tag, String> {
        let stem = template.fill(|fact| self.fact(fact, version))?;
        let names_variant = template
            .facts()
            .any(|fact| fact == "variant" || self.axis(fact).is_some());
        let affixes = match names_variant {
            true => Affixes::default(),
            false => self.image.affixes.clone(),
        };
        fit(&stem, affixes, template.to_string())
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
            .filter(|other| {
                self.filled(template, Some(other))
                    .is_ok_and(|it| it.tag == tag)
            });
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
            "pep440" => {
                let version = version.ok_or_else(|| "the event has no version".to_owned())?;
                let normal = pep440::normal(&version.text);
                let normal = normal
                    .ok_or_else(|| format!("{} is no version of Python's (PEP 440)", version.text));
                Ok(safe(&normal?))
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

/// A tag of a stem and what stands around it, not too long.
pub(super) fn fit(stem: &str, affixes: Affixes, rule: String) -> Result<Tag, String> {
    // The affixes tell variants apart: what is too long is cut between them.
    let room = TAG_MAX.saturating_sub(affixes.len());
    let stem: String = stem.chars().take(room).collect();
    let tag = affixes.around(&stem);
    let starts_well = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    match starts_well && tag.chars().all(is_tag_character) {
        true => Ok(Tag {
            tag,
            stem,
            affixes,
            rule,
        }),
        false => Err(format!("`{tag}` cannot be a tag")),
    }
}
