//! The first half of publishing: everything to every registry, by digest. No tag is moved.

use std::thread;

use cairn_build::image::push::{Parcel, places};
use cairn_oci::Reference;
use cairn_registry::{Places, Pushed, RegistryError};

use super::Means;
use super::error::PublishError;
use super::generation::GenerationImage;

/// One image to be published.
#[derive(Debug, Clone)]
pub struct Item {
    /// What the generation says of it.
    pub image: GenerationImage,
    /// Its bytes.
    pub parcel: Parcel,
}

/// A registry with its path, as in `ghcr.io/lab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(pub String);

impl Target {
    /// The repository of an image there.
    pub fn repository(&self, name: &str) -> Result<Reference, PublishError> {
        Ok(format!("{}/{name}", self.0).parse()?)
    }

    /// The registry's host, as it stands in references.
    pub fn host(&self) -> Result<String, PublishError> {
        Ok(self.repository("x")?.registry().to_owned())
    }
}

/// What sending took, and which registries have everything.
#[derive(Debug, Default)]
pub struct Sending {
    /// What went over the network, all registries together.
    pub pushed: Pushed,
    /// The registries that have everything.
    pub complete: Vec<Target>,
    /// Those that failed.
    pub failed: Vec<(String, RegistryError)>,
}

/// Sends all images to all registries, the registries at the same time.
///
/// Layers that an earlier image of the run brought to a registry are mounted, not sent again.
pub fn send(means: Means<'_>, items: &[Item], targets: &[Target]) -> Result<Sending, PublishError> {
    let results: Vec<Result<Result<Pushed, RegistryError>, PublishError>> =
        thread::scope(|scope| {
            let begun: Vec<_> = targets
                .iter()
                .map(|target| scope.spawn(move || to_one(means, items, target)))
                .collect();
            let ended = begun.into_iter().map(|one| {
                one.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            ended.collect()
        });
    let mut sending = Sending::default();
    for (target, result) in targets.iter().zip(results) {
        match result? {
            Ok(pushed) => {
                sending.pushed += pushed;
                sending.complete.push(target.clone());
            }
            Err(error) => sending.failed.push((target.0.clone(), error)),
        }
    }
    Ok(sending)
}

fn to_one(
    means: Means<'_>,
    items: &[Item],
    target: &Target,
) -> Result<Result<Pushed, RegistryError>, PublishError> {
    let mut known: Places = places(means.store, &target.host()?)?;
    let mut pushed = Pushed::default();
    for item in items {
        let repository = target.repository(&item.image.repository)?;
        let sent = item
            .parcel
            .send(means.store, means.client, &repository, &known, means.watch);
        match sent {
            Ok(sent) => pushed += sent,
            Err(error) => return Ok(Err(error)),
        }
        for blob in &item.parcel.blobs {
            let places = known.entry(blob.digest.clone()).or_default();
            // The newest first: it is sure to have it.
            places.insert(0, repository.repository().to_owned());
        }
    }
    Ok(Ok(pushed))
}
