//! The tags of a repository, page by page.

use std::io::{self, Read};

use cairn_oci::Reference;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::client::{Endpoint, RegistryClient};
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::options::Watch;
use crate::http::error::FetchProblem;
use crate::http::transfer::{accepted, header_text};

/// A page is not larger.
const PAGE_MAX: u64 = 32 << 20;
/// There are not more pages; a registry that goes round in a circle ends here.
const PAGES_MAX: usize = 10_000;
/// How many tags a page is asked to have; registries give fewer if they like.
const PAGE_TAGS: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// Some registries say `null` where there is none.
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// All tags of a repository, in the registry's order; none where there is no repository.
    ///
    /// Only the registry itself is asked: a mirror may lag behind.
    ///
    /// # Errors
    /// When the registry cannot be asked, or gives no list.
    pub fn tags(
        &self,
        repository: &Reference,
        watch: Watch<'_>,
    ) -> Result<Vec<String>, RegistryError> {
        let origin = self.origin(repository)?;
        let mut path = origin.path(&format!("tags/list?n={PAGE_TAGS}"));
        let mut tags = Vec::new();
        for _ in 0..PAGES_MAX {
            let (page, next) = match page(&origin, &path, watch) {
                Ok(found) => found,
                Err(error) if error.is_missing() => return Ok(tags),
                Err(error) => return Err(error),
            };
            tags.extend(page);
            match next {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        Ok(tags)
    }
}

/// One page, and the path of the next one.
fn page(
    origin: &Endpoint,
    path: &str,
    watch: Watch<'_>,
) -> Result<(Vec<String>, Option<String>), RegistryError> {
    origin.persist("GET", path, watch.is_stopped, || {
        let url = origin.host.url(path)?;
        let response = accepted(origin.send(&Request {
            method: Method::GET,
            url: url.clone(),
            headers: HeaderMap::new(),
            repository: &origin.repository,
            scopes: &origin.scopes("pull"),
            body: NO_BODY,
            timeout: None,
            is_stopped: watch.is_stopped,
        })?)?;
        let next = header_text(&response, &LINK).and_then(|link| next_page(&url, &link));
        let mut bytes = Vec::new();
        let read = response.take(PAGE_MAX + 1).read_to_end(&mut bytes);
        let received = bytes.len() as u64;
        read.map_err(|source| FetchProblem::Broken { received, source })?;
        if received > PAGE_MAX {
            return Err(FetchProblem::TooLarge { limit: PAGE_MAX });
        }
        (watch.moved)(received);
        // No digest tells whether a list came as it was sent: one that is none is asked for again.
        let page: Page = serde_json::from_slice(&bytes).map_err(|error| FetchProblem::Broken {
            received,
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("this is no list of tags: {error}"),
            ),
        })?;
        Ok((page.tags.unwrap_or_default(), next))
    })
}

/// The path in `</v2/a/tags/list?last=x>; rel="next"`; one at another host is not followed.
pub(super) fn next_page(asked: &Url, link: &str) -> Option<String> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.replace('"', "").contains("rel=next") {
        return None;
    }
    let next = asked.join(address).ok()?;
    if next.host() != asked.host() {
        return None;
    }
    Some(match next.query() {
        Some(query) => format!("{}?{query}", next.path()),
        None => next.path().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_at_the_same_host() {
        let next = |link: &str| {
            let asked = Url::parse("https://r:5000/v2/a/tags/list?n=2").unwrap();
            next_page(&asked, link)
        };
        let there = Some("/v2/a/tags/list?last=b&n=2".to_owned());
        assert_eq!(next("</v2/a/tags/list?last=b&n=2>; rel=\"next\""), there);
        assert_eq!(
            next("<http://r/v2/a/tags/list?last=b&n=2>; rel=next"),
            there
        );
        assert_eq!(
            next("<https://other/v2/a/tags/list?last=b>; rel=next"),
            None
        );
        assert_eq!(next("</v2/a/tags/list?last=b>; rel=\"prev\""), None);
    }
}
