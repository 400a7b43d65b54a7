//! The [`RegistryClient`]: which hosts to ask for a repository, and one request with patience.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cairn_oci::Reference;
use reqwest::blocking::Response;

use super::error::RegistryError;
use super::host::{Host, Request};
use super::mirrors::Troubles;
use super::options::RegistryOptions;
use super::token::Scopes;
use crate::http::error::{FetchError, FetchProblem, fetch_error};
use crate::http::retry::{Failed, persist};

/// Speaks to registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct RegistryClient {
    shared: Arc<Shared>,
}

struct Shared {
    options: RegistryOptions,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    troubles: Arc<Troubles>,
}

impl std::fmt::Debug for RegistryClient {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RegistryClient")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// A repository at a host: the registry's own, or a mirror's.
pub(crate) struct Endpoint {
    pub(crate) host: Arc<Host>,
    pub(crate) registry: String,
    pub(crate) repository: String,
    /// Of a mirror: where it is noted that it failed.
    troubles: Option<Arc<Troubles>>,
}

impl RegistryClient {
    /// Makes a client; nothing is opened before the first request.
    #[must_use]
    pub fn new(options: RegistryOptions) -> RegistryClient {
        RegistryClient {
            shared: Arc::new(Shared {
                options,
                hosts: Mutex::default(),
                troubles: Arc::default(),
            }),
        }
    }

    /// What was wrong with mirrors since this was asked the last time: nothing else tells of it
    /// where the registry itself gave what was wanted.
    #[must_use]
    pub fn mirror_troubles(&self) -> Vec<String> {
        self.shared.troubles.untold()
    }

    /// What is known of the mirrors that were asked before a registry failed.
    pub(crate) fn after_mirrors(
        &self,
        reference: &Reference,
        error: RegistryError,
    ) -> RegistryError {
        let mirrors = self.shared.options.mirrors.iter();
        let mirrors = mirrors.filter(|mirror| mirror.registry == reference.registry());
        let told = self.shared.troubles.of(mirrors.map(|it| it.host.as_str()));
        error.with_mirrors(told)
    }

    /// The places to read a repository from: its mirrors, but for those where nobody answered before,
    /// and last the registry itself.
    pub(crate) fn sources(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let mirrors = self.shared.options.mirrors.iter();
        let mirrors = mirrors.filter(|mirror| mirror.registry == reference.registry());
        let troubles = &self.shared.troubles;
        let mut sources = mirrors
            .filter(|mirror| !troubles.is_dead(&mirror.host))
            .map(|mirror| {
                let repository = mirror.repository(reference.repository());
                let endpoint = self.endpoint(&mirror.host, repository)?;
                let troubles = Some(Arc::clone(troubles));
                Ok(Endpoint {
                    troubles,
                    ..endpoint
                })
            })
            .collect::<Result<Vec<_>, RegistryError>>()?;
        sources.push(self.origin(reference)?);
        Ok(sources)
    }

    /// The registry itself.
    pub(crate) fn origin(&self, reference: &Reference) -> Result<Endpoint, RegistryError> {
        self.endpoint(reference.registry(), reference.repository().to_owned())
    }

    fn endpoint(&self, registry: &str, repository: String) -> Result<Endpoint, RegistryError> {
        let mut hosts = self.shared.hosts.lock().expect("no panics while held");
        let host = match hosts.get(registry) {
            Some(host) => host.clone(),
            None => {
                let made = Host::new(registry, &self.shared.options).map_err(|problem| {
                    let url = format!("https://{registry}/v2/");
                    request_error(registry, fetch_error("GET", &url, 0, problem), None)
                })?;
                let host = Arc::new(made);
                hosts.insert(registry.to_owned(), host.clone());
                host
            }
        };
        Ok(Endpoint {
            host,
            registry: registry.to_owned(),
            repository,
            troubles: None,
        })
    }
}

impl Endpoint {
    /// The path of something of the repository: `manifests/latest`.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }

    /// What a request must be allowed to do: `pull`, `pull,push`.
    pub(crate) fn scopes(&self, actions: &str) -> Scopes {
        vec![format!("repository:{}:{actions}", self.repository)]
    }

    /// Sends a request with patience until `read` makes something of an answer.
    pub(crate) fn persist<T>(
        &self,
        method: &'static str,
        path: &str,
        is_stopped: &dyn Fn() -> bool,
        attempt: impl Fn() -> Result<T, FetchProblem>,
    ) -> Result<T, RegistryError> {
        let done = persist(self.host.retry(), is_stopped, || {
            attempt().map_err(Failed::from)
        });
        done.map_err(|(problem, attempts)| {
            let url = self.host.shown(path);
            self.error(fetch_error(method, &url, attempts, problem))
        })
    }

    /// Sends a request once.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Response, FetchProblem> {
        self.host.send(request)
    }

    /// Takes note that a mirror failed.
    pub(crate) fn note(&self, error: &RegistryError) {
        if let Some(troubles) = &self.troubles {
            troubles.note(&self.registry, error);
        }
    }

    /// Adds to a failure what is known of the registry.
    pub(crate) fn error(&self, failure: FetchError) -> RegistryError {
        request_error(&self.registry, failure, Some(self))
    }
}

fn request_error(
    registry: &str,
    failure: FetchError,
    endpoint: Option<&Endpoint>,
) -> RegistryError {
    let asks = matches!(
        failure.problem,
        FetchProblem::Token(_)
            | FetchProblem::Status {
                status: 401 | 403,
                ..
            }
    );
    // A login is looked for only where one was asked for.
    let found = endpoint
        .filter(|_| asks)
        .map(|endpoint| endpoint.host.login(&endpoint.repository))
        .unwrap_or_default();
    RegistryError::Request {
        failure: Box::new(failure),
        registry: registry.to_owned(),
        has_login: found.login.is_some(),
        troubles: found.troubles,
        mirrors: Vec::new(),
    }
}
