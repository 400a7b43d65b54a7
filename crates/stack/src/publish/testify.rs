//! Tests that passed after their images were published, written down beside them.

use std::collections::BTreeMap;

use cairn_oci::Platform;

use super::Means;
use super::error::PublishError;
use super::generation::{Evidence, Tested};
use super::ledger::{Ledger, put_evidence};

/// What an image here passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The digest of all that a container of it can observe.
    pub content: String,
    /// What came of its tests.
    pub tested: Tested,
}

/// Of which images it was written down, by the generation that a tag means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Testified {
    /// The generation.
    pub generation: Option<String>,
    /// The images whose tests are known of now.
    pub kept: Vec<String>,
    /// Those that are not what the tag means, and those of which nobody knows.
    pub others: Vec<String>,
}

/// Writes down, at every registry, what images passed: of those that are the very ones that a tag
/// means there.
pub fn testify(
    means: Means<'_>,
    registries: &[String],
    stack: &str,
    tag: &str,
    platform: &Platform,
    passed: &BTreeMap<String, Passed>,
) -> Result<Testified, PublishError> {
    let mut made = Testified::default();
    for registry in registries {
        let ledger = Ledger::open(means, registry, stack)?;
        let Some(entry) = ledger.current(means, tag)? else {
            continue;
        };
        let Some(generation) = ledger.generation(means, &entry.generation)? else {
            continue;
        };
        let (mut images, mut platforms) = (BTreeMap::new(), BTreeMap::new());
        for image in &generation.images {
            let name = image.name();
            let Some(here) = passed.get(&name) else {
                continue;
            };
            let there = ledger.made_of(means, image, platform)?;
            let content = there.and_then(|it| it.content);
            if content.as_ref() == Some(&here.content) {
                if image.platforms.len() > 1 {
                    // The other platforms are somebody else's to test.
                    let of = image.platforms.iter().map(|it| match it == platform {
                        true => (it.to_string(), here.tested.clone()),
                        false => (it.to_string(), Tested::default()),
                    });
                    platforms.insert(name.clone(), of.collect());
                }
                images.insert(name, here.tested.clone());
            }
        }
        made.generation = Some(entry.generation.clone());
        for name in images.keys() {
            if !made.kept.contains(name) {
                made.kept.push(name.clone());
            }
        }
        let evidence = Evidence {
            generation: entry.generation,
            images,
            platforms,
        };
        if !evidence.images.is_empty() && !ledger.has_evidence(&evidence) {
            put_evidence(means, ledger.reference(), &evidence)?;
        }
    }
    let others = passed.keys().filter(|name| !made.kept.contains(name));
    made.others = others.cloned().collect();
    Ok(made)
}
