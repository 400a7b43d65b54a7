//! What is published under which names: the spec's rules as places and tags.
//!
//! [`cairn_spec::tags::publication`] has made all names; here they are only sorted. So `cairn tags`
//! and `cairn publish` cannot tell different ones.

use std::collections::BTreeMap;

use cairn_spec::tags::ImageTags;
use cairn_spec::{Affixes, ImageId, Stack};

/// A registry with its path, as in `ghcr.io/lab`, and what goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The registry.
    pub registry: String,
    /// Its images, as in `model:cloud`, each with the name of its repository.
    pub repositories: BTreeMap<String, String>,
}

/// A tag that images have in common, but for what tells their variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stem {
    /// The tag.
    pub tag: String,
    /// The images, each with what stands around the tag, as [`written`].
    pub images: BTreeMap<String, String>,
}

/// What is published where, and under which tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// The registries, in the order of the spec.
    pub targets: Vec<Target>,
    /// The tags, in the order of the rules.
    pub stems: Vec<Stem>,
}

impl Naming {
    /// Sorts what images are published as. One without a tag is not published.
    pub fn of<'a>(stack: &Stack, images: impl Iterator<Item = &'a ImageTags>) -> Self {
        let mut naming = Self::default();
        for image in images.filter(|image| !image.tags.is_empty()) {
            let name = stack[image.image].name.to_string();
            for place in &image.repositories {
                let target = at(
                    &mut naming.targets,
                    |target| target.registry == place.registry,
                    || Target {
                        registry: place.registry.clone(),
                        repositories: BTreeMap::new(),
                    },
                );
                target.repositories.insert(name.clone(), place.name.clone());
            }
            for tag in &image.tags {
                let stem = at(
                    &mut naming.stems,
                    |stem| stem.tag == tag.stem,
                    || Stem {
                        tag: tag.stem.clone(),
                        images: BTreeMap::new(),
                    },
                );
                stem.images.insert(name.clone(), written(&tag.affixes));
            }
        }
        naming
    }
}

/// Stands for the stem in what is written down of a tag; no tag has it.
const STEM: char = '*';

/// What stands around a stem, as it is written down: a suffix alone, or `cuda12-*`, where `*` is the
/// stem.
pub(crate) fn written(affixes: &Affixes) -> String {
    match affixes.prefix.is_empty() {
        true => affixes.suffix.clone(),
        false => affixes.around(&STEM.to_string()),
    }
}

/// The tag that a stem and what was written down of its surroundings make.
pub(crate) fn tag_around(stem: &str, written: &str) -> String {
    match written.split_once(STEM) {
        Some((before, behind)) => format!("{before}{stem}{behind}"),
        None => format!("{stem}{written}"),
    }
}

/// The registries where images of a stack go, in the order of the spec.
pub fn registries(stack: &Stack) -> Vec<String> {
    let mut registries = stack.registries.clone();
    let own = stack.ids().filter(|&id: &ImageId| !stack[id].internal);
    for place in own.flat_map(|id| &stack[id].repositories) {
        if !registries.contains(&place.registry) {
            registries.push(place.registry.clone());
        }
    }
    registries
}

fn at<T>(things: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let place = things.iter().position(is_it).unwrap_or_else(|| {
        things.push(make());
        things.len() - 1
    });
    &mut things[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What older ledgers say of suffixes stays as it is.
    #[test]
    fn what_stands_around_a_tag_is_written_down_and_read() {
        let table = [
            ("", "", "", "v1"),
            ("", "-gpu", "-gpu", "v1-gpu"),
            ("gpu-", "", "gpu-*", "gpu-v1"),
            ("a-", "-z", "a-*-z", "a-v1-z"),
        ];
        for (prefix, suffix, text, tag) in table {
            let affixes = Affixes {
                prefix: prefix.to_owned(),
                suffix: suffix.to_owned(),
            };
            assert_eq!(written(&affixes), text);
            assert_eq!(tag_around("v1", text), tag);
        }
    }
}
