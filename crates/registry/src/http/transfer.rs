//! One download across all its requests, from the first to its verified end.
//!
//! Who answers the requests is the caller's: a plain server, or a registry that wants tokens.

use std::ops::ControlFlow;

use cairn_oci::{Algorithm, Digest, redact};
use reqwest::blocking::Response;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE,
    LAST_MODIFIED, RANGE, RETRY_AFTER,
};

use super::body::{Bounds, Progress, Sink};
use super::error::{FetchError, FetchProblem, fetch_error};
use super::fetcher::{Download, Fetched};
use super::retry::{Failed, RetryPolicy, persist, retry_after};
use super::words::{Words, words};

/// Who answers the requests of a download.
pub(crate) trait Origin {
    /// The address that is asked.
    fn url(&self) -> String;

    /// Sends a request with these headers.
    fn get(&self, headers: HeaderMap) -> Result<Response, FetchProblem>;
}

/// One download across all its requests, and across all servers that are asked in turn.
pub(crate) struct Transfer<'a> {
    download: &'a Download<'a>,
    progress: Progress,
    /// What tells this version of the file from another (a strong ETag or a date).
    validator: Option<String>,
}

impl<'a> Transfer<'a> {
    /// Begins one into a sink: the same for all its requests.
    pub(crate) fn new(download: &'a Download<'a>, out: &dyn Sink) -> Transfer<'a> {
        let algorithm = download.digest.map(Digest::algorithm);
        Transfer {
            download,
            progress: Progress::new(algorithm.unwrap_or(Algorithm::Sha256), out),
            validator: None,
        }
    }

    /// Says whether bytes were written already.
    pub(crate) fn has_begun(&self) -> bool {
        self.progress.received > 0
    }

    /// Downloads what is missing, with patience.
    pub(crate) fn run(
        &mut self,
        origin: &dyn Origin,
        retry: &RetryPolicy,
        out: &mut dyn Sink,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Fetched, FetchError> {
        // A validator of another server says nothing about this one.
        self.validator = None;
        let received = std::cell::Cell::new(self.progress.received);
        let watch = std::cell::RefCell::new(watch);
        let is_stopped = || (watch.borrow_mut())(received.get()).is_break();
        let done = persist(retry, &is_stopped, || {
            let before = self.progress.received;
            let result = self.attempt(origin, out, &mut **watch.borrow_mut());
            received.set(self.progress.received);
            result.map_err(|problem| Failed {
                problem,
                has_progressed: self.progress.received > before,
            })
        });
        done.map_err(|(problem, attempts)| fetch_error("GET", &origin.url(), attempts, problem))
    }

    fn attempt(
        &mut self,
        origin: &dyn Origin,
        out: &mut dyn Sink,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Fetched, FetchProblem> {
        let mut response = accepted(origin.get(self.range())?)?;
        let skip = self.bytes_to_skip(&response)?;
        let whole = whole_size(&response);
        self.check_announced(whole)?;
        let bounds = Bounds {
            exact: self.download.size,
            limit: self.download.limit,
        };
        self.progress
            .read(&mut response, skip, &bounds, out, watch)?;
        self.finish(&response, whole, out)
    }

    fn range(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.progress.received == 0 {
            return headers;
        }
        let range = format!("bytes={}-", self.progress.received);
        for (name, value) in [(RANGE, Some(&range)), (IF_RANGE, self.validator.as_ref())] {
            let value = value.and_then(|value| HeaderValue::from_str(value).ok());
            headers.extend(value.map(|value| (name, value)));
        }
        headers
    }

    /// Says how much of this answer is already known, and refuses to join two different files.
    fn bytes_to_skip(&mut self, response: &Response) -> Result<u64, FetchProblem> {
        let received = self.progress.received;
        let validator = validator(response);
        if received == 0 {
            self.validator = validator;
            return Ok(0);
        }
        let continues = response.status().as_u16() == 206;
        if continues && range_start(response).is_some_and(|start| start != received) {
            return Err(FetchProblem::Changed);
        }
        let same = self.validator.is_some() && self.validator == validator;
        if self.download.digest.is_none() && !same {
            return Err(FetchProblem::Changed);
        }
        Ok(if continues { 0 } else { received })
    }

    /// Refuses a file of a wrong or an unacceptable size before reading it.
    fn check_announced(&self, whole: Option<u64>) -> Result<(), FetchProblem> {
        match (whole, self.download.size) {
            (Some(actual), Some(expected)) if actual != expected => {
                Err(FetchProblem::WrongSize { expected, actual })
            }
            (Some(actual), _) if actual > self.download.limit => Err(FetchProblem::TooLarge {
                limit: self.download.limit,
            }),
            _ => Ok(()),
        }
    }

    fn finish(
        &self,
        response: &Response,
        whole: Option<u64>,
        out: &dyn Sink,
    ) -> Result<Fetched, FetchProblem> {
        let received = self.progress.received;
        if let Some(expected) = self.download.size.or(whole)
            && received != expected
        {
            return Err(FetchProblem::Short { received, expected });
        }
        let actual = self.progress.digest(out);
        if let Some(expected) = self.download.digest
            && *expected != actual
        {
            return Err(FetchProblem::WrongDigest {
                expected: expected.clone(),
                actual,
            });
        }
        Ok(Fetched {
            digest: actual,
            size: received,
            last_modified: header_text(response, &LAST_MODIFIED)
                .and_then(|date| jiff::fmt::rfc2822::parse(&date).ok())
                .map(|date| date.timestamp().as_second()),
            url: redact(response.url().as_str()),
            etag: strong_etag(response),
            is_gzipped: header_text(response, &CONTENT_ENCODING)
                .is_some_and(|coding| coding.eq_ignore_ascii_case("gzip")),
        })
    }
}

/// Turns an answer that is no success into a problem.
pub(crate) fn accepted(response: Response) -> Result<Response, FetchProblem> {
    if response.status().is_success() {
        return Ok(response);
    }
    let asked = header_text(&response, &RETRY_AFTER);
    let status = response.status().as_u16();
    let Words { said, codes } = words(response);
    Err(FetchProblem::Status {
        status,
        retry_after: asked.and_then(|value| retry_after(&value, seconds_now())),
        said,
        codes,
    })
}

/// The size of the whole file as the server tells it, whether it sends all or the rest.
fn whole_size(response: &Response) -> Option<u64> {
    if response.status().as_u16() == 206 {
        let range = header_text(response, &CONTENT_RANGE)?;
        return range.rsplit_once('/')?.1.parse().ok();
    }
    response.content_length()
}

fn range_start(response: &Response) -> Option<u64> {
    let range = header_text(response, &CONTENT_RANGE)?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}

/// What may stand in `If-Range`: a strong ETag, or else the modification date.
fn validator(response: &Response) -> Option<String> {
    strong_etag(response).or_else(|| header_text(response, &LAST_MODIFIED))
}

/// The `ETag` of an answer, if it stands for the very bytes.
pub(crate) fn strong_etag(response: &Response) -> Option<String> {
    header_text(response, &ETAG).filter(|tag| !tag.starts_with("W/"))
}

pub(crate) fn header_text(response: &Response, name: &HeaderName) -> Option<String> {
    response
        .headers()
        .get(name)?
        .to_str()
        .ok()
        .map(str::to_owned)
}

fn seconds_now() -> i64 {
    jiff::Timestamp::now().as_second()
}
