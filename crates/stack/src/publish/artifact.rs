//! One small document as an OCI artifact: an empty config, and the document as an annotation.
//!
//! So it takes one request to read one, and no blob.

use cairn_oci::{Descriptor, Manifest, MediaType, Reference};
use cairn_registry::{Document, RegistryError};
use serde::de::DeserializeOwned;

use super::Means;
use super::error::PublishError;

const EMPTY: &[u8] = b"{}";
/// The annotation that holds the document.
const CONTENT: &str = "dev.cairn.content";

/// Reads what a reference means now; `None` if there is no such thing.
pub(crate) fn read<T: DeserializeOwned>(
    means: Means<'_>,
    reference: &Reference,
) -> Result<Option<T>, PublishError> {
    match means.client.current_document(reference, means.watch) {
        Ok(document) => parse(reference, &document.bytes).map(Some),
        Err(error) if error.is_missing() => Ok(None),
        Err(source) => Err(PublishError::Read {
            what: format!("`{}` of the ledger", reference.tag().unwrap_or_default()),
            place: reference.name(),
            source: Box::new(source),
        }),
    }
}

/// As [`read`], for what is never changed: the store's own copy will do.
pub(crate) fn read_final<T: DeserializeOwned>(
    means: Means<'_>,
    reference: &Reference,
) -> Result<Option<T>, PublishError> {
    let kept = means.store.get_ref(&kept_as(reference))?;
    match kept.filter(|kept| means.store.has_blob(&kept.digest)) {
        Some(kept) => parse(reference, &means.store.read_blob(&kept.digest)?).map(Some),
        None => read(means, reference),
    }
}

/// The store's own copy of what is no longer there says nothing more.
pub(crate) fn forget(means: Means<'_>, reference: &Reference) -> Result<(), PublishError> {
    means.store.remove_ref(&kept_as(reference))?;
    Ok(())
}

/// Puts a document under a reference unless it is there, and a copy into the store.
pub(crate) fn write(
    means: Means<'_>,
    reference: &Reference,
    kind: &str,
    content: &str,
) -> Result<(), PublishError> {
    write_with(means, reference, kind, content, &[])
}

/// As [`write`], with blobs of the store.
pub(crate) fn write_with(
    means: Means<'_>,
    reference: &Reference,
    kind: &str,
    content: &str,
    blobs: &[Descriptor],
) -> Result<(), PublishError> {
    let failed = |source: RegistryError| PublishError::Ledger {
        place: reference.name(),
        source: Box::new(source),
    };
    means.store.put_blob_bytes(EMPTY)?;
    let empty = Descriptor::of(MediaType::OciEmpty, EMPTY);
    let layers = match blobs {
        [] => std::slice::from_ref(&empty),
        blobs => blobs,
    };
    let mut manifest = Manifest::new(empty.clone(), layers.to_vec());
    manifest.artifact_type = Some(kind.to_owned());
    manifest
        .annotations
        .insert(CONTENT.to_owned(), content.to_owned());
    let bytes = manifest.to_json_bytes();
    means.store.put_blob_bytes(&bytes)?;
    let document = Document {
        descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
        bytes,
    };
    means
        .store
        .set_ref(&kept_as(reference), &document.descriptor)?;
    let (client, watch) = (means.client, means.watch);
    let known = client.look_up(reference, watch).map_err(failed)?;
    if known.is_some_and(|known| known.digest == document.descriptor.digest) {
        return Ok(());
    }
    for blob in std::iter::once(&empty).chain(blobs) {
        let pushed = client.push_blob(means.store, reference, blob, &[], watch);
        pushed.map_err(failed)?;
    }
    client
        .put_manifest(reference, &document, watch)
        .map_err(failed)
}

fn kept_as(reference: &Reference) -> String {
    format!("cairn:ledger/{reference}")
}

fn parse<T: DeserializeOwned>(reference: &Reference, bytes: &[u8]) -> Result<T, PublishError> {
    let manifest = Manifest::from_json_bytes(bytes).ok();
    let content = manifest
        .as_ref()
        .and_then(|manifest| manifest.annotations.get(CONTENT));
    let document = content.and_then(|content| serde_json::from_str(content).ok());
    document.ok_or_else(|| PublishError::Refused(format!("`{reference}` is no part of a ledger")))
}
