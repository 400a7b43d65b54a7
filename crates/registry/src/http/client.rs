//! The HTTP client itself: TLS by rustls with ring, the host's trust, given proxies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

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

pub(crate) struct ClientOptions<'a> {
    pub(crate) user_agent: &'a str,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) proxies: &'a Proxies,
    pub(crate) extra_certificates: &'a [PathBuf],
}

pub(crate) fn build(options: &ClientOptions<'_>) -> Result<Client, FetchProblem> {
    let mut builder = Client::builder()
        .user_agent(options.user_agent)
        .connect_timeout(options.connect_timeout)
        // The blocking client applies this to each read, so it bounds silence, not the transfer.
        .timeout(options.idle_timeout)
        .pool_max_idle_per_host(16)
        .no_proxy()
        .tls_backend_preconfigured(tls(options.extra_certificates)?);
    for proxy in proxies(options.proxies)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(client_problem)
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

fn tls(extra: &[PathBuf]) -> Result<rustls::ClientConfig, FetchProblem> {
    let mut roots = rustls::RootCertStore::empty();
    // A host without certificates can still fetch over http, so an empty trust store is no error
    // here; an https request then says that its issuer is unknown.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in extra {
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
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
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
