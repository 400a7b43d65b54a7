//! The [`Fetcher`]: files by their URLs, into memory, a writer or the store.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_oci::{Algorithm, Digest};
use cairn_store::Store;
use reqwest::blocking::{Client, Response};
use reqwest::header::{AUTHORIZATION, HeaderMap, IF_NONE_MATCH};

use super::body::{Bare, Sink};
use super::client::{self, ClientOptions, Proxies, Redirects};
use super::error::{FetchError, FetchProblem, fetch_error};
use super::retry::RetryPolicy;
use super::transfer::{Origin, Transfer, strong_etag};
use crate::logins::Logins;

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
    /// Whether nothing is to be fetched at all: every download is refused.
    pub offline: bool,
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
            offline: false,
        }
    }
}

/// One file to fetch and what is known of it.
#[derive(Debug, Clone)]
pub struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Its digest, if known; checked while the bytes stream.
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
    /// The server's strong `ETag`: as long as it says this, the bytes are these.
    pub etag: Option<String>,
    /// Whether the server packed the file by gzip for the way (`Content-Encoding`), unasked: the
    /// bytes are the packed ones.
    pub is_gzipped: bool,
}

/// Fetches files over HTTP. Cheap to clone; the client is made at the first request.
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
    logins: Arc<Logins>,
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
            logins: Arc::default(),
        }
    }

    /// The same fetcher, which tells hosts who is asking.
    #[must_use]
    pub fn with_logins(&self, logins: Logins) -> Fetcher {
        Fetcher {
            shared: Arc::clone(&self.shared),
            logins: Arc::new(logins),
        }
    }

    /// What hosts are told; for repositories, too.
    #[must_use]
    pub fn logins(&self) -> &Logins {
        &self.logins
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
        let fail = |source| {
            fetch_error(
                "GET",
                download.url,
                0,
                FetchProblem::Store(Box::new(source)),
            )
        };
        let algorithm = download.digest.map_or(Algorithm::Sha256, Digest::algorithm);
        let mut writer = store.blob_writer_with(algorithm).map_err(fail)?;
        let fetched = self.transfer(download, &mut writer, watch)?;
        writer.finish(Some(&fetched.digest)).map_err(fail)?;
        Ok(fetched)
    }

    /// Whether every download is refused.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.shared.options.offline
    }

    /// Whether a server says that a file is the one that it gave this strong `ETag`.
    ///
    /// It is asked once. Whatever it says else, and if it says nothing, the file is to be fetched.
    /// Where nothing may be fetched, nobody is asked: the file that is there is the one.
    #[must_use]
    pub fn is_unchanged(&self, url: &str, etag: &str) -> bool {
        if self.is_offline() {
            return true;
        }
        let Ok(client) = self.client() else {
            return false;
        };
        let mut question = client.head(url).header(IF_NONE_MATCH, etag);
        if let Some(login) = self.logins.of_file(url) {
            question = question.header(AUTHORIZATION, login);
        }
        let asked = question.send();
        asked.is_ok_and(|answer| match answer.status().as_u16() {
            304 => true,
            200 => strong_etag(&answer).as_deref() == Some(etag),
            _ => false,
        })
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
        self.transfer(download, &mut Bare(out), watch)
    }

    fn transfer(
        &self,
        download: &Download<'_>,
        out: &mut dyn Sink,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Fetched, FetchError> {
        let fail = |problem| fetch_error("GET", download.url, 0, problem);
        if !download.url.starts_with("http://") && !download.url.starts_with("https://") {
            return Err(fail(FetchProblem::NotHttp));
        }
        if self.is_offline() {
            return Err(fail(FetchProblem::Offline));
        }
        let client = self.client().map_err(fail)?;
        let origin = Plain {
            client,
            url: download.url,
            login: self.logins.of_file(download.url),
        };
        Transfer::new(download, out).run(&origin, &self.shared.options.retry, out, watch)
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
            identity: None,
            redirects: Redirects::Follow {
                may_leave_tls: true,
            },
        })?;
        Ok(self.shared.client.get_or_init(|| client))
    }
}

/// A server that is asked without further ado, by a login where there is one.
struct Plain<'a> {
    client: &'a Client,
    url: &'a str,
    login: Option<String>,
}

impl Origin for Plain<'_> {
    fn url(&self) -> String {
        self.url.to_owned()
    }

    fn get(&self, headers: HeaderMap) -> Result<Response, FetchProblem> {
        let mut question = self.client.get(self.url).headers(headers);
        if let Some(login) = &self.login {
            question = question.header(AUTHORIZATION, login);
        }
        let sent = question.send();
        sent.map_err(FetchProblem::of_request)
    }
}
