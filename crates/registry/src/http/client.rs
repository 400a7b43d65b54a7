//! The HTTP client itself: TLS by rustls with ring, the host's trust, given proxies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::FetchProblem;

/// Which proxies to use; the caller takes them from the usual environment variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://` addresses (`http_proxy`).
    pub http: Option<String>,
    /// For `https://` addresses (`https_proxy`).
    pub https: Option<String>,
    /// For both, where no other is given (`all_proxy`).
    pub all: Option<String>,
    /// Host names, domains and networks to reach directly (`no_proxy`).
    pub exceptions: Option<String>,
}

impl Proxies {
    /// None at all.
    pub(crate) const NONE: &'static Proxies = &Proxies {
        http: None,
        https: None,
        all: None,
        exceptions: None,
    };
}

pub(crate) struct ClientOptions<'a> {
    pub(crate) user_agent: &'a str,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) proxies: &'a Proxies,
    pub(crate) extra_certificates: &'a [PathBuf],
    /// Who we are to a server that asks for a certificate.
    pub(crate) identity: Option<&'a Identity>,
    /// Where answers may lead to.
    pub(crate) redirects: Redirects,
}

/// Where the answers of a server may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// Anywhere; from https to http only where that is allowed.
    Follow { may_leave_tls: bool },
    /// To the same server only: what is sent with a body is sent again, and a secret may be in it.
    Stay,
}

/// A certificate of our own, with its key: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

const REDIRECTS_MAX: usize = 10;

pub(crate) fn build(options: &ClientOptions<'_>) -> Result<Client, FetchProblem> {
    let mut builder = Client::builder()
        .user_agent(options.user_agent)
        .connect_timeout(options.connect_timeout)
        // The blocking client applies this to each read, so it bounds silence, not the transfer.
        .timeout(options.idle_timeout)
        .pool_max_idle_per_host(16)
        // A peer that takes no more bytes is given up, however long a whole upload may last.
        .tcp_user_timeout(options.idle_timeout)
        .redirect(redirects(options.redirects))
        // The query of a signed address is a secret of the host that gave it.
        .referer(false)
        .no_proxy()
        .tls_backend_preconfigured(tls(options)?);
    for proxy in proxies(options.proxies)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(client_problem)
}

/// Redirects are followed; the client drops credentials where the host or the port changes.
fn redirects(redirects: Redirects) -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(move |attempt| {
        let last = attempt.previous().last();
        let from_tls = last.map(reqwest::Url::scheme) == Some("https");
        let is_elsewhere = last.is_some_and(|last| last.origin() != attempt.url().origin());
        let may_leave_tls = redirects
            == (Redirects::Follow {
                may_leave_tls: true,
            });
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("too many redirects")
        } else if is_elsewhere && redirects == Redirects::Stay {
            attempt
                .error("a redirect to another host, which the secret that was sent must not follow")
        } else if from_tls && attempt.url().scheme() == "http" && !may_leave_tls {
            attempt.error("a redirect from https to http")
        } else {
            attempt.follow()
        }
    })
}

fn proxies(settings: &Proxies) -> Result<Vec<reqwest::Proxy>, FetchProblem> {
    let exceptions = settings
        .exceptions
        .as_deref()
        .and_then(reqwest::NoProxy::from_string);
    let chosen = [
        (
            &settings.http,
            reqwest::Proxy::http as fn(String) -> reqwest::Result<reqwest::Proxy>,
        ),
        (&settings.https, reqwest::Proxy::https),
        (&settings.all, reqwest::Proxy::all),
    ];
    chosen
        .into_iter()
        .filter_map(|(address, make)| {
            address
                .as_ref()
                .filter(|a| !a.is_empty())
                .map(|a| (a, make))
        })
        .map(|(address, make)| {
            let proxy = make(with_scheme(address)).map_err(client_problem)?;
            Ok(proxy.no_proxy(exceptions.clone()))
        })
        .collect()
}

/// `http_proxy=host:3128` is common and means `http://host:3128`.
fn with_scheme(address: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    }
}

fn tls(options: &ClientOptions<'_>) -> Result<rustls::ClientConfig, FetchProblem> {
    let mut roots = rustls::RootCertStore::empty();
    // A host without certificates can still fetch over http, so an empty trust store is no error
    // here; an https request then says that its issuer is unknown.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in options.extra_certificates {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|source| unusable(path, source))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(client_problem)?
        .with_root_certificates(roots);
    let Some(identity) = options.identity else {
        return Ok(config.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|source| unusable(&identity.key, source))?;
    config
        .with_client_auth_cert(certificates(&identity.certificate)?, key)
        .map_err(|source| unusable(&identity.certificate, source))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FetchProblem> {
    let pem = std::fs::read(path).map_err(|source| unusable(path, source))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| unusable(path, source))?;
    if found.is_empty() {
        return Err(unusable(path, "no certificate inside"));
    }
    Ok(found)
}

fn unusable(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> FetchProblem {
    FetchProblem::Certificates {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn client_problem(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchProblem {
    FetchProblem::Client(source.into())
}
