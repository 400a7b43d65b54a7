//! Manifests and indexes: fetched by tag or digest, verified, kept as the bytes they are.

use std::io::Read;

use cairn_oci::{Descriptor, Digest, MediaType, Reference};
use reqwest::Method;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::client::{Endpoint, RegistryClient};
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::options::Watch;
use crate::http::error::FetchProblem;
use crate::http::transfer::{accepted, header_text};

/// The largest manifest that is read: the spec asks registries for 4 MiB.
const MANIFEST_MAX: u64 = 8 << 20;
const ACCEPTED: [MediaType; 4] = [
    MediaType::OciIndex,
    MediaType::DockerIndex,
    MediaType::OciManifest,
    MediaType::DockerManifest,
];
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest or an index as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is, and the digest of its bytes.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl RegistryClient {
    /// Fetches the manifest or index that a reference names.
    ///
    /// # Errors
    /// When no mirror and not the registry gives one, or it is not the one the digest asks for.
    pub fn document(
        &self,
        reference: &Reference,
        watch: Watch<'_>,
    ) -> Result<Document, RegistryError> {
        self.first(reference, |source| document(source, reference, watch))
    }

    /// As [`RegistryClient::document`], from the registry itself: a mirror may lag behind.
    ///
    /// # Errors
    /// When the registry does not give it.
    pub fn current_document(
        &self,
        reference: &Reference,
        watch: Watch<'_>,
    ) -> Result<Document, RegistryError> {
        document(&self.origin(reference)?, reference, watch)
    }

    /// Says what a reference names now, without fetching it: `None` if there is no such thing.
    ///
    /// Only the registry itself is asked: a mirror may lag behind.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub fn look_up(
        &self,
        reference: &Reference,
        watch: Watch<'_>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let origin = self.origin(reference)?;
        let found = match head(&origin, reference, "pull", watch) {
            Ok(found) => found,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        match found {
            Some(descriptor) => Ok(Some(descriptor)),
            // An old registry does not tell the digest: then the document must.
            None => document(&origin, reference, watch).map(|found| Some(found.descriptor)),
        }
    }

    /// As [`RegistryClient::look_up`], with a token that will serve for pushing, too.
    pub(crate) fn look_up_to_push(
        &self,
        reference: &Reference,
        watch: Watch<'_>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let origin = self.origin(reference)?;
        match head(&origin, reference, "pull,push", watch) {
            Err(error) if error.is_missing() => Ok(None),
            found => found,
        }
    }

    /// Asks one place after the other; the last one's refusal is told.
    pub(crate) fn first<T>(
        &self,
        reference: &Reference,
        mut ask: impl FnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut sources = self.sources(reference)?;
        let origin = sources.pop().expect("the registry itself is among them");
        for mirror in &sources {
            match ask(mirror) {
                Err(error) if !error.is_cancelled() => mirror.note(&error),
                answer => return answer,
            }
        }
        ask(&origin).map_err(|error| self.after_mirrors(reference, error))
    }
}

fn document(
    source: &Endpoint,
    reference: &Reference,
    watch: Watch<'_>,
) -> Result<Document, RegistryError> {
    let path = path(source, reference);
    source.persist("GET", &path, watch.is_stopped, || {
        let response = ask(source, Method::GET, &path, "pull", watch)?;
        let told = told_type(&response)?;
        let promised = reference
            .digest()
            .cloned()
            .or_else(|| told_digest(&response));
        let bytes = read(response)?;
        (watch.moved)(bytes.len() as u64);
        if let Some(expected) = promised {
            let actual = digest_like(&expected, &bytes);
            if actual != expected {
                return Err(FetchProblem::Damaged { expected, actual });
            }
        }
        let digest = reference
            .digest()
            .cloned()
            .unwrap_or_else(|| Digest::sha256(&bytes));
        let media_type = media_type(told, &bytes)?;
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok(Document { descriptor, bytes })
    })
}

fn head(
    source: &Endpoint,
    reference: &Reference,
    actions: &str,
    watch: Watch<'_>,
) -> Result<Option<Descriptor>, RegistryError> {
    let path = path(source, reference);
    source.persist("HEAD", &path, watch.is_stopped, || {
        let response = ask(source, Method::HEAD, &path, actions, watch)?;
        let size = header_text(&response, &reqwest::header::CONTENT_LENGTH);
        let size = size.and_then(|size| size.parse().ok());
        let (Some(told), Some(digest), Some(size)) =
            (told_type(&response)?, told_digest(&response), size)
        else {
            return Ok(None);
        };
        Ok(Some(Descriptor::new(told, digest, size)))
    })
}

/// By digest if there is one: then a tag that moved meanwhile changes nothing.
fn path(source: &Endpoint, reference: &Reference) -> String {
    let digest = reference.digest().map(Digest::as_str);
    let name = digest.or(reference.tag()).unwrap_or("latest");
    source.path(&format!("manifests/{name}"))
}

fn ask(
    source: &Endpoint,
    method: Method,
    path: &str,
    actions: &str,
    watch: Watch<'_>,
) -> Result<Response, FetchProblem> {
    let accept = ACCEPTED.map(|kind| kind.as_str().to_owned()).join(", ");
    let mut headers = HeaderMap::new();
    headers.extend(
        HeaderValue::from_str(&accept)
            .ok()
            .map(|value| (ACCEPT, value)),
    );
    let response = source.send(&Request {
        method,
        url: source.host.url(path)?,
        headers,
        repository: &source.repository,
        scopes: &source.scopes(actions),
        body: NO_BODY,
        timeout: None,
        is_stopped: watch.is_stopped,
    })?;
    accepted(response)
}

fn read(response: Response) -> Result<Vec<u8>, FetchProblem> {
    let expected = response.content_length();
    let mut bytes = Vec::new();
    let read = response.take(MANIFEST_MAX + 1).read_to_end(&mut bytes);
    let received = bytes.len() as u64;
    read.map_err(|source| FetchProblem::Broken { received, source })?;
    if received > MANIFEST_MAX {
        return Err(FetchProblem::TooLarge {
            limit: MANIFEST_MAX,
        });
    }
    match expected {
        Some(expected) if expected != received => Err(FetchProblem::Short { received, expected }),
        _ => Ok(bytes),
    }
}

fn told_type(response: &Response) -> Result<Option<MediaType>, FetchProblem> {
    let Some(told) = header_text(response, &CONTENT_TYPE) else {
        return Ok(None);
    };
    let bare = told.split(';').next().unwrap_or_default().trim();
    if bare.starts_with("application/vnd.docker.distribution.manifest.v1+") {
        let reason = "the registry has the image in docker's old schema 1 only, which cannot be \
                      verified: push it there again with a tool of this decade";
        return Err(FetchProblem::Answer(reason.to_owned()));
    }
    let kind = MediaType::from(bare.to_owned());
    Ok(ACCEPTED.contains(&kind).then_some(kind))
}

fn told_digest(response: &Response) -> Option<Digest> {
    header_text(response, &CONTENT_DIGEST)?.parse().ok()
}

fn digest_like(wanted: &Digest, bytes: &[u8]) -> Digest {
    match wanted.algorithm() {
        cairn_oci::Algorithm::Sha256 => Digest::sha256(bytes),
        cairn_oci::Algorithm::Sha512 => {
            use sha2::Digest as _;
            Digest::from_sha512(sha2::Sha512::digest(bytes).into())
        }
    }
}

/// What a document is: as it says itself, else as the registry says, else by its parts.
fn media_type(told: Option<MediaType>, bytes: &[u8]) -> Result<MediaType, FetchProblem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: Option<String>,
        manifests: Option<serde_json::Value>,
        config: Option<serde_json::Value>,
    }
    let unknown = || {
        let reason = "the answer is neither a manifest nor an index";
        FetchProblem::Answer(reason.to_owned())
    };
    let kind: Kind = serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        // Nobody told a digest, and the end is missing.
        true => FetchProblem::Broken {
            received: bytes.len() as u64,
            source: std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
        },
        false => unknown(),
    })?;
    let own = kind.media_type.map(MediaType::from);
    let known = own.filter(|own| ACCEPTED.contains(own)).or(told);
    match (known, kind.manifests, kind.config) {
        // Neither may pass for the other: its parts decide.
        (Some(kind), Some(_), None) if kind.is_index() => Ok(kind),
        (Some(kind), None, Some(_)) if kind.is_manifest() => Ok(kind),
        (None, Some(_), None) => Ok(MediaType::OciIndex),
        (None, None, Some(_)) => Ok(MediaType::OciManifest),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_say_what_they_are() {
        let check = |told: Option<MediaType>, text: &str| media_type(told, text.as_bytes()).ok();
        let docker =
            r#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{}}"#;
        assert_eq!(
            check(Some(MediaType::OciManifest), docker),
            Some(MediaType::DockerManifest)
        );
        assert_eq!(
            check(None, r#"{"config":{}}"#),
            Some(MediaType::OciManifest)
        );
        assert_eq!(
            check(None, r#"{"manifests":[]}"#),
            Some(MediaType::OciIndex)
        );
        let told = Some(MediaType::DockerIndex);
        assert_eq!(check(told.clone(), r#"{"manifests":[]}"#), told);
        assert_eq!(check(told, r#"{"config":{}}"#), None);
        assert_eq!(check(None, r#"{"manifests":[],"config":{}}"#), None);
        assert_eq!(check(None, "<html>"), None);
    }
}
