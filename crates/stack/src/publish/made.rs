//! What images were made of, written down beside a generation.

use std::collections::BTreeMap;

use cairn_oci::Platform;

use super::Means;
use super::error::PublishError;
use super::generation::GenerationImage;
use super::ledger::{place, put_made_of};
use super::send::Place;
use super::switch::few_at_a_time;
use crate::made_of::MadeOf;
use crate::target::label;

/// Writes down at each registry what the images there were made of, by what they are called in the
/// run that made them; gives what went wrong where. What is there already is left alone.
pub fn keep_made_of(
    means: Means<'_>,
    places: &[Place],
    made_of: &BTreeMap<String, MadeOf>,
) -> Vec<PublishError> {
    let kept = few_at_a_time(places, |at| keep_at(means, at, made_of));
    kept.into_iter().filter_map(Result::err).collect()
}

fn keep_at(
    means: Means<'_>,
    at: &Place,
    made_of: &BTreeMap<String, MadeOf>,
) -> Result<(), PublishError> {
    let ledger = place(&at.registry, &at.generation.stack)?;
    let images = at.generation.images.iter();
    let documents: Vec<_> = images
        .flat_map(|image| image.platforms.iter().map(move |it| (image, it)))
        .filter_map(|(image, it)| Some((image, it, made_of.get(&label(&image.name(), it))?)))
        .collect();
    let write = |&(image, platform, made_of): &(&GenerationImage, &Platform, &MadeOf)| {
        put_made_of(means, &ledger, image, platform, made_of)
    };
    // All documents share a blob, and some registries lose one that comes several times at once.
    let Some((first, rest)) = documents.split_first() else {
        return Ok(());
    };
    let written = write(first).and_then(|()| few_at_a_time(rest, write).into_iter().collect());
    written.map_err(|error| match error {
        PublishError::Ledger { place, source } => PublishError::Aside { place, source },
        other => other,
    })
}
