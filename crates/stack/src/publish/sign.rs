//! Signing a generation: every image at every registry, before its tags move.

use cairn_oci::{Descriptor, Index};
use cairn_registry::signature::{Form, SigningKey};

use super::Means;
use super::error::PublishError;
use super::send::Place;
use super::switch::few_at_a_time;

/// Signs what was sent, the manifests in an index as well: a machine that pulls one of them checks
/// that one. What the key has signed before stays as it is; says how many signatures are new.
pub fn sign(
    means: Means<'_>,
    places: &[Place],
    (key, form): (&SigningKey, Form),
) -> Result<usize, PublishError> {
    let mut wanted = Vec::new();
    for place in places {
        for image in &place.generation.images {
            let repository = place.repository(image)?;
            for subject in parts(means, &image.manifest)? {
                wanted.push((repository.clone(), subject));
            }
        }
    }
    let signed = few_at_a_time(&wanted, |(repository, subject)| {
        let (client, watch) = (means.client, means.watch);
        let signed = client.sign(means.store, repository, subject, (key, form), watch);
        signed.map_err(|source| PublishError::Change {
            what: "sign an image".to_owned(),
            place: repository.name(),
            source: Box::new(source),
        })
    });
    let signed: Vec<bool> = signed.into_iter().collect::<Result<_, _>>()?;
    Ok(signed.into_iter().filter(|is_new| *is_new).count())
}

/// A manifest, or an index with its manifests.
fn parts(means: Means<'_>, manifest: &Descriptor) -> Result<Vec<Descriptor>, PublishError> {
    let mut parts = vec![manifest.clone()];
    if manifest.media_type.is_index() {
        let bytes = means.store.read_blob(&manifest.digest)?;
        let index = Index::from_json_bytes(&bytes).map_err(|error| {
            PublishError::Refused(format!("{} is no index: {error}", manifest.digest))
        })?;
        parts.extend(index.manifests);
    }
    Ok(parts)
}
