//! The tags of a repository, page by page.

use cairn_oci::Reference;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;

use super::client::RegistryClient;
use super::error::RegistryError;
use super::list_page::list_page;
use super::options::Watch;

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
        Ok(self.tags_if_there(repository, watch)?.unwrap_or_default())
    }

    /// As [`RegistryClient::tags`]; nothing where there is no such repository.
    pub fn tags_if_there(
        &self,
        repository: &Reference,
        watch: Watch<'_>,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let origin = self.origin(repository)?;
        let mut path = origin.path(&format!("tags/list?n={PAGE_TAGS}"));
        let mut tags = Vec::new();
        for _ in 0..PAGES_MAX {
            let read = |bytes: &[u8]| serde_json::from_slice::<Page>(bytes);
            let page = match list_page(&origin, &path, &HeaderMap::new(), &LINK, watch, read) {
                Ok(found) => found,
                Err(error) if error.is_missing() && tags.is_empty() => return Ok(None),
                Err(error) if error.is_missing() => return Ok(Some(tags)),
                Err(error) => return Err(error),
            };
            tags.extend(page.content.tags.unwrap_or_default());
            match page.next {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        Ok(Some(tags))
    }
}
