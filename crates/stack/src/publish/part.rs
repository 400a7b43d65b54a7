//! Parts of a generation: what one machine brings of images that need several machines.
//!
//! Each machine sends what it can build by digest, and notes in the ledger what it sent, as a
//! part of something that all of them name alike: the commit, or what people call it. Then it
//! reads what others noted. Whoever finds every platform of every image there puts the indexes
//! together and moves the tags; a machine that does not leaves it to the next one. Two that come
//! at once both write before they read, so at least one finds everything, and if both do, they make
//! the same indexes.
//!
//! A part is written once and never changed. Where a machine made something else of the same
//! source, what it noted last counts.

use std::collections::BTreeMap;

use cairn_build::image::push::Parcel;
use cairn_oci::{Descriptor, Digest, Index, MediaType, Platform};
use cairn_registry::Document;
use cairn_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::Means;
use super::error::PublishError;
use super::generation::{Tested, full_name};
use super::ledger::Ledger;
use super::send::{Item, Place, is_there};

/// How many digits of a digest name a part, and what it is a part of.
const NAME_DIGITS: usize = 12;

/// What one machine brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is a part of.
    pub of: String,
    /// The commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The images.
    pub images: Vec<PartImage>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartImage {
    /// Its name in the stack, without the variant.
    pub image: String,
    /// The variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Its platform.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The manifest of what is attested of it, as an index names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<Descriptor>,
    /// The digest of all that a container of it can observe.
    pub content: String,
    /// What came of its tests.
    pub tested: Tested,
}

impl PartImage {
    /// Its name in the stack, as in `model:cloud`.
    pub fn name(&self) -> String {
        full_name(&self.image, self.variant.as_deref())
    }

    /// Its manifest, and that of what is attested of it.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Descriptor> {
        [&self.manifest].into_iter().chain(&self.attested)
    }
}

impl Part {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a value of plain fields")
    }

    /// Equal parts have one name: who publishes again adds nothing.
    pub(crate) fn id(&self) -> String {
        digits(&self.to_json())
    }

    /// What it is a part of, as it stands in the names of parts.
    pub(crate) fn key(of: &str) -> String {
        digits(of)
    }
}

fn digits(text: &str) -> String {
    Digest::sha256(text.as_bytes()).hex()[..NAME_DIGITS].to_owned()
}

/// An image that is to be published, with the platforms that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Its name in the stack, without the variant.
    pub image: String,
    /// The variant.
    pub variant: Option<String>,
    /// The platforms, in the order that its index has them.
    pub platforms: Vec<Platform>,
}

impl Needed {
    /// Its name in the stack, as in `model:cloud`.
    pub fn name(&self) -> String {
        full_name(&self.image, self.variant.as_deref())
    }
}

/// What is there of the images that are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// By the image's name, the images for its platforms in their order.
    pub images: BTreeMap<String, Vec<PartImage>>,
    /// What nobody has brought yet: image and platform.
    pub missing: Vec<(String, Platform)>,
}

/// Writes a part into the ledgers of all registries, and reads what others wrote: the parts that
/// every registry has, the last one last.
pub fn exchange(
    means: Means<'_>,
    registries: &[String],
    stack: &str,
    part: &Part,
) -> Result<Vec<Part>, PublishError> {
    let ledgers = Ledger::open_all(means, registries, stack)?;
    let number = ledgers.iter().map(|it| it.next_part(&part.of)).max();
    for ledger in &ledgers {
        ledger.put_part(means, part, number.unwrap_or(1))?;
    }
    known(means, registries, stack, &part.of)
}

/// The parts that every registry has, the last one last.
pub fn known(
    means: Means<'_>,
    registries: &[String],
    stack: &str,
    of: &str,
) -> Result<Vec<Part>, PublishError> {
    let ledgers = Ledger::open_all(means, registries, stack)?;
    let Some((first, others)) = ledgers.split_first() else {
        return Ok(Vec::new());
    };
    first.parts(means, of, |id| others.iter().all(|it| it.has_part(of, id)))
}

/// Brings together what is needed out of parts, of which later ones count. They must be of one
/// commit: images of two are no generation.
pub fn join(parts: &[Part], needed: &[Needed]) -> Result<Joined, PublishError> {
    let mut joined = Joined::default();
    let mut first: Option<(&Part, &PartImage)> = None;
    for wanted in needed {
        let name = wanted.name();
        for platform in &wanted.platforms {
            let found = parts.iter().rev().find_map(|part| {
                let mut images = part.images.iter();
                let is_it = |it: &&PartImage| it.name() == name && it.platform == *platform;
                images.find(is_it).map(|image| (part, image))
            });
            let Some((part, image)) = found else {
                joined.missing.push((name.clone(), platform.clone()));
                continue;
            };
            let (known, one) = *first.get_or_insert((part, image));
            if known.commit != part.commit {
                let told = |part: &Part| part.commit.clone().unwrap_or("no commit".to_owned());
                return Err(PublishError::Refused(format!(
                    "the parts of `{}` are not of one source: `{}` for {} is of {}, `{name}` for \
                     {platform} is of {}",
                    part.of,
                    one.name(),
                    one.platform,
                    told(known),
                    told(part)
                )));
            }
            let images = joined.images.entry(name.clone()).or_default();
            images.push(image.clone());
        }
    }
    Ok(joined)
}

impl Item {
    /// An image out of the images for its platforms: one as it is, several under an index, and with what
    /// is attested of them under one in any case.
    /// `parcels` are those that this machine brings.
    pub fn new(
        store: &Store,
        images: &[PartImage],
        parcels: Vec<Parcel>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(first) = images.first() else {
            return Ok(None);
        };
        let descriptors = images.iter().map(|image| {
            let mut descriptor = image.manifest.clone();
            descriptor.platform.get_or_insert(image.platform.clone());
            descriptor
        });
        let attested: Vec<Descriptor> = attested(images).collect();
        let root = match images {
            [one] if attested.is_empty() => one.manifest.clone(),
            _ => {
                let all = descriptors.chain(attested.iter().cloned()).collect();
                let bytes = Index::new(all).to_json_bytes();
                store.put_blob_bytes(&bytes)?;
                Descriptor::of(MediaType::OciIndex, &bytes)
            }
        };
        Ok(Some(Self {
            image: first.image.clone(),
            variant: first.variant.clone(),
            platforms: images.iter().map(|image| image.platform.clone()).collect(),
            manifests: images.iter().map(|image| image.manifest.clone()).collect(),
            attested,
            root,
            parcels,
        }))
    }

    /// What this machine brings of an image, before it is known what its tags are to lead to.
    pub fn loose(images: &[PartImage], parcels: Vec<Parcel>) -> Option<Self> {
        let first = images.first()?;
        Some(Self {
            image: first.image.clone(),
            variant: first.variant.clone(),
            platforms: images.iter().map(|image| image.platform.clone()).collect(),
            manifests: images.iter().map(|image| image.manifest.clone()).collect(),
            attested: attested(images).collect(),
            root: first.manifest.clone(),
            parcels,
        })
    }

    /// The index, if its tags lead to one.
    pub(super) fn index(&self, store: &Store) -> Result<Option<Document>, StoreError> {
        if self.manifests.contains(&self.root) {
            return Ok(None);
        }
        Ok(Some(Document {
            descriptor: self.root.clone(),
            bytes: store.read_blob(&self.root.digest)?,
        }))
    }
}

fn attested(images: &[PartImage]) -> impl Iterator<Item = Descriptor> {
    images.iter().filter_map(|image| image.attested.clone())
}

/// Makes sure that registries still have what other machines brought, and the store what tags are
/// to lead to.
pub fn check_brought(
    means: Means<'_>,
    items: &[Item],
    places: &[Place],
) -> Result<(), PublishError> {
    for place in places {
        for image in &place.generation.images {
            let Some(item) = items.iter().find(|item| item.name() == image.name()) else {
                continue;
            };
            for manifest in item.manifests.iter().chain(&item.attested) {
                let own = item.parcels.iter();
                if own
                    .clone()
                    .all(|it| it.manifest.descriptor.digest != manifest.digest)
                {
                    is_there(means, place, image, manifest)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(commit: &str, images: &[(&str, &str, &str)]) -> Part {
        let images = images.iter().map(|(image, architecture, word)| PartImage {
            image: (*image).to_owned(),
            variant: None,
            platform: Platform::new("linux", architecture),
            manifest: Descriptor::of(MediaType::OciManifest, word.as_bytes()),
            attested: None,
            content: (*word).to_owned(),
            tested: Tested::default(),
        });
        Part {
            of: "run 7".to_owned(),
            commit: Some(commit.to_owned()),
            images: images.collect(),
        }
    }

    fn needed(image: &str, architectures: &[&str]) -> Needed {
        let platforms = architectures.iter().map(|it| Platform::new("linux", it));
        Needed {
            image: image.to_owned(),
            variant: None,
            platforms: platforms.collect(),
        }
    }

    #[test]
    fn parts_are_joined_when_every_platform_is_there() {
        let both = [needed("a", &["amd64", "arm64"]), needed("b", &["amd64"])];
        let one = part("c", &[("a", "amd64", "1"), ("b", "amd64", "2")]);
        let joined = join(std::slice::from_ref(&one), &both).unwrap();
        let arm = Platform::new("linux", "arm64");
        assert_eq!(joined.missing, [("a".to_owned(), arm)]);
        let other = part("c", &[("a", "arm64", "3")]);
        let again = part("c", &[("a", "arm64", "4")]);
        let joined = join(&[other.clone(), one.clone(), again], &both).unwrap();
        assert_eq!(joined.missing, []);
        let words: Vec<&str> = joined.images["a"].iter().map(|it| &*it.content).collect();
        assert_eq!(
            words,
            ["1", "4"],
            "in the order of the spec, and the last one counts"
        );
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn images_of_two_commits_are_no_generation() {
        let both = [needed("a", &["amd64", "arm64"])];
        let parts = [
            part("x", &[("a", "amd64", "1")]),
            part("y", &[("a", "arm64", "2")]),
        ];
        let told = join(&parts, &both).unwrap_err().to_string();
        assert!(
            told.contains("`a` for linux/amd64 is of x, `a` for linux/arm64 is of y"),
            "{told}"
        );
    }
}
