//! Answers to POST, PATCH, PUT and DELETE: what clients put onto the shelf, and take off it.
//!
//! A blob is the repository's when its upload is finished and its digest is right; a manifest when
//! everything that it names is there. Nothing is to be seen before.

use cairn_oci::Digest;

use super::answer::{Answer, Code, Headers, empty, error, error_with};
use super::body::Body;
use super::incoming::{Incoming, MANIFEST_MAX, digest_like};
use super::message::Request;
use super::route::{Route, is_repository, is_tag};
use super::uploads::{Broken, State, Uploads};
use super::{IntakeError, Item, Removed, Shelf, ShelfError, Stock};

/// Where things are put, and what is there already.
pub(crate) struct Counter<'a> {
    pub(crate) shelf: &'a dyn Shelf,
    pub(crate) stock: &'a dyn Stock,
    pub(crate) uploads: &'a Uploads,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The client went away.
    Client(std::io::Error),
    /// What it brought cannot be kept.
    Shelf(ShelfError),
}

impl From<ShelfError> for Trouble {
    fn from(error: ShelfError) -> Self {
        Self::Shelf(error)
    }
}

type Answered = Result<Answer, Trouble>;

impl Counter<'_> {
    pub(crate) fn answer(
        &self,
        request: &Request,
        route: Route<'_>,
        body: &mut Body<'_>,
    ) -> Answered {
        // A page that somebody looks at may send requests to this machine, but not without this.
        if request.is_of_page {
            return Ok(error(Code::Denied, "pages in browsers may not write here"));
        }
        if route.repository().is_some_and(|name| !is_repository(name)) {
            return Ok(error(Code::NameInvalid, "no name of a repository"));
        }
        match (request.method.as_str(), route) {
            ("POST", Route::Uploads(repository)) => self.begin(request, repository, body),
            ("PATCH", Route::Upload(repository, id)) => self.patch(request, repository, id, body),
            ("PUT", Route::Upload(repository, id)) => self.put(request, repository, id, body),
            ("GET" | "HEAD", Route::Upload(repository, id)) => Ok(self.status(repository, id)),
            ("DELETE", Route::Upload(repository, id)) => Ok(self.cancel(repository, id)),
            ("PUT", Route::Manifest(repository, name)) => {
                self.manifest(request, repository, name, body)
            }
            ("DELETE", Route::Manifest(repository, name)) => self.remove_manifest(repository, name),
            ("DELETE", Route::Blob(repository, name)) => match name.parse() {
                Ok(digest) => self.remove(repository, Item::Blob(&digest), Code::BlobUnknown),
                Err(_) => Ok(error(Code::DigestInvalid, "no digest that is known here")),
            },
            _ => Ok(error(Code::Unsupported, "this is not done to that")),
        }
    }

    fn begin(&self, request: &Request, repository: &str, body: &mut Body<'_>) -> Answered {
        let mount = request
            .field("mount")
            .and_then(|digest| digest.parse::<Digest>().ok());
        if let (Some(digest), Some(from)) = (mount, request.field("from"))
            && self.shelf.blob(from, &digest)?.is_some()
        {
            self.stock.add_blob(repository, &digest)?;
            return Ok(created(repository, &digest));
        }
        let Some(id) = self.uploads.begin(self.stock, repository)? else {
            return Ok(error(
                Code::TooManyRequests,
                "too many uploads are open; finish or cancel some",
            ));
        };
        if request.field("digest").is_some() {
            return self.put(request, repository, &id, body);
        }
        let headers = vec![
            ("Location", place(repository, &id)),
            ("Range", "0-0".to_owned()),
            ("Docker-Upload-UUID", id),
        ];
        Ok(empty(202, headers))
    }

    fn patch(
        &self,
        request: &Request,
        repository: &str,
        id: &str,
        body: &mut Body<'_>,
    ) -> Answered {
        let Some(upload) = self.uploads.find(repository, id) else {
            return Ok(unknown_upload());
        };
        let mut state = upload.lock();
        if let Some(answer) = out_of_order(request, repository, id, &state, body) {
            return Ok(answer);
        }
        if let Some(answer) = took(&mut state, body)? {
            return Ok(answer);
        }
        Ok(progress(202, repository, id, &state))
    }

    fn put(&self, request: &Request, repository: &str, id: &str, body: &mut Body<'_>) -> Answered {
        let wanted = request.field("digest").unwrap_or_default();
        let digest: Digest = match wanted.parse() {
            Ok(digest) => digest,
            Err(reason) => return Ok(error(Code::DigestInvalid, &format!("`digest`: {reason}"))),
        };
        let Some(upload) = self.uploads.find(repository, id) else {
            return Ok(unknown_upload());
        };
        let mut state = upload.lock();
        if let Some(answer) = out_of_order(request, repository, id, &state, body) {
            return Ok(answer);
        }
        if let Some(answer) = took(&mut state, body)? {
            return Ok(answer);
        }
        let Some(intake) = state.intake.take() else {
            return Ok(unknown_upload());
        };
        self.uploads.remove(id);
        match intake.finish(&digest) {
            Ok(()) => {}
            Err(IntakeError::Mismatch { found }) => {
                let text = format!("what was uploaded is {found}, not {digest}");
                return Ok(error(Code::DigestInvalid, &text));
            }
            Err(IntakeError::Shelf(error)) => return Err(error.into()),
        }
        self.stock.add_blob(repository, &digest)?;
        Ok(created(repository, &digest))
    }

    fn status(&self, repository: &str, id: &str) -> Answer {
        match self.uploads.find(repository, id) {
            Some(upload) => progress(204, repository, id, &upload.lock()),
            None => unknown_upload(),
        }
    }

    fn cancel(&self, repository: &str, id: &str) -> Answer {
        match self.uploads.find(repository, id) {
            Some(upload) => {
                self.uploads.remove(id);
                upload.lock().intake = None;
                empty(204, Vec::new())
            }
            None => unknown_upload(),
        }
    }

    fn manifest(
        &self,
        request: &Request,
        repository: &str,
        name: &str,
        body: &mut Body<'_>,
    ) -> Answered {
        let promised = match name.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(reason) if name.contains(':') => {
                return Ok(error(Code::DigestInvalid, &reason.to_string()));
            }
            Err(_) => None,
        };
        // A manifest that is put by its digest may be given tags in the same request.
        let tags: Vec<&str> = match &promised {
            Some(_) => request.fields("tag").collect(),
            None => vec![name],
        };
        for tag in &tags {
            if !is_tag(tag) {
                return Ok(error(
                    Code::ManifestInvalid,
                    "no tag that a manifest may have",
                ));
            }
            if self.stock.keeps(repository, tag)? {
                let text = "the store has an image of this name; it is not overwritten by a push";
                return Ok(error(Code::Denied, text));
            }
        }
        let Some(bytes) = whole(body)? else {
            return Ok(error(Code::SizeInvalid, "a manifest has at most 4 MiB"));
        };
        let digest = digest_like(promised.as_ref(), &bytes);
        let is_by_digest = promised.is_some();
        if let Some(promised) = promised.filter(|promised| *promised != digest) {
            let text = format!("the manifest is {digest}, not {promised}");
            return Ok(error(Code::DigestInvalid, &text));
        }
        let incoming = match Incoming::read(&digest, request.content_type.as_deref(), bytes) {
            Ok(incoming) => incoming,
            Err((code, text)) => return Ok(error(code, &text)),
        };
        if let Some(missing) = self.missing(repository, &incoming)? {
            let text = format!("the repository does not have {missing}, which the manifest names");
            return Ok(error(Code::ManifestBlobUnknown, &text));
        }
        let mut headers: Headers = vec![
            ("Location", format!("/v2/{repository}/manifests/{digest}")),
            ("Docker-Content-Digest", digest.to_string()),
        ];
        if let Some(subject) = &incoming.subject {
            headers.push(("OCI-Subject", subject.to_string()));
        }
        if is_by_digest && !tags.is_empty() {
            headers.push(("OCI-Tag", tags.join(", ")));
        }
        self.stock.add_manifest(repository, &tags, incoming)?;
        Ok(empty(201, headers))
    }

    /// Something that a manifest names and the repository does not have.
    fn missing(&self, repository: &str, incoming: &Incoming) -> Result<Option<Digest>, ShelfError> {
        for blob in &incoming.blobs {
            if self.shelf.blob(repository, blob)?.is_none() {
                return Ok(Some(blob.clone()));
            }
        }
        for manifest in &incoming.manifests {
            if self.shelf.by_digest(repository, manifest)?.is_none() {
                return Ok(Some(manifest.clone()));
            }
        }
        Ok(None)
    }

    fn remove_manifest(&self, repository: &str, name: &str) -> Answered {
        match name.parse() {
            Ok(digest) => self.remove(repository, Item::Manifest(&digest), Code::ManifestUnknown),
            Err(_) => self.remove(repository, Item::Tag(name), Code::ManifestUnknown),
        }
    }

    fn remove(&self, repository: &str, item: Item<'_>, absent: Code) -> Answered {
        Ok(match self.stock.remove(repository, item)? {
            Removed::Gone => empty(202, Vec::new()),
            Removed::Absent => error(absent, "it is not there"),
            Removed::Kept => error(
                Code::Unsupported,
                "it belongs to an image of the store, which no client removes",
            ),
        })
    }
}

/// Refuses a piece that does not begin where the last one ended.
fn out_of_order(
    request: &Request,
    repository: &str,
    id: &str,
    state: &State,
    body: &Body<'_>,
) -> Option<Answer> {
    let range = request.content_range.as_deref()?;
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let (first, last) = range.split('/').next()?.split_once('-').unwrap_or_default();
    let (first, last) = (first.parse::<u64>().ok(), last.parse::<u64>().ok());
    let fits_length = match (first, last, body.length()) {
        (Some(first), Some(last), Some(length)) => {
            last.checked_sub(first).map(|d| d + 1) == Some(length)
        }
        (Some(_), Some(_), None) => true,
        _ => false,
    };
    if fits_length && first == Some(state.size) {
        return None;
    }
    let text = format!("the next byte of this upload is number {}", state.size);
    let headers = vec![
        ("Location", place(repository, id)),
        ("Range", state.range()),
    ];
    Some(error_with(Code::UploadInvalid, &text, headers))
}

/// Writes a body to an upload; the answer, if it cannot go on.
fn took(state: &mut State, body: &mut Body<'_>) -> Result<Option<Answer>, Trouble> {
    match state.take(body) {
        Ok(()) => Ok(None),
        Err(Broken::Client(error)) => Err(Trouble::Client(error)),
        Err(Broken::Shelf(error)) => Err(Trouble::Shelf(error)),
        Err(Broken::TooLarge) => Ok(Some(error(Code::SizeInvalid, "the blob is too large"))),
    }
}

/// A whole manifest; `None` if it is larger than any.
fn whole(body: &mut Body<'_>) -> Result<Option<Vec<u8>>, Trouble> {
    use std::io::Read;
    if body.length().is_some_and(|length| length > MANIFEST_MAX) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut limited = body.take(MANIFEST_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(Trouble::Client)?;
    Ok((bytes.len() as u64 <= MANIFEST_MAX).then_some(bytes))
}

fn place(repository: &str, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

/// How far an upload is.
fn progress(status: u16, repository: &str, id: &str, state: &State) -> Answer {
    if state.intake.is_none() {
        return unknown_upload();
    }
    let headers = vec![
        ("Location", place(repository, id)),
        ("Range", state.range()),
        ("Docker-Upload-UUID", id.to_owned()),
    ];
    empty(status, headers)
}

fn created(repository: &str, digest: &Digest) -> Answer {
    let headers = vec![
        ("Location", format!("/v2/{repository}/blobs/{digest}")),
        ("Docker-Content-Digest", digest.to_string()),
    ];
    empty(201, headers)
}

fn unknown_upload() -> Answer {
    error(Code::UploadUnknown, "no such upload: begin a new one")
}
