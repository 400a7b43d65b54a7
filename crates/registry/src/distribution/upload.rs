//! One blob into a registry: asked for, mounted, or uploaded; an upload goes on where it broke.
//!
//! ```text
//! HEAD blob                      there: nothing to do
//! POST uploads/?mount=&from=     201: mounted; 202: an upload was begun instead
//! POST uploads/                  202 and a place
//! PUT place?digest=              small blobs, whole
//! PATCH place, PUT place?digest= large ones; after a break GET place says how much arrived
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cairn_oci::{Descriptor, Reference};
use cairn_store::Store;
use reqwest::blocking::{Body, Response};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use reqwest::{Method, StatusCode, Url};

use super::client::{Endpoint, RegistryClient};
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::options::Watch;
use super::place::location;
use super::places::Places;
use super::token::Scopes;
use crate::http::error::{FetchProblem, fetch_error};
use crate::http::retry::{Failed, persist};
use crate::http::transfer::{accepted, header_text};

/// Blobs up to this size go in one request.
const WHOLE_MAX: u64 = 4 << 20;
/// The pieces of a blob for a registry, or a proxy before it, that takes no larger ones.
const PIECE: u64 = 32 << 20;
const PIECE_MIN: u64 = 1 << 20;
/// The slowest upload that is waited for.
const BYTES_A_SECOND_MIN: u64 = 64 << 10;
const POLL: Duration = Duration::from_millis(50);
const MIN_PIECE_HEADER: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    There,
    /// The registry had it in another repository.
    Mounted,
    /// Its bytes were uploaded.
    Uploaded,
}

impl RegistryClient {
    /// Makes sure that a repository has a blob of the store.
    ///
    /// `places` are repositories of the same registry that probably have it.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn push_blob(
        &self,
        store: &Store,
        reference: &Reference,
        blob: &Descriptor,
        places: &[String],
        watch: Watch<'_>,
    ) -> Result<Sent, RegistryError> {
        self.push_once(store, reference, blob, places, watch, &|| Ok(()))
    }

    /// As [`RegistryClient::push_blob`], of a blob that the store may not have: then it is fetched
    /// from where `places` say, once it is clear that the registry cannot give it to itself. The first
    /// watch follows what is sent, the second what is fetched.
    pub(super) fn push_held(
        &self,
        store: &Store,
        reference: &Reference,
        blob: &Descriptor,
        places: &Places,
        (sending, fetching): (Watch<'_>, Watch<'_>),
    ) -> Result<Sent, RegistryError> {
        let bring = || self.bring_home(store, blob, places, fetching);
        let known = places.of(&blob.digest);
        self.push_once(store, reference, blob, known, sending, &bring)
    }

    fn push_once(
        &self,
        store: &Store,
        reference: &Reference,
        blob: &Descriptor,
        places: &[String],
        watch: Watch<'_>,
        bring: &dyn Fn() -> Result<(), RegistryError>,
    ) -> Result<Sent, RegistryError> {
        let target = self.origin(reference)?;
        let mut upload = Upload {
            scopes: target.scopes("pull,push"),
            target: &target,
            store,
            blob,
            watch,
            place: None,
            offset: 0,
            piece: None,
        };
        if upload.is_there()? {
            return Ok(Sent::There);
        }
        for other in places {
            if *other != target.repository && upload.mounted(other)? {
                return Ok(Sent::Mounted);
            }
        }
        bring()?;
        upload.run().map(|()| Sent::Uploaded)
    }
}

struct Upload<'a> {
    target: &'a Endpoint,
    scopes: Scopes,
    store: &'a Store,
    blob: &'a Descriptor,
    watch: Watch<'a>,
    /// Where the registry takes the bytes.
    place: Option<Url>,
    /// How many bytes it has.
    offset: u64,
    /// The most bytes of one request, if that is known to be limited.
    piece: Option<u64>,
}

impl Upload<'_> {
    fn blob_path(&self) -> String {
        self.target.path(&format!("blobs/{}", self.blob.digest))
    }

    fn uploads_path(&self) -> String {
        self.target.path("blobs/uploads/")
    }

    fn is_there(&self) -> Result<bool, RegistryError> {
        let path = self.blob_path();
        self.target
            .persist("HEAD", &path, self.watch.is_stopped, || self.asked(&path))
    }

    fn asked(&self, path: &str) -> Result<bool, FetchProblem> {
        let url = self.target.host.url(path)?;
        let response = self.send(Method::HEAD, url, HeaderMap::new(), &self.scopes)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let size = header_text(&accepted(response)?, &CONTENT_LENGTH);
        let size = size.and_then(|size| size.parse::<u64>().ok());
        // One of another size cannot be it: then the upload shows what is wrong.
        Ok(size.is_none_or(|size| size == self.blob.size))
    }

    /// Takes the blob from another repository of the registry, if it has it there.
    fn mounted(&mut self, from: &str) -> Result<bool, RegistryError> {
        let path = self.uploads_path();
        let mut scopes = self.scopes.clone();
        scopes.push(format!("repository:{from}:pull"));
        let answer = self
            .target
            .persist("POST", &path, self.watch.is_stopped, || {
                let mut url = self.target.host.url(&path)?;
                url.query_pairs_mut()
                    .append_pair("mount", self.blob.digest.as_str())
                    .append_pair("from", from);
                self.send(Method::POST, url, no_bytes(), &scopes)
            });
        let answer = match answer {
            // Some token services give no token at all where they would not give all of it.
            Err(error) if error.is_denied() => return Ok(false),
            answer => answer?,
        };
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            // An upload was begun instead: it is used.
            StatusCode::ACCEPTED => {
                self.place = location(&answer).ok();
                Ok(false)
            }
            // Whoever may not read there, or has no such repository, uploads.
            _ => Ok(false),
        }
    }

    fn run(&mut self) -> Result<(), RegistryError> {
        let is_stopped = self.watch.is_stopped;
        let target = self.target;
        let mut is_first = true;
        let done = persist(target.host.retry(), is_stopped, || {
            let before = self.offset;
            let taken = match std::mem::take(&mut is_first) {
                true => Ok(false),
                false => self.resumed(),
            };
            let sent = taken.and_then(|is_done| match is_done {
                true => Ok(()),
                false => self.send_rest(),
            });
            sent.map_err(|problem| Failed {
                has_progressed: self.offset > before,
                problem,
            })
        });
        done.map_err(|(problem, attempts)| {
            let url = target.host.shown(&self.blob_path());
            target.error(fetch_error("PUT", &url, attempts, problem))
        })
    }

    /// Finds out after a break what arrived: everything, even though the answer was lost, or a
    /// part, or nothing.
    fn resumed(&mut self) -> Result<bool, FetchProblem> {
        if self.asked(&self.blob_path())? {
            return Ok(true);
        }
        let Some(place) = self.place.clone() else {
            return Ok(false);
        };
        let response = self.send(Method::GET, place, HeaderMap::new(), &self.scopes)?;
        let status = response.status();
        let received = header_text(&response, &RANGE)
            .and_then(|range| range.rsplit('-').next()?.trim().parse::<u64>().ok());
        match received {
            Some(last) if status.is_success() && last < self.blob.size => {
                // `0-0` is also what a registry says that has nothing.
                self.offset = if last == 0 { 0 } else { last + 1 };
                self.place = location(&response).ok().or_else(|| self.place.clone());
            }
            _ => {
                self.offset = 0;
                self.place = None;
            }
        }
        Ok(false)
    }

    fn send_rest(&mut self) -> Result<(), FetchProblem> {
        if self.place.is_none() {
            self.begin()?;
        }
        let is_whole = self.offset == 0 && self.blob.size <= WHOLE_MAX;
        while !is_whole && self.offset < self.blob.size {
            self.patch()?;
            // A refused piece may have cost the whole upload.
            if self.place.is_none() {
                self.begin()?;
            }
        }
        self.put()
    }

    fn begin(&mut self) -> Result<(), FetchProblem> {
        let url = self.target.host.url(&self.uploads_path())?;
        let response = accepted(self.send(Method::POST, url, no_bytes(), &self.scopes)?)?;
        let least = header_text(&response, &MIN_PIECE_HEADER);
        if let (Some(piece), Some(least)) = (self.piece, least.and_then(|l| l.parse().ok())) {
            self.piece = Some(piece.max(least));
        }
        self.place = Some(location(&response)?);
        self.offset = 0;
        Ok(())
    }

    fn place(&self) -> Result<Url, FetchProblem> {
        let lost = || FetchProblem::Answer("the registry gave no place to upload to".to_owned());
        self.place.clone().ok_or_else(lost)
    }

    fn patch(&mut self) -> Result<(), FetchProblem> {
        let left = self.blob.size - self.offset;
        let count = self.piece.map_or(left, |piece| piece.min(left));
        let mut headers = binary(count);
        // Without a range the bytes are a stream, which every registry takes.
        if self.offset > 0 || count < left {
            let range = format!("{}-{}", self.offset, self.offset + count - 1);
            let range = HeaderValue::from_str(&range).ok();
            headers.extend(range.map(|range| (CONTENT_RANGE, range)));
        }
        let response = self.upload(Method::PATCH, self.place()?, headers, count)?;
        if response.status() == StatusCode::PAYLOAD_TOO_LARGE && count > PIECE_MIN {
            self.piece = Some(match self.piece {
                None => PIECE.min(count / 2).max(PIECE_MIN),
                Some(piece) => (piece / 2).max(PIECE_MIN),
            });
            return self.resumed().map(|_| ());
        }
        let response = accepted(response)?;
        self.offset += count;
        self.place = Some(location(&response).or_else(|_| self.place())?);
        Ok(())
    }

    fn put(&mut self) -> Result<(), FetchProblem> {
        let mut url = self.place()?;
        url.query_pairs_mut()
            .append_pair("digest", self.blob.digest.as_str());
        let count = self.blob.size - self.offset;
        let response = self.upload(Method::PUT, url, binary(count), count)?;
        accepted(response)?;
        self.offset = self.blob.size;
        Ok(())
    }

    fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        scopes: &Scopes,
    ) -> Result<Response, FetchProblem> {
        self.target.send(&Request {
            method,
            url,
            headers,
            repository: &self.target.repository,
            scopes,
            body: NO_BODY,
            timeout: None,
            is_stopped: self.watch.is_stopped,
        })
    }

    /// Sends bytes of the blob, telling how many went, and stopping when that is asked for.
    fn upload(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        count: u64,
    ) -> Result<Response, FetchProblem> {
        let flow = Arc::new(Flow::default());
        let body = || self.body(&flow, count).map(Some);
        let request = Request {
            method,
            url,
            headers,
            repository: &self.target.repository,
            scopes: &self.scopes,
            body: &body,
            timeout: Some(Duration::from_secs(60 + count / BYTES_A_SECOND_MIN)),
            is_stopped: self.watch.is_stopped,
        };
        if count == 0 {
            return self.target.send(&request);
        }
        let (watch, flow) = (self.watch, &flow);
        let answer = std::thread::scope(|scope| {
            let follower = scope.spawn(|| {
                while !flow.is_over.load(Ordering::Relaxed) {
                    (watch.moved)(flow.moved.swap(0, Ordering::Relaxed));
                    if (watch.is_stopped)() {
                        flow.is_stopped.store(true, Ordering::Relaxed);
                    }
                    std::thread::park_timeout(POLL);
                }
                (watch.moved)(flow.moved.swap(0, Ordering::Relaxed));
            });
            let answer = self.target.send(&request);
            flow.is_over.store(true, Ordering::Relaxed);
            follower.thread().unpark();
            answer
        });
        match flow.is_stopped.load(Ordering::Relaxed) && answer.is_err() {
            true => Err(FetchProblem::Cancelled),
            false => answer,
        }
    }

    fn body(&self, flow: &Arc<Flow>, count: u64) -> Result<Body, FetchProblem> {
        let opened = self.store.open_blob(&self.blob.digest);
        let mut file = opened.map_err(|source| FetchProblem::Store(Box::new(source)))?;
        file.seek(SeekFrom::Start(self.offset))
            .map_err(FetchProblem::Write)?;
        let source = Source {
            file: file.take(count),
            flow: flow.clone(),
        };
        Ok(Body::sized(source, count))
    }
}

/// What the sender of a body and who follows it tell each other.
#[derive(Debug, Default)]
struct Flow {
    moved: AtomicU64,
    is_stopped: AtomicBool,
    is_over: AtomicBool,
}

/// A part of a blob on its way out.
struct Source {
    file: io::Take<File>,
    flow: Arc<Flow>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.flow.is_stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        let count = self.file.read(buffer)?;
        self.flow.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn binary(count: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, kind);
    if count == 0 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers
}

fn no_bytes() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers
}
