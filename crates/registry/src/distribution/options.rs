//! What the caller decides about registries.

use std::path::PathBuf;

use super::credentials::CredentialSources;
use crate::FetchOptions;

/// How registries are met.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Proxies, certificates, patience.
    pub http: FetchOptions,
    /// Registries (`HOST[:PORT]`) that may be spoken to without TLS. Those of this machine always
    /// may.
    pub insecure: Vec<String>,
    /// Where else images may be fetched; asked before the registry itself, in this order.
    pub mirrors: Vec<Mirror>,
    /// Directories with a folder per registry that holds its CAs (`*.crt`) and our certificate
    /// for it (`*.cert` and `*.key`), as docker and podman have them.
    pub certificate_directories: Vec<PathBuf>,
    /// Where logins are.
    pub credentials: CredentialSources,
}

/// Another place for the images of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry as it stands in references.
    pub registry: String,
    /// The host of the mirror, with its port.
    pub host: String,
    /// What comes before the repository there; may be empty.
    pub prefix: String,
}

impl Mirror {
    /// Reads `REGISTRY=HOST[:PORT][/PREFIX]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Mirror> {
        let (registry, place) = text.trim().split_once('=')?;
        let (host, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_host = |text: &str| !text.is_empty() && !text.contains([' ', '@', '/', '?']);
        (is_host(registry) && is_host(host)).then(|| Mirror {
            registry: registry.to_owned(),
            host: host.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }

    /// The repository at the mirror.
    pub(crate) fn repository(&self, repository: &str) -> String {
        if self.prefix.is_empty() {
            repository.to_owned()
        } else {
            format!("{}/{repository}", self.prefix)
        }
    }
}

/// How a caller follows a transfer, and stops it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Asked now and then; `true` ends the transfer.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
    /// Hears how many more bytes went over the network.
    pub moved: &'a (dyn Fn(u64) + Sync),
}

impl Watch<'static> {
    /// Nobody watches.
    pub const NONE: Watch<'static> = Watch {
        is_stopped: &|| false,
        moved: &|_| {},
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_a_registry_and_a_place() {
        let mirror = Mirror::parse("docker.io=mirror.lab:5000/hub/").unwrap();
        assert_eq!(mirror.host, "mirror.lab:5000");
        assert_eq!(mirror.repository("library/busybox"), "hub/library/busybox");
        let plain = Mirror::parse("quay.io=localhost:5000").unwrap();
        assert_eq!(plain.repository("a/b"), "a/b");
        for wrong in ["", "docker.io", "=host", "a=", "a=u@h", "a b=c"] {
            assert_eq!(Mirror::parse(wrong), None, "{wrong}");
        }
    }
}
