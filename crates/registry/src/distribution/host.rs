//! One host that speaks the distribution protocol: its scheme, its certificates, its tokens.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use reqwest::blocking::{Body, Client, Response};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};

use super::certificates;
use super::challenge;
use super::credentials::Found;
use super::options::RegistryOptions;
use super::token::{Asker, Scopes, Tokens};
use crate::http::client::{self, ClientOptions, Identity, Redirects};
use crate::http::error::FetchProblem;
use crate::http::retry::RetryPolicy;
use crate::http::{FetchOptions, Proxies};

/// Docker Hub is called otherwise than it is reached.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// A host and all that is known of it.
pub(crate) struct Host {
    host: String,
    client: Client,
    /// Takes what holds a secret in its body to the host that it is for, and no other. Most
    /// registries never need it.
    homebound: OnceLock<Client>,
    outfit: Outfit,
    retry: RetryPolicy,
    may_be_plain: bool,
    base: Mutex<Option<Url>>,
    tokens: Tokens,
}

/// What a client for a host is made of.
struct Outfit {
    http: FetchOptions,
    is_local: bool,
    authorities: Vec<PathBuf>,
    identity: Option<Identity>,
}

/// One request to a host.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Whose login is used.
    pub(crate) repository: &'a str,
    pub(crate) scopes: &'a Scopes,
    /// Makes the body, anew for each time it is sent.
    pub(crate) body: &'a dyn Fn() -> Result<Option<Body>, FetchProblem>,
    /// How long the whole request may take, where that is not the usual.
    pub(crate) timeout: Option<Duration>,
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

/// For requests without a body.
pub(crate) const NO_BODY: &dyn Fn() -> Result<Option<Body>, FetchProblem> = &|| Ok(None);

impl Host {
    /// Prepares to speak to a registry, by its name in references; nothing is sent.
    pub(crate) fn new(registry: &str, options: &RegistryOptions) -> Result<Host, FetchProblem> {
        let host = if registry == HUB { HUB_HOST } else { registry };
        let is_local = is_loopback(host);
        let http = &options.http;
        let certificates = certificates::find(&options.certificate_directories, registry);
        let mut authorities = http.extra_certificates.clone();
        authorities.extend(certificates.authorities);
        let may_be_plain = is_local || options.insecure.iter().any(|name| name == registry);
        let outfit = Outfit {
            http: http.clone(),
            is_local,
            authorities,
            identity: certificates.identity,
        };
        Ok(Host {
            host: host.to_owned(),
            client: outfit.client(Redirects::Follow {
                may_leave_tls: may_be_plain,
            })?,
            homebound: OnceLock::new(),
            outfit,
            retry: http.retry.clone(),
            may_be_plain,
            base: Mutex::default(),
            tokens: Tokens::new(registry, options.credentials.clone()),
        })
    }

    /// The patience that requests have here.
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// The login that is used for a repository.
    pub(crate) fn login(&self, repository: &str) -> Found {
        self.tokens.login(repository)
    }

    /// A URL for messages. Before it is known how a host is reached that may do without TLS, it has no
    /// scheme: neither was spoken.
    pub(crate) fn shown(&self, path: &str) -> String {
        let base = self.base.lock().expect("no panics while held").clone();
        match base.and_then(|base| base.join(path).ok()) {
            Some(url) => url.to_string(),
            None if self.may_be_plain => format!("{}{path}", self.host),
            None => format!("https://{}{path}", self.host),
        }
    }

    /// The URL of a path; finds out first whether the host speaks TLS, if it need not.
    pub(crate) fn url(&self, path: &str) -> Result<Url, FetchProblem> {
        let base = self.base()?;
        let url = base.join(path);
        url.map_err(|error| FetchProblem::Answer(format!("`{path}` is no path of a URL: {error}")))
    }

    fn base(&self) -> Result<Url, FetchProblem> {
        let mut base = self.base.lock().expect("no panics while held");
        if let Some(known) = &*base {
            return Ok(known.clone());
        }
        let with = |scheme: &str| {
            let text = format!("{scheme}://{}/", self.host);
            Url::parse(&text).map_err(|error| FetchProblem::Answer(format!("`{text}`: {error}")))
        };
        let found = match self.may_be_plain {
            false => with("https")?,
            true => match self.ping(with("https")?) {
                Ok(_) => with("https")?,
                // It speaks TLS, and is not believed.
                Err(by_tls) if by_tls.is_about_a_certificate() => with("https")?,
                Err(by_tls) => match self.ping(with("http")?) {
                    // What a TLS server says to a stranger.
                    Ok(StatusCode::BAD_REQUEST) | Err(_) => return Err(by_tls),
                    Ok(_) => with("http")?,
                },
            },
        };
        Ok(base.insert(found).clone())
    }

    fn ping(&self, base: Url) -> Result<StatusCode, FetchProblem> {
        let url = base.join("v2/").unwrap_or(base);
        let response = self.client.get(url).send();
        let response = response.map_err(FetchProblem::of_request)?;
        self.note_challenge(&response);
        Ok(response.status())
    }

    /// Sends a request, letting itself in: a request that is refused is sent once more with what
    /// the registry asks for. Any answer is a success here.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Response, FetchProblem> {
        let base = self.base()?;
        // Uploads may be sent elsewhere by the registry; what lets us in here stays here.
        let is_ours = request.url.origin() == base.origin();
        let first = match is_ours {
            true => self.authorization(request, None)?,
            false => None,
        };
        let response = self.send_once(request, first.as_ref())?;
        let is_refused = response.status() == StatusCode::UNAUTHORIZED
            && response.url().origin() == base.origin();
        if !is_refused || !is_ours || !self.note_challenge(&response) {
            return Ok(response);
        }
        match self.authorization(request, first.as_ref())? {
            Some(header) => self.send_once(request, Some(&header)),
            None => Ok(response),
        }
    }

    fn authorization(
        &self,
        request: &Request<'_>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, FetchProblem> {
        let asker = Asker {
            client: &self.client,
            homebound: &|| self.homebound(),
            retry: &self.retry,
            may_be_plain: self.may_be_plain,
            is_stopped: request.is_stopped,
        };
        self.tokens
            .authorization(request.repository, request.scopes, refused, &asker)
    }

    fn homebound(&self) -> Result<Client, FetchProblem> {
        if let Some(client) = self.homebound.get() {
            return Ok(client.clone());
        }
        let client = self.outfit.client(Redirects::Stay)?;
        Ok(self.homebound.get_or_init(|| client).clone())
    }

    fn note_challenge(&self, response: &Response) -> bool {
        if response.status() != StatusCode::UNAUTHORIZED {
            return false;
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let texts: Vec<&str> = headers
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        match challenge::parse(&texts) {
            Some(challenge) => {
                self.tokens.challenged(challenge);
                true
            }
            None => false,
        }
    }

    fn send_once(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, FetchProblem> {
        let mut sent = self
            .client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(header) = authorization {
            sent = sent.header(AUTHORIZATION, header.clone());
        }
        if let Some(body) = (request.body)()? {
            sent = sent.body(body);
        }
        if let Some(timeout) = request.timeout {
            sent = sent.timeout(timeout);
        }
        sent.send().map_err(FetchProblem::of_request)
    }
}

impl Outfit {
    fn client(&self, redirects: Redirects) -> Result<Client, FetchProblem> {
        client::build(&ClientOptions {
            user_agent: &self.http.user_agent,
            connect_timeout: self.http.connect_timeout,
            idle_timeout: self.http.idle_timeout,
            // No proxy leads to this machine.
            proxies: match self.is_local {
                true => Proxies::NONE,
                false => &self.http.proxies,
            },
            extra_certificates: &self.authorities,
            identity: self.identity.as_ref(),
            redirects,
        })
    }
}

/// Whether a host is this machine, by its name alone.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_never_reached_is_told_without_a_scheme_it_may_not_have() {
        let shown = |registry: &str| {
            let host = Host::new(registry, &RegistryOptions::default()).unwrap();
            host.shown("/v2/a/tags/list")
        };
        assert_eq!(shown("127.0.0.1:1"), "127.0.0.1:1/v2/a/tags/list");
        assert_eq!(shown("r.example"), "https://r.example/v2/a/tags/list");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "docker.io",
            "localhost.evil.org",
            "10.0.0.1:5000",
            "[2001:db8::1]:5000",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
