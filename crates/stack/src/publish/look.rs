//! What is published now, for those who ask what would be different: nothing is changed.

use std::collections::BTreeMap;

use cairn_oci::{Platform, Reference};

use super::Means;
use super::error::PublishError;
use super::generation::Generation;
use super::ledger::Ledger;
use super::switch::few_at_a_time;
use crate::made_of::MadeOf;

/// A generation that was found, with what its images were made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The first registry that has it.
    pub registry: String,
    /// The tag that means it, if it was asked for by a tag.
    pub tag: Option<String>,
    /// Its name.
    pub generation: String,
    /// Its images by their names in the stack; `None` where nobody wrote down what one is made of.
    pub images: BTreeMap<String, Option<MadeOf>>,
}

impl Found {
    /// What people call it.
    pub fn title(&self) -> String {
        match &self.tag {
            Some(tag) => format!("`{tag}` (generation {})", self.generation),
            None => format!("generation {}", self.generation),
        }
    }
}

/// Looks for a generation by a tag, by a reference of one of its images, or by its own name, at
/// each registry in turn. Of its images those are read up that `wanted` names.
pub fn look(
    means: Means<'_>,
    registries: &[String],
    stack: &str,
    what: &str,
    platform: &Platform,
    wanted: &[String],
) -> Result<Option<Found>, PublishError> {
    let tag = tag_of(what);
    let mut found: Option<Found> = None;
    for registry in registries {
        let ledger = Ledger::open(means, registry, stack)?;
        let meant = ledger.current(means, &tag)?;
        let (name, tag) = match meant {
            Some(entry) => (entry.generation, Some(entry.tag)),
            None => (what.to_owned(), None),
        };
        // A name that cannot be one is not asked for.
        let generation = match tag.is_some() || is_name(&name) {
            true => ledger.generation(means, &name)?,
            false => None,
        };
        let Some(generation) = generation else {
            continue;
        };
        let found = found.get_or_insert_with(|| Found {
            registry: registry.clone(),
            tag,
            generation: name.clone(),
            images: BTreeMap::new(),
        });
        // An image may go to one registry only.
        let is_missing = |image: &&String| !found.images.contains_key(*image);
        let missing: Vec<String> = wanted.iter().filter(is_missing).cloned().collect();
        if found.generation == name {
            let more = made_of(means, &ledger, &generation, platform, &missing)?;
            found.images.extend(more);
        }
        if wanted.iter().all(|image| found.images.contains_key(image)) {
            break;
        }
    }
    Ok(found)
}

fn made_of(
    means: Means<'_>,
    ledger: &Ledger,
    generation: &Generation,
    platform: &Platform,
    wanted: &[String],
) -> Result<BTreeMap<String, Option<MadeOf>>, PublishError> {
    let images = generation.images.iter();
    let images: Vec<_> = images.filter(|it| wanted.contains(&it.name())).collect();
    let read = few_at_a_time(&images, |image| ledger.made_of(means, image, platform));
    let mut found = BTreeMap::new();
    for (image, made_of) in images.into_iter().zip(read) {
        found.insert(image.name(), made_of?);
    }
    Ok(found)
}

/// The tag of a reference with a registry; any other text is a tag already.
fn tag_of(what: &str) -> String {
    let reference = what.contains('/').then(|| what.parse::<Reference>().ok());
    let tag = reference
        .flatten()
        .and_then(|it| it.tag().map(str::to_owned));
    tag.unwrap_or_else(|| what.to_owned())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_asked_for_by_tag_by_reference_or_by_name() {
        assert_eq!(tag_of("2026.3-main"), "2026.3-main");
        assert_eq!(tag_of("ghcr.io/lab/base:2026.3-main"), "2026.3-main");
        assert!(is_name("0123456789ab") && !is_name("main") && !is_name(""));
    }
}
