//! What was announced, removed and taken back: documents of the ledger.

use std::collections::BTreeMap;

use cairn_oci::{Descriptor, Digest, Manifest, MediaType, Reference};
use serde::{Deserialize, Serialize};

use super::super::Means;
use super::super::artifact;
use super::super::error::PublishError;
use super::super::ledger::Ledger;
use super::super::switch::few_at_a_time;

const KIND: &str = "application/vnd.cairn.gc.v1+json";
/// All manifests are one blob: registries drop a blob, too, when a manifest of its digest is removed.
const CARRIED: &str = "application/vnd.cairn.manifests.v1+json";
const NAME_DIGITS: usize = 12;
/// So many things stand in one record; the others wait for the next one.
pub(super) const THINGS_MAX: usize = 4000;

/// A manifest, or tags of one, that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thing {
    /// The repository, with its registry.
    pub repository: String,
    /// The digest of the manifest.
    pub digest: Digest,
    /// Its media type and size.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<(String, u64)>,
    /// The tags that lead to it and go with it.
    pub tags: Vec<String>,
    /// Whether only the tags go: something else needs the manifest.
    #[serde(default)]
    pub only_tags: bool,
}

impl Thing {
    /// How it is called: by its tags, else by its digest.
    pub fn names(&self) -> Vec<String> {
        let repository = &self.repository;
        match self.tags.as_slice() {
            [] => vec![format!("{repository}@{}", self.digest)],
            tags => tags
                .iter()
                .map(|tag| format!("{repository}:{tag}"))
                .collect(),
        }
    }
}

/// The texts of manifests, by their digests.
pub(super) type Manifests = BTreeMap<Digest, String>;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    Announced,
    Removed,
    /// What was removed by the record of this number is put back, and nothing is announced that was
    /// announced before.
    Undone(u32),
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) number: u32,
    pub(super) time: i64,
    pub(super) event: Event,
    pub(super) things: Vec<Thing>,
}

impl Record {
    pub(super) fn name(&self) -> String {
        let text = self.to_json();
        let digest = Digest::sha256(text.as_bytes());
        format!("gc-{:08}-{}", self.number, &digest.hex()[..NAME_DIGITS])
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a value of plain fields")
    }

    /// Writes it down, with what is carried.
    pub(super) fn write(
        &self,
        means: Means<'_>,
        ledger: &Ledger,
        manifests: &Manifests,
    ) -> Result<(), PublishError> {
        let reference = ledger.repository().with_tag(&self.name())?;
        let mut blobs = Vec::new();
        if !manifests.is_empty() {
            let bytes = serde_json::to_vec(manifests).expect("a map of texts");
            means.store.put_blob_bytes(&bytes)?;
            let kind = MediaType::from(CARRIED.to_owned());
            blobs.push(Descriptor::of(kind, &bytes));
        }
        artifact::write_with(means, &reference, KIND, &self.to_json(), &blobs)
    }

    /// Brings the manifests that a record of a removal carries into the store.
    pub(super) fn fetch_manifests(
        &self,
        means: Means<'_>,
        ledger: &Ledger,
    ) -> Result<(), PublishError> {
        let reference = ledger.repository().with_tag(&self.name())?;
        let failed = |source| PublishError::Read {
            what: "what was removed".to_owned(),
            place: ledger.place(),
            source: Box::new(source),
        };
        let wrong =
            || PublishError::Refused(format!("`{reference}` does not tell what was removed"));
        let document = means.client.current_document(&reference, means.watch);
        let bytes = document.map_err(failed)?.bytes;
        let manifest = Manifest::from_json_bytes(&bytes).map_err(|_| wrong())?;
        let carried = manifest.layers.iter();
        for blob in carried.filter(|blob| blob.media_type.as_str() == CARRIED) {
            let fetched = means
                .client
                .fetch_blob(means.store, &reference, blob, means.watch);
            fetched.map_err(failed)?;
            let bytes = means.store.read_blob(&blob.digest)?;
            let manifests: Manifests = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
            for (digest, text) in manifests {
                means.store.put_blob(Some(&digest), &mut text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// All records, the oldest first.
pub(super) fn records(means: Means<'_>, ledger: &Ledger) -> Result<Vec<Record>, PublishError> {
    let names: Vec<&str> = ledger.names("gc-").collect();
    let read = few_at_a_time(&names, |name| {
        let reference: Reference = ledger.repository().with_tag(name)?;
        artifact::read_final::<Record>(means, &reference)
    });
    let read: Vec<Option<Record>> = read.into_iter().collect::<Result<_, _>>()?;
    let mut records: Vec<Record> = read.into_iter().flatten().collect();
    records.sort_by_key(|record| (record.number, record.time));
    Ok(records)
}

/// The number of the next record.
pub(super) fn next_number(records: &[Record]) -> u32 {
    records.last().map_or(1, |it| it.number + 1)
}

/// The records that still count: those after the last one that took all back.
pub(super) fn valid(records: &[Record]) -> &[Record] {
    let is_undoing = |record: &Record| matches!(record.event, Event::Undone(_));
    let last = records.iter().rposition(is_undoing);
    &records[last.map_or(0, |at| at + 1)..]
}
