//! Publishing some images of a stack: the others stay in the generation as they are.
//!
//! A generation is what people promote and roll back as a whole. So one that is made of some images
//! takes the others from the generation that its tags mean now, with their digests, their tags and
//! what is known of their tests. Nothing of them is sent: the registries have them.

use std::collections::{BTreeMap, BTreeSet};

use super::Means;
use super::error::PublishError;
use super::generation::{Evidence, Generation, GenerationImage, LogEntry, Tested, generation_name};
use super::ledger::Ledger;
use super::send::{Place, fetch_manifest};
use super::switch::few_at_a_time;

/// What is about to be published.
#[derive(Debug, Clone)]
pub struct Made {
    /// The images at each registry.
    pub places: Vec<Place>,
    /// What the tags are to mean.
    pub entries: Vec<LogEntry>,
    /// What is known of tests.
    pub evidence: Option<Evidence>,
}

/// What a tag means now at a registry.
struct Current {
    entry: LogEntry,
    generation: Generation,
    evidence: Vec<Evidence>,
}

/// Images that are carried over, by their names.
#[derive(Default)]
struct Left {
    /// With what stands around their tags.
    affixes: BTreeMap<String, String>,
    /// By the place of the registry and the name.
    images: BTreeMap<(usize, String), GenerationImage>,
    tested: BTreeMap<String, Tested>,
    /// The same by platform, for images that have several.
    platforms: BTreeMap<String, BTreeMap<String, Tested>>,
    /// The tag that the first of them was found by.
    by: String,
}

/// An image that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name in the stack, as in `model:cloud`.
    pub name: String,
    /// The registries where it goes.
    pub registries: Vec<String>,
}

impl Made {
    /// Completes what was made of some images by the `others` that the tags have now, and says which
    /// these are. `order` is the order of all images.
    ///
    /// Equal images are the same generation, in how many steps they came together.
    pub fn carry(
        &mut self,
        means: Means<'_>,
        stack: &str,
        others: &[Other],
        order: &[String],
    ) -> Result<Vec<String>, PublishError> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let order = |name: &String| order.iter().position(|it| it == name);
        self.add_places(stack, others);
        let left = self.find_left(means, stack, others)?;
        for ((at, _), image) in &left.images {
            self.places[*at].generation.images.push(image.clone());
        }
        let mut all: BTreeMap<Option<usize>, (String, &cairn_oci::Digest)> = BTreeMap::new();
        for place in &mut self.places {
            let images = &mut place.generation.images;
            images.sort_by_key(|image| order(&image.name()));
        }
        for image in self.places.iter().flat_map(|it| &it.generation.images) {
            let name = image.name();
            all.insert(order(&name), (name, &image.manifest.digest));
        }
        let name = generation_name(stack, all.into_values());
        self.places.retain(|it| !it.generation.images.is_empty());
        for place in &mut self.places {
            place.generation.generation.clone_from(&name);
        }
        for entry in &mut self.entries {
            entry.generation.clone_from(&name);
            entry.images.extend(left.affixes.clone());
            let has_one = |place: &&Place| {
                let mut images = place.generation.images.iter();
                images.any(|image| entry.images.contains_key(&image.name()))
            };
            let registries = self.places.iter().filter(has_one);
            entry.registries = registries.map(|it| it.registry.clone()).collect();
        }
        let mut evidence = self.evidence.take().unwrap_or_default();
        evidence.generation = name;
        evidence.images.extend(left.tested);
        evidence.platforms.extend(left.platforms);
        self.evidence = (!evidence.images.is_empty()).then_some(evidence);
        Ok(left.affixes.into_keys().collect())
    }

    /// Registries where only the others go take part, too.
    fn add_places(&mut self, stack: &str, others: &[Other]) {
        for registry in others.iter().flat_map(|it| &it.registries) {
            if !self.places.iter().any(|it| it.registry == *registry) {
                self.places.push(Place {
                    registry: registry.clone(),
                    generation: Generation {
                        generation: String::new(),
                        stack: stack.to_owned(),
                        images: Vec::new(),
                    },
                });
            }
        }
    }

    fn find_left(
        &self,
        means: Means<'_>,
        stack: &str,
        others: &[Other],
    ) -> Result<Left, PublishError> {
        let registries: Vec<String> = self.places.iter().map(|it| it.registry.clone()).collect();
        let ledgers = Ledger::open_all(means, &registries, stack)?;
        let mut left = Left::default();
        for entry in &self.entries {
            let found = few_at_a_time(&ledgers, |ledger| current(means, ledger, &entry.tag));
            for (at, found) in found.into_iter().enumerate() {
                if let Some(found) = found? {
                    left.take(at, found, others)?;
                }
            }
        }
        for other in others
            .iter()
            .filter(|it| left.affixes.contains_key(&it.name))
        {
            for registry in &other.registries {
                let at = registries.iter().position(|it| it == registry);
                let is_there = |at| left.images.contains_key(&(at, other.name.clone()));
                if !at.is_some_and(is_there) {
                    return Err(PublishError::Refused(format!(
                        "`{}` was not chosen, and {registry} has none by these tags that could stay \
                         as it is: publish all images there once",
                        other.name
                    )));
                }
            }
        }
        Ok(left)
    }

    /// Makes sure that the registries still have what is carried over, and the store the manifests.
    pub fn fetch_carried(&self, means: Means<'_>, names: &[String]) -> Result<(), PublishError> {
        let mut wanted: Vec<(&Place, &GenerationImage)> = Vec::new();
        for place in &self.places {
            let images = place.generation.images.iter();
            let carried = images.filter(|image| names.contains(&image.name()));
            wanted.extend(carried.map(|image| (place, image)));
        }
        let fetched = few_at_a_time(&wanted, |(place, image)| {
            fetch_manifest(means, place, image)
        });
        fetched.into_iter().collect()
    }
}

impl Left {
    fn take(&mut self, at: usize, found: Current, others: &[Other]) -> Result<(), PublishError> {
        for image in found.generation.images {
            let name = image.name();
            let is_other = others.iter().any(|it| it.name == name);
            let Some(written) = found.entry.images.get(&name).filter(|_| is_other) else {
                continue;
            };
            let mut known = self.images.iter().filter(|((_, it), _)| *it == name);
            if known.any(|(_, it)| it.manifest.digest != image.manifest.digest) {
                return Err(PublishError::Refused(format!(
                    "`{}` and `{}` mean different images `{name}` now, which was not chosen: \
                     publish all images, or one tag after the other",
                    self.by, found.entry.tag
                )));
            }
            if self.by.is_empty() {
                self.by.clone_from(&found.entry.tag);
            }
            self.affixes.insert(name.clone(), written.clone());
            let known = || {
                let known = found.evidence.iter();
                known.filter_map(|it| Some((it, it.images.get(&name)?)))
            };
            if let Some((of, best)) = known().max_by_key(|(_, it)| (it.left_out == 0, it.passed)) {
                let workflows = known().flat_map(|(_, it)| &it.workflows);
                let workflows: BTreeSet<&String> = workflows.collect();
                let tested = Tested {
                    workflows: workflows.into_iter().cloned().collect(),
                    ..best.clone()
                };
                self.tested.insert(name.clone(), tested);
                let platforms = of.platforms.get(&name).cloned();
                self.platforms
                    .extend(platforms.map(|it| (name.clone(), it)));
            }
            self.images.insert((at, name), image);
        }
        Ok(())
    }
}

fn current(means: Means<'_>, ledger: &Ledger, tag: &str) -> Result<Option<Current>, PublishError> {
    let Some(entry) = ledger.current(means, tag)? else {
        return Ok(None);
    };
    let Some(generation) = ledger.generation(means, &entry.generation)? else {
        return Ok(None);
    };
    let evidence = ledger.evidence(means, &entry.generation)?;
    Ok(Some(Current {
        entry,
        generation,
        evidence,
    }))
}
