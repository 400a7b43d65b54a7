//! The first half of publishing: everything to every registry, by digest. No tag is moved.

use std::thread;

use cairn_build::image::push::{Parcel, places};
use cairn_oci::{Descriptor, Platform, Reference};
use cairn_registry::{Document, Places, Pushed, RegistryError};

use super::Means;
use super::error::PublishError;
use super::generation::{Generation, GenerationImage, full_name, generation_name};
use super::naming::Target;

/// One image to be published.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name in the stack, without the variant.
    pub image: String,
    /// The variant.
    pub variant: Option<String>,
    /// The platforms.
    pub platforms: Vec<Platform>,
    /// The manifest for each platform.
    pub manifests: Vec<Descriptor>,
    /// The manifests of what is attested of them.
    pub attested: Vec<Descriptor>,
    /// What its tags are to lead to: its manifest, or an index over those of its platforms.
    pub root: Descriptor,
    /// Its bytes, as far as this machine brings them.
    pub parcels: Vec<Parcel>,
}

impl Item {
    /// Its name in the stack, as in `model:cloud`.
    pub fn name(&self) -> String {
        full_name(&self.image, self.variant.as_deref())
    }
}

/// A generation at one registry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The registry, with its path.
    pub registry: String,
    /// The images that go there.
    pub generation: Generation,
}

impl Place {
    /// What registries are to have of these images.
    pub fn of(stack: &str, items: &[Item], targets: &[Target]) -> Vec<Self> {
        let named = items.iter();
        let named = named.map(|item| (item.name(), &item.root.digest));
        let name = generation_name(stack, named);
        let places = targets.iter().map(|target| {
            let images = items.iter().filter_map(|item| {
                Some(GenerationImage {
                    image: item.image.clone(),
                    variant: item.variant.clone(),
                    platforms: item.platforms.clone(),
                    repository: target.repositories.get(&item.name())?.clone(),
                    manifest: item.root.clone(),
                    manifests: match item.manifests.contains(&item.root) {
                        true => Vec::new(),
                        false => [&item.manifests[..], &item.attested[..]].concat(),
                    },
                })
            });
            Self {
                registry: target.registry.clone(),
                generation: Generation {
                    generation: name.clone(),
                    stack: stack.to_owned(),
                    images: images.collect(),
                },
            }
        });
        places.collect()
    }

    /// The repository of an image here.
    pub fn repository(&self, image: &GenerationImage) -> Result<Reference, PublishError> {
        Ok(format!("{}/{}", self.registry, image.repository).parse()?)
    }
}

/// What sending took, and which registries have everything.
#[derive(Debug, Default)]
pub struct Sending {
    /// What went over the network, all registries together.
    pub pushed: Pushed,
    /// The registries that have everything.
    pub complete: Vec<Place>,
    /// Those that failed.
    pub failed: Vec<(String, RegistryError)>,
}

/// Sends all images to all registries, the registries at the same time.
///
/// Layers that an earlier image of the run brought to a registry are mounted, not sent again.
pub fn send(means: Means<'_>, items: &[Item], to: &[Place]) -> Result<Sending, PublishError> {
    let results: Vec<Result<Result<Pushed, RegistryError>, PublishError>> =
        thread::scope(|scope| {
            let begun: Vec<_> = to
                .iter()
                .map(|place| scope.spawn(move || to_one(means, items, place)))
                .collect();
            let ended = begun.into_iter().map(|one| {
                one.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            ended.collect()
        });
    let mut sending = Sending::default();
    for (place, result) in to.iter().zip(results) {
        match result? {
            Ok(pushed) => {
                sending.pushed += pushed;
                sending.complete.push(place.clone());
            }
            Err(error) => sending.failed.push((place.registry.clone(), error)),
        }
    }
    Ok(sending)
}

fn to_one(
    means: Means<'_>,
    items: &[Item],
    place: &Place,
) -> Result<Result<Pushed, RegistryError>, PublishError> {
    let mut known = Places::new();
    let mut pushed = Pushed::default();
    for image in &place.generation.images {
        let repository = place.repository(image)?;
        if pushed == Pushed::default() {
            known = places(means.store, repository.registry())?;
        }
        // Others were carried over: the registry has them.
        let Some(item) = items.iter().find(|item| item.name() == image.name()) else {
            continue;
        };
        for parcel in &item.parcels {
            parcel.note_homes(&mut known, repository.registry());
            let sent = parcel.send(means.store, means.client, &repository, &known, means.watch);
            match sent {
                Ok(sent) => pushed += sent,
                Err(error) => return Ok(Err(error)),
            }
            for blob in &parcel.blobs {
                known.add_first(&blob.digest, repository.repository());
            }
        }
        if let Some(index) = item.index(means.store)?
            && let Err(error) = put_index(means, &repository, &index)
        {
            return Ok(Err(error));
        }
    }
    Ok(Ok(pushed))
}

/// Puts an index by its digest, where the manifests that it names are.
fn put_index(
    means: Means<'_>,
    repository: &Reference,
    index: &Document,
) -> Result<(), RegistryError> {
    let by_digest = repository.with_digest(index.descriptor.digest.clone());
    match means.client.look_up(&by_digest, means.watch)? {
        Some(_) => Ok(()),
        None => means.client.put_manifest(&by_digest, index, means.watch),
    }
}

/// Makes sure that a registry still has an image, and the store its manifest.
pub(crate) fn fetch_manifest(
    means: Means<'_>,
    place: &Place,
    image: &GenerationImage,
) -> Result<(), PublishError> {
    let failed = |source| unreadable(place, image, source);
    let digest = &image.manifest.digest;
    let reference = place.repository(image)?.with_digest(digest.clone());
    if means.store.has_blob(digest) {
        let found = means.client.look_up(&reference, means.watch);
        if found.map_err(failed)?.is_some() {
            return Ok(());
        }
    }
    let document = means.client.current_document(&reference, means.watch);
    means
        .store
        .put_blob_bytes(&document.map_err(failed)?.bytes)?;
    Ok(())
}

/// Makes sure that a registry has what another machine brought, and the store the manifest if tags
/// are to lead to it.
pub(super) fn is_there(
    means: Means<'_>,
    place: &Place,
    image: &GenerationImage,
    manifest: &Descriptor,
) -> Result<(), PublishError> {
    if image.manifest.digest == manifest.digest {
        return fetch_manifest(means, place, image);
    }
    let reference = place
        .repository(image)?
        .with_digest(manifest.digest.clone());
    let found = means.client.look_up(&reference, means.watch);
    match found.map_err(|source| unreadable(place, image, source))? {
        Some(_) => Ok(()),
        None => {
            let platform = manifest.platform.as_ref().map(ToString::to_string);
            Err(PublishError::Refused(format!(
                "`{}` for {} is not at {reference} any more: publish it again on the machine that \
                 brought it",
                image.name(),
                platform.unwrap_or_default()
            )))
        }
    }
}

fn unreadable(place: &Place, image: &GenerationImage, source: RegistryError) -> PublishError {
    PublishError::Read {
        what: format!(
            "`{}` of generation {}",
            image.name(),
            place.generation.generation
        ),
        place: place.registry.clone(),
        source: Box::new(source),
    }
}
