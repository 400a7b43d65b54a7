//! The [`Fetcher`]: one download from its first request to its verified end.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cairn_oci::Digest;
use cairn_store::Store;
use reqwest::blocking::{Client, Response};
use reqwest::header::{
    CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};

use super::body::{Bounds, Progress};
use super::client::{self, ClientOptions, Proxies};
use super::error::{FetchError, FetchProblem};
use super::redact::redact;
use super::retry::{Backoff, RetryPolicy, jitter, retry_after};

/// How often a waiting download looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How the fetcher meets the network.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// What the fetcher calls itself.
    pub user_agent: String,
    /// The proxies to use.
    pub proxies: Proxies,
    /// PEM files with certificates to trust beside the host's own.
    pub extra_certificates: Vec<PathBuf>,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long a server may stay silent.
    pub idle_timeout: Duration,
    /// How patient to be.
    pub retry: RetryPolicy,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            user_agent: concat!("cairn/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies::default(),
            extra_certificates: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            retry: RetryPolicy::default(),
        }
    }
}

/// One file to fetch and what is known of it.
#[derive(Debug, Clone)]
pub struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Its digest (sha256), if known; checked while the bytes stream.
    pub digest: Option<&'a Digest>,
    /// Its exact size, if known.
    pub size: Option<u64>,
    /// The most bytes that are acceptable.
    pub limit: u64,
}

/// What a finished download brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The sha256 of the bytes.
    pub digest: Digest,
    /// How many bytes there are.
    pub size: u64,
    /// The server's `Last-Modified`, in seconds since the epoch.
    pub last_modified: Option<i64>,
    /// Where the bytes came from in the end, after redirects, without secrets.
    pub url: String,
}

/// Fetches files over HTTP. Cheap to clone; the client is made at the first request.
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

struct Shared {
    options: FetchOptions,
    client: OnceLock<Client>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Fetcher")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Makes a fetcher; nothing is opened before the first request.
    #[must_use]
    pub fn new(options: FetchOptions) -> Fetcher {
        Fetcher {
            shared: Arc::new(Shared {
                options,
                client: OnceLock::new(),
            }),
        }
    }

    /// Fetches a small file into memory.
    ///
    /// # Errors
    /// When the file cannot be had, or is larger than `limit`.
    pub fn get_bytes(&self, url: &str, limit: u64) -> Result<(Vec<u8>, Fetched), FetchError> {
        let mut bytes = Vec::new();
        let download = Download {
            url,
            digest: None,
            size: None,
            limit,
        };
        let fetched = self.download(&download, &mut bytes, &mut |_| ControlFlow::Continue(()))?;
        Ok((bytes, fetched))
    }

    /// Fetches a file into the store, verified against its digest and size on the way.
    ///
    /// `watch` hears the count of bytes received and may stop the download.
    ///
    /// # Errors
    /// When the file cannot be had or is not the one that was asked for; the store then holds
    /// nothing new.
    pub fn get_blob(
        &self,
        store: &Store,
        download: &Download<'_>,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Fetched, FetchError> {
        let fail = |source| fetch_error(download.url, 0, FetchProblem::Store(source));
        let mut writer = store.blob_writer().map_err(fail)?;
        let fetched = self.download(download, &mut writer, watch)?;
        writer.finish(Some(&fetched.digest)).map_err(fail)?;
        Ok(fetched)
    }

    /// Fetches a file into `out`, resuming after broken connections.
    ///
    /// Bytes are written as they come; on an error `out` may hold a part of the file.
    ///
    /// # Errors
    /// When the file cannot be had or is not the one that was asked for.
    pub fn download(
        &self,
        download: &Download<'_>,
        out: &mut dyn Write,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Fetched, FetchError> {
        let fail = |attempts, problem| fetch_error(download.url, attempts, problem);
        if !download.url.starts_with("http://") && !download.url.starts_with("https://") {
            return Err(fail(0, FetchProblem::NotHttp));
        }
        let client = self.client().map_err(|problem| fail(0, problem))?;
        let mut backoff = Backoff::new(&self.shared.options.retry);
        let mut transfer = Transfer::new(client, download);
        loop {
            let before = transfer.progress.received;
            let problem = match transfer.attempt(out, watch) {
                Ok(fetched) => return Ok(fetched),
                Err(problem) => problem,
            };
            if transfer.progress.received > before {
                backoff.progressed();
            }
            if !problem.is_transient() {
                return Err(fail(backoff.attempts() + 1, problem));
            }
            match backoff.next_wait(transfer.asked_to_wait.take(), jitter()) {
                Some(wait) => {
                    if wait_unless_stopped(wait, before, watch).is_break() {
                        return Err(fail(backoff.attempts(), FetchProblem::Cancelled));
                    }
                }
                None => return Err(fail(backoff.attempts(), problem)),
            }
        }
    }

    fn client(&self) -> Result<&Client, FetchProblem> {
        if let Some(client) = self.shared.client.get() {
            return Ok(client);
        }
        let options = &self.shared.options;
        let client = client::build(&ClientOptions {
            user_agent: &options.user_agent,
            connect_timeout: options.connect_timeout,
            idle_timeout: options.idle_timeout,
            proxies: &options.proxies,
            extra_certificates: &options.extra_certificates,
        })?;
        Ok(self.shared.client.get_or_init(|| client))
    }
}

fn fetch_error(url: &str, attempts: u32, problem: FetchProblem) -> FetchError {
    FetchError {
        url: redact(url),
        attempts,
        problem,
    }
}

fn wait_unless_stopped(
    wait: Duration,
    received: u64,
    watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let end = Instant::now() + wait;
    loop {
        watch(received)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return ControlFlow::Continue(());
        }
        std::thread::sleep(left.min(CANCEL_POLL));
    }
}

/// One download across all its requests.
struct Transfer<'a> {
    client: &'a Client,
    download: &'a Download<'a>,
    progress: Progress,
    /// What tells this version of the file from another (a strong ETag or a date).
    validator: Option<String>,
    asked_to_wait: Option<Duration>,
}

impl<'a> Transfer<'a> {
    fn new(client: &'a Client, download: &'a Download<'a>) -> Transfer<'a> {
        Transfer {
            client,
            download,
            progress: Progress::new(),
            validator: None,
            asked_to_wait: None,
        }
    }

    fn attempt(
        &mut self,
        out: &mut dyn Write,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Fetched, FetchProblem> {
        let mut response = self.send()?;
        let skip = self.bytes_to_skip(&response)?;
        let whole = whole_size(&response);
        self.check_announced(whole)?;
        let bounds = Bounds {
            exact: self.download.size,
            limit: self.download.limit,
        };
        self.progress
            .read(&mut response, skip, &bounds, out, watch)?;
        self.finish(&response, whole)
    }

    fn send(&mut self) -> Result<Response, FetchProblem> {
        let mut request = self.client.get(self.download.url);
        if self.progress.received > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.progress.received));
            if let Some(validator) = &self.validator {
                request = request.header(IF_RANGE, validator);
            }
        }
        let response = request
            .send()
            .map_err(|e| FetchProblem::Connection(e.without_url()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        self.asked_to_wait =
            text(&response, &RETRY_AFTER).and_then(|value| retry_after(&value, seconds_now()));
        Err(FetchProblem::Status {
            status: status.as_u16(),
            said: words(response),
        })
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

    fn finish(&self, response: &Response, whole: Option<u64>) -> Result<Fetched, FetchProblem> {
        let received = self.progress.received;
        if let Some(expected) = self.download.size.or(whole)
            && received != expected
        {
            return Err(FetchProblem::Short { received, expected });
        }
        let actual = self.progress.digest();
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
            last_modified: text(response, &LAST_MODIFIED)
                .and_then(|date| jiff::fmt::rfc2822::parse(&date).ok())
                .map(|date| date.timestamp().as_second()),
            url: redact(response.url().as_str()),
        })
    }
}

/// The size of the whole file as the server tells it, whether it sends all or the rest.
fn whole_size(response: &Response) -> Option<u64> {
    if response.status().as_u16() == 206 {
        let range = text(response, &CONTENT_RANGE)?;
        return range.rsplit_once('/')?.1.parse().ok();
    }
    response.content_length()
}

fn range_start(response: &Response) -> Option<u64> {
    let range = text(response, &CONTENT_RANGE)?;
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
    text(response, &ETAG)
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| text(response, &LAST_MODIFIED))
}

fn text(response: &Response, name: &HeaderName) -> Option<String> {
    response
        .headers()
        .get(name)?
        .to_str()
        .ok()
        .map(str::to_owned)
}

/// The first words of an error page, fit for a message.
fn words(response: Response) -> String {
    let mut page = Vec::new();
    // An error page that cannot be read is no second error.
    let _ = response.take(2048).read_to_end(&mut page);
    let page = String::from_utf8_lossy(&page);
    if page.trim_start().starts_with('<') {
        return String::new();
    }
    let line = page.lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn seconds_now() -> i64 {
    jiff::Timestamp::now().as_second()
}
