//! What refers to a manifest: signatures, reports, lists of packages.
//!
//! A registry without the referrers API may have them all the same: under the tag `sha256-<hex>`,
//! where clients note them for such registries. What is put here is noted there, too. Nobody can
//! change such a list only if nobody else did: it is read again after it was written.

use std::time::Duration;

use cairn_oci::{Descriptor, Digest, Index, Manifest, MediaType, Reference};
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};

use super::client::RegistryClient;
use super::error::RegistryError;
use super::list_page::list_page;
use super::manifest::Document;
use super::options::Watch;
use crate::http::retry::jitter;

/// There are not more pages; a registry that goes round in a circle ends here.
const PAGES_MAX: usize = 1000;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// So much of a digest goes into the tag of its referrers.
const TAG_HEX_MAX: usize = 64;
/// So often a list is written that others write at the same time.
const NOTES_MAX: usize = 8;
/// Who lost a note waits up to so long, that the others are done.
const NOTE_WAIT_MS: u64 = 200;

impl RegistryClient {
    /// What refers to a manifest of a repository, whether that is there or not; only what is of a
    /// type, if one is given.
    ///
    /// Only the registry itself is asked: a mirror may lag behind.
    ///
    /// # Errors
    /// When the registry cannot be asked, or gives no list.
    pub fn referrers(
        &self,
        repository: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
        watch: Watch<'_>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let origin = self.origin(repository)?;
        let mut path = origin.path(&format!("referrers/{subject}{}", filter(artifact_type)));
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_str(MediaType::OciIndex.as_str()).ok();
        headers.extend(kind.map(|kind| (ACCEPT, kind)));
        let mut found = Vec::new();
        let mut is_filtered = artifact_type.is_none();
        for number in 0..PAGES_MAX {
            let read = Index::from_json_bytes;
            let page = match list_page(&origin, &path, &headers, &FILTERS_APPLIED, watch, read) {
                // Not that there are none: then it would have said so with an empty list.
                Err(error) if error.is_missing() && number == 0 => {
                    found = self.noted_referrers(repository, subject, watch)?;
                    break;
                }
                page => page?,
            };
            found.extend(page.content.manifests);
            let applied = page.noted;
            is_filtered |= applied.is_some_and(|applied| applied.contains("artifactType"));
            match page.next {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        if !is_filtered {
            found.retain(|one| one.artifact_type.as_deref() == artifact_type);
        }
        Ok(found)
    }

    /// Puts a manifest that refers to another one, by its digest, so that it is found from there.
    /// Those that it `replaces` are no longer noted where clients must note them.
    ///
    /// # Errors
    /// When it refers to nothing, or the registry does not take it.
    pub fn attach(
        &self,
        repository: &Reference,
        document: &Document,
        replaces: &[Digest],
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        let manifest = Manifest::from_json_bytes(&document.bytes);
        let manifest = manifest.map_err(|source| RegistryError::Document {
            what: "the manifest".to_owned(),
            reference: Box::new(repository.clone()),
            source,
        })?;
        let Some(subject) = &manifest.subject else {
            return Err(unusable(repository, "it refers to nothing"));
        };
        let own = &document.descriptor;
        let by_digest = repository.with_digest(own.digest.clone());
        if self.put_and_ask(&by_digest, document, watch)?.knows_subject {
            return Ok(());
        }
        let mut noted = Descriptor::new(own.media_type.clone(), own.digest.clone(), own.size);
        let kind = manifest.artifact_type.clone();
        noted.artifact_type = kind.or(Some(manifest.config.media_type.as_str().to_owned()));
        noted.annotations = manifest.annotations.clone();
        self.note(repository, &subject.digest, watch, |list| {
            let is_right = list.contains(&noted);
            let before = list.len();
            list.retain(|one| !replaces.contains(&one.digest));
            if !is_right {
                list.retain(|one| one.digest != noted.digest);
                list.push(noted.clone());
            }
            is_right && list.len() == before
        })
    }

    /// Changes the list that clients note for a digest, until it stays as it was made: `make` says
    /// whether it is already.
    fn note(
        &self,
        repository: &Reference,
        subject: &Digest,
        watch: Watch<'_>,
        make: impl Fn(&mut Vec<Descriptor>) -> bool,
    ) -> Result<(), RegistryError> {
        let tag = noted_at(repository, subject);
        for number in 0..=NOTES_MAX {
            let mut list = self.noted_referrers(repository, subject, watch)?;
            if make(&mut list) {
                return Ok(());
            }
            if number > 0 {
                // Somebody else wrote what they had read before.
                std::thread::sleep(Duration::from_millis(jitter() % NOTE_WAIT_MS));
            }
            let bytes = Index::new(list).to_json_bytes();
            let document = Document {
                descriptor: Descriptor::of(MediaType::OciIndex, &bytes),
                bytes,
            };
            self.put_manifest(&tag, &document, watch)?;
        }
        Err(unusable(&tag, "others change this list all the time"))
    }

    /// What clients noted under the tag of a digest.
    fn noted_referrers(
        &self,
        repository: &Reference,
        subject: &Digest,
        watch: Watch<'_>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let reference = noted_at(repository, subject);
        match self.current_document(&reference, watch) {
            Ok(document) => {
                let index = Index::from_json_bytes(&document.bytes);
                index
                    .map(|index| index.manifests)
                    .map_err(|source| RegistryError::Document {
                        what: "the list of referrers".to_owned(),
                        reference: Box::new(reference),
                        source,
                    })
            }
            Err(error) if error.is_missing() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// The tag under which clients note what refers to a digest.
fn noted_at(repository: &Reference, subject: &Digest) -> Reference {
    let hex = &subject.hex()[..TAG_HEX_MAX];
    let tag = format!("{}-{hex}", subject.algorithm().name());
    let reference = repository.with_tag(&tag);
    reference.expect("a tag of letters, digits and a dash")
}

fn unusable(reference: &Reference, reason: &str) -> RegistryError {
    RegistryError::Unusable {
        reference: Box::new(reference.clone()),
        reason: reason.to_owned(),
    }
}

/// The query that asks for one type.
fn filter(artifact_type: Option<&str>) -> String {
    let Some(wanted) = artifact_type else {
        return String::new();
    };
    let mut url = Url::parse("http://query/").expect("a URL");
    url.query_pairs_mut().append_pair("artifactType", wanted);
    format!("?{}", url.query().unwrap_or_default())
}
