//! The first half of publishing: everything to every registry, by digest. No tag is moved.

use std::thread;

use cairn_build::image::push::{Parcel, places};
use cairn_oci::{Platform, Reference};
use cairn_registry::{Places, Pushed, RegistryError};

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
    /// Its bytes.
    pub parcel: Parcel,
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
        let named = named.map(|item| (item.name(), &item.parcel.manifest.descriptor.digest));
        let name = generation_name(stack, named);
        let places = targets.iter().map(|target| {
            let images = items.iter().filter_map(|item| {
                Some(GenerationImage {
                    image: item.image.clone(),
                    variant: item.variant.clone(),
                    platforms: item.platforms.clone(),
                    repository: target.repositories.get(&item.name())?.clone(),
                    manifest: item.parcel.manifest.descriptor.clone(),
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
        let parcel = &item.parcel;
        let sent = parcel.send(means.store, means.client, &repository, &known, means.watch);
        match sent {
            Ok(sent) => pushed += sent,
            Err(error) => return Ok(Err(error)),
        }
        for blob in &parcel.blobs {
            let places = known.entry(blob.digest.clone()).or_default();
            // The newest first: it is sure to have it.
            places.insert(0, repository.repository().to_owned());
        }
    }
    Ok(Ok(pushed))
}

/// Makes sure that a registry still has an image, and the store its manifest.
pub(crate) fn fetch_manifest(
    means: Means<'_>,
    place: &Place,
    image: &GenerationImage,
) -> Result<(), PublishError> {
    let digest = &image.manifest.digest;
    let reference = place.repository(image)?.with_digest(digest.clone());
    let failed = |source| PublishError::Read {
        what: format!(
            "`{}` of generation {}",
            image.name(),
            place.generation.generation
        ),
        place: place.registry.clone(),
        source: Box::new(source),
    };
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
