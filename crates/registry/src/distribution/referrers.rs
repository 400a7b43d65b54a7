//! What refers to a manifest: signatures, reports, lists of packages.
//!
//! A registry without the referrers API may have them all the same: under the tag `sha256-<hex>`,
//! where clients note them for such registries.

use std::io::Read;

use cairn_oci::{Descriptor, Digest, Index, MediaType, Reference};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, LINK};
use reqwest::{Method, Url};

use super::client::{Endpoint, RegistryClient};
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::options::Watch;
use super::tag_list::next_page;
use crate::http::error::FetchProblem;
use crate::http::transfer::{accepted, header_text};

/// A page is not larger.
const PAGE_MAX: u64 = 8 << 20;
/// There are not more pages; a registry that goes round in a circle ends here.
const PAGES_MAX: usize = 1000;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// So much of a digest goes into the tag of its referrers.
const TAG_HEX_MAX: usize = 64;

/// A part of the list.
struct Page {
    manifests: Vec<Descriptor>,
    /// The path of the next one.
    next: Option<String>,
    is_filtered: bool,
}

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
        let mut found = Vec::new();
        let mut is_filtered = artifact_type.is_none();
        for number in 0..PAGES_MAX {
            let page = match page(&origin, &path, watch) {
                // Not that there are none: then it would have said so with an empty list.
                Err(error) if error.is_missing() && number == 0 => {
                    found = self.noted_referrers(repository, subject, watch)?;
                    break;
                }
                page => page?,
            };
            found.extend(page.manifests);
            is_filtered |= page.is_filtered;
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

    /// What clients noted under the tag of a digest.
    fn noted_referrers(
        &self,
        repository: &Reference,
        subject: &Digest,
        watch: Watch<'_>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let hex = &subject.hex()[..TAG_HEX_MAX];
        let tag = format!("{}-{hex}", subject.algorithm().name());
        let reference = repository.with_tag(&tag);
        let reference = reference.expect("a tag of letters, digits and a dash");
        match self.current_document(&reference, watch) {
            Ok(document) => {
                let index = Index::from_json_bytes(&document.bytes);
                Ok(index.map(|index| index.manifests).unwrap_or_default())
            }
            Err(error) if error.is_missing() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
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

fn page(origin: &Endpoint, path: &str, watch: Watch<'_>) -> Result<Page, RegistryError> {
    origin.persist("GET", path, watch.is_stopped, || {
        let url = origin.host.url(path)?;
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_str(MediaType::OciIndex.as_str()).ok();
        headers.extend(kind.map(|kind| (ACCEPT, kind)));
        let response = accepted(origin.send(&Request {
            method: Method::GET,
            url: url.clone(),
            headers,
            repository: &origin.repository,
            scopes: &origin.scopes("pull"),
            body: NO_BODY,
            timeout: None,
            is_stopped: watch.is_stopped,
        })?)?;
        let next = header_text(&response, &LINK).and_then(|link| next_page(&url, &link));
        let is_filtered = header_text(&response, &FILTERS_APPLIED)
            .is_some_and(|applied| applied.contains("artifactType"));
        let mut bytes = Vec::new();
        let read = response.take(PAGE_MAX + 1).read_to_end(&mut bytes);
        let received = bytes.len() as u64;
        read.map_err(|source| FetchProblem::Broken { received, source })?;
        if received > PAGE_MAX {
            return Err(FetchProblem::TooLarge { limit: PAGE_MAX });
        }
        let index = Index::from_json_bytes(&bytes).map_err(|error| {
            FetchProblem::Answer(format!("this is no list of referrers: {error}"))
        })?;
        Ok(Page {
            manifests: index.manifests,
            next,
            is_filtered,
        })
    })
}
