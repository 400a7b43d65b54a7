//! Images and indexes into a registry: blobs, then manifests by digest, then tags.
//!
//! A tag is moved only after everything it leads to is there, so a reader sees the old image or
//! the new one and nothing between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_oci::{Descriptor, Digest, Reference};
use cairn_store::Store;
use reqwest::Method;
use reqwest::blocking::Body;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::client::RegistryClient;
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::manifest::{CONTENT_DIGEST, Document};
use super::options::Watch;
use super::places::Places;
use super::pull::in_parallel;
use super::upload::Sent;
use crate::http::error::FetchProblem;
use crate::http::retry::was_stopped_during;
use crate::http::transfer::{accepted, header_text};

const BLOBS_AT_ONCE: usize = 4;

/// How often a registry that misses parts of a manifest is asked again.
const DOUBTS_MAX: u32 = 3;

/// How long to wait before it is asked again; each further wait is twice as long.
const DOUBT_WAIT: Duration = Duration::from_millis(50);

/// A registry with the referrers API says so, when something refers to something.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// What a registry says of a manifest that it took.
pub(super) struct Put {
    /// Whether it will name it among what refers to its subject.
    pub(super) knows_subject: bool,
}

/// What it took to have something in a registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs and manifests that were there.
    pub there: u64,
    /// Blobs that the registry had in another repository.
    pub mounted: u64,
    /// Blobs and manifests that were sent.
    pub sent: u64,
    /// The bytes of those.
    pub bytes: u64,
}

impl std::ops::AddAssign for Pushed {
    fn add_assign(&mut self, other: Pushed) {
        self.there += other.there;
        self.mounted += other.mounted;
        self.sent += other.sent;
        self.bytes += other.bytes;
    }
}

impl RegistryClient {
    /// Makes sure that a repository has a manifest, by its digest, and all its blobs.
    ///
    /// `blobs` are those of the manifest. A registry that has the manifest has checked that it
    /// has them. One that the store does not have is mounted, else fetched from where `places` say.
    ///
    /// # Errors
    /// When the registry does not take one of them.
    pub fn push_image(
        &self,
        store: &Store,
        reference: &Reference,
        manifest: &Document,
        blobs: &[Descriptor],
        places: &Places,
        watch: Watch<'_>,
    ) -> Result<Pushed, RegistryError> {
        let by_digest = reference.with_digest(manifest.descriptor.digest.clone());
        let mut pushed = Pushed::default();
        if self.look_up_to_push(&by_digest, watch)?.is_some() {
            pushed.there = 1 + blobs.len() as u64;
            return Ok(pushed);
        }
        let mut distinct: Vec<&Descriptor> = Vec::new();
        for blob in blobs {
            if !distinct.iter().any(|known| known.digest == blob.digest) {
                distinct.push(blob);
            }
        }
        // The largest first: then the last ones to finish are small.
        distinct.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        let moved = AtomicU64::new(0);
        let counted = Watch {
            is_stopped: watch.is_stopped,
            moved: &|bytes| {
                moved.fetch_add(bytes, Ordering::Relaxed);
                (watch.moved)(bytes);
            },
        };
        let push_blobs = || {
            in_parallel(&distinct, BLOBS_AT_ONCE, |blob| {
                // What is fetched to be sent on is not told as sent.
                self.push_held(store, reference, blob, places, (counted, watch))
            })
        };
        for one in push_blobs()? {
            match one {
                Sent::There => pushed.there += 1,
                Sent::Mounted => pushed.mounted += 1,
                Sent::Uploaded => pushed.sent += 1,
            }
        }
        match self.put_manifest(&by_digest, manifest, counted) {
            // Its garbage collection took a blob between the question and the manifest.
            Err(error) if error.misses_parts() => {
                let again = push_blobs()?;
                pushed.sent += again.iter().filter(|one| **one == Sent::Uploaded).count() as u64;
                self.put_manifest(&by_digest, manifest, counted)?;
            }
            put => put?,
        }
        pushed.sent += 1;
        pushed.bytes = moved.into_inner();
        Ok(pushed)
    }

    /// Removes a tag; what it meant stays, by its digest.
    ///
    /// # Errors
    /// When the registry does not do it. Many do not.
    pub fn remove_tag(&self, reference: &Reference, watch: Watch<'_>) -> Result<(), RegistryError> {
        let tag = reference.tag().unwrap_or("latest");
        self.remove(reference, tag, watch)
    }

    /// Removes a manifest or index by its digest, with all tags that mean it.
    ///
    /// # Errors
    /// When the registry does not do it.
    pub fn remove_manifest(
        &self,
        repository: &Reference,
        digest: &Digest,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        self.remove(repository, digest.as_str(), watch)
    }

    fn remove(
        &self,
        repository: &Reference,
        name: &str,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        let target = self.origin(repository)?;
        let path = target.path(&format!("manifests/{name}"));
        let scopes = target.scopes("pull,push,delete");
        target.persist("DELETE", &path, watch.is_stopped, || {
            let response = target.send(&Request {
                method: Method::DELETE,
                url: target.host.url(&path)?,
                headers: HeaderMap::new(),
                repository: &target.repository,
                scopes: &scopes,
                body: NO_BODY,
                timeout: None,
                is_stopped: watch.is_stopped,
            })?;
            // What is not there needs no removing.
            match response.status().as_u16() {
                404 => Ok(()),
                _ => accepted(response).map(|_| ()),
            }
        })
    }

    /// Puts a manifest or index under a reference: a digest, which must be its own, or a tag,
    /// which is moved.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        document: &Document,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        self.put_and_ask(reference, document, watch).map(|_| ())
    }

    /// As [`RegistryClient::put_manifest`], with what the registry says of it.
    ///
    /// A registry that misses parts is asked again before it is believed: the usual one keeps the
    /// place of a blob in a file that is empty for a moment whenever somebody sends that blob, and
    /// several machines that publish one generation send the same ones.
    pub(super) fn put_and_ask(
        &self,
        reference: &Reference,
        document: &Document,
        watch: Watch<'_>,
    ) -> Result<Put, RegistryError> {
        let mut doubts = 0;
        loop {
            match self.put_once(reference, document, watch) {
                Err(error) if error.misses_parts() && doubts < DOUBTS_MAX => {
                    let wait = DOUBT_WAIT * (1 << doubts);
                    if was_stopped_during(wait, watch.is_stopped) {
                        return Err(error);
                    }
                    doubts += 1;
                }
                put => return put,
            }
        }
    }

    fn put_once(
        &self,
        reference: &Reference,
        document: &Document,
        watch: Watch<'_>,
    ) -> Result<Put, RegistryError> {
        let target = self.origin(reference)?;
        let digest = reference.digest().map(Digest::as_str);
        let name = digest.or(reference.tag()).unwrap_or("latest");
        let path = target.path(&format!("manifests/{name}"));
        let scopes = target.scopes("pull,push");
        let kind = document.descriptor.media_type.as_str();
        target.persist("PUT", &path, watch.is_stopped, || {
            let mut headers = HeaderMap::new();
            let kind = HeaderValue::from_str(kind).ok();
            headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
            let response = target.send(&Request {
                method: Method::PUT,
                url: target.host.url(&path)?,
                headers,
                repository: &target.repository,
                scopes: &scopes,
                body: &|| Ok(Some(Body::from(document.bytes.clone()))),
                timeout: None,
                is_stopped: watch.is_stopped,
            })?;
            let response = accepted(response)?;
            (watch.moved)(document.bytes.len() as u64);
            let put = Put {
                knows_subject: header_text(&response, &SUBJECT).is_some(),
            };
            let told = header_text(&response, &CONTENT_DIGEST);
            let expected = &document.descriptor.digest;
            match told.and_then(|told| told.parse::<Digest>().ok()) {
                Some(actual) if actual != *expected => Err(FetchProblem::WrongDigest {
                    expected: expected.clone(),
                    actual,
                }),
                _ => Ok(put),
            }
        })
    }
}
