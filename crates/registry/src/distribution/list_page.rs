//! One page of a list that a registry gives in pages.

use std::io::{self, Read};

use reqwest::header::{HeaderMap, HeaderName, LINK};
use reqwest::{Method, Url};

use super::client::Endpoint;
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::options::Watch;
use crate::http::error::FetchProblem;
use crate::http::transfer::{accepted, header_text};

/// A page is not larger.
const PAGE_MAX: u64 = 32 << 20;

/// What a page holds, and what its head says.
pub(super) struct ListPage<T> {
    pub(super) content: T,
    /// The path of the next one.
    pub(super) next: Option<String>,
    /// A header that was asked about.
    pub(super) noted: Option<String>,
}

/// Fetches the page at a path and reads it.
///
/// No digest tells whether a list came as it was sent: one that is none is asked for again.
pub(super) fn list_page<T, E: std::fmt::Display>(
    origin: &Endpoint,
    path: &str,
    headers: &HeaderMap,
    noted: &HeaderName,
    watch: Watch<'_>,
    read: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<ListPage<T>, RegistryError> {
    origin.persist("GET", path, watch.is_stopped, || {
        let url = origin.host.url(path)?;
        let response = accepted(origin.send(&Request {
            method: Method::GET,
            url: url.clone(),
            headers: headers.clone(),
            repository: &origin.repository,
            scopes: &origin.scopes("pull"),
            body: NO_BODY,
            timeout: None,
            is_stopped: watch.is_stopped,
        })?)?;
        let next = header_text(&response, &LINK).and_then(|link| next_page(&url, &link));
        let noted = header_text(&response, noted);
        let mut bytes = Vec::new();
        let ended = response.take(PAGE_MAX + 1).read_to_end(&mut bytes);
        let received = bytes.len() as u64;
        ended.map_err(|source| FetchProblem::Broken { received, source })?;
        if received > PAGE_MAX {
            return Err(FetchProblem::TooLarge { limit: PAGE_MAX });
        }
        (watch.moved)(received);
        let content = read(&bytes).map_err(|error| FetchProblem::Broken {
            received,
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("this is no such list: {error}"),
            ),
        })?;
        Ok(ListPage {
            content,
            next,
            noted,
        })
    })
}

/// The path in `</v2/a/tags/list?last=x>; rel="next"`; one at another host is not followed.
fn next_page(asked: &Url, link: &str) -> Option<String> {
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
