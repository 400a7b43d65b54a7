//! How this process meets registries: logins, certificates, mirrors, from the surroundings.
//!
//! | what | where |
//! | --- | --- |
//! | logins | `REGISTRY_AUTH_FILE`, podman's `auth.json`, docker's `config.json`, in this order |
//! | certificates of one registry | `certs.d` of podman and docker, for the host and the user |
//! | mirrors | `CAIRN_MIRRORS`: `REGISTRY=HOST[/PREFIX]`, separated by commas |
//! | registries without TLS | `CAIRN_INSECURE_REGISTRIES`: `HOST[:PORT]`, separated by commas |

use std::path::PathBuf;

use cairn_build::image::push::SendError;
use cairn_registry::{
    CredentialSources, FetchOptions, Mirror, RegistryClient, RegistryError, RegistryOptions,
};

use crate::environment::Environment;
use crate::error::{CommandError, Kind};

/// A client for the registries that the environment describes.
pub fn client(
    environment: &Environment,
    http: FetchOptions,
) -> Result<RegistryClient, CommandError> {
    Ok(RegistryClient::new(RegistryOptions {
        http,
        insecure: insecure(environment)?,
        mirrors: mirrors(environment)?,
        certificate_directories: certificate_directories(environment),
        credentials: CredentialSources {
            files: login_files(environment),
            environment: environment.all(),
            ..CredentialSources::default()
        },
    }))
}

fn insecure(environment: &Environment) -> Result<Vec<String>, CommandError> {
    let hosts = listed(environment, "CAIRN_INSECURE_REGISTRIES");
    let hosts = hosts.map(|host| match host.contains(['/', ' ', '@']) {
        false => Ok(host),
        true => Err(CommandError::usage(format!(
            "`CAIRN_INSECURE_REGISTRIES` has `{}`, which is no registry",
            cairn_oci::redact(&host)
        ))
        .hint("a registry is HOST[:PORT], as in `localhost:5000`")),
    });
    hosts.collect()
}

fn mirrors(environment: &Environment) -> Result<Vec<Mirror>, CommandError> {
    let texts = listed(environment, "CAIRN_MIRRORS");
    let mirrors = texts.map(|text| {
        Mirror::parse(&text).ok_or_else(|| {
            let text = cairn_oci::redact(&text);
            CommandError::usage(format!("`CAIRN_MIRRORS` has `{text}`, which is no mirror"))
                .hint("a mirror is REGISTRY=HOST[:PORT][/PREFIX], as in `docker.io=mirror.lab/hub`")
        })
    });
    mirrors.collect()
}

fn listed(environment: &Environment, name: &str) -> impl Iterator<Item = String> {
    let text = environment.text(name).unwrap_or_default().to_owned();
    let parts: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    parts.into_iter()
}

fn login_files(environment: &Environment) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files.extend(environment.absolute_path("REGISTRY_AUTH_FILE"));
    let home = environment.absolute_path("HOME");
    let runtime = environment.absolute_path("XDG_RUNTIME_DIR").or_else(|| {
        // Where podman has root's, who has no such directory.
        let is_root = home.as_deref() == Some("/root".as_ref());
        is_root.then(|| PathBuf::from("/run/containers/0"))
    });
    files.extend(
        runtime.map(|runtime| match runtime.ends_with("containers/0") {
            true => runtime.join("auth.json"),
            false => runtime.join("containers/auth.json"),
        }),
    );
    files.extend(config_home(environment).map(|config| config.join("containers/auth.json")));
    let docker = environment.absolute_path("DOCKER_CONFIG");
    let docker = docker.or_else(|| Some(home?.join(".docker")));
    files.extend(docker.map(|docker| docker.join("config.json")));
    files
}

fn certificate_directories(environment: &Environment) -> Vec<PathBuf> {
    let user = config_home(environment)
        .map(|config| ["containers/certs.d", "docker/certs.d"].map(|folder| config.join(folder)));
    let host = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    user.into_iter().flatten().chain(host).collect()
}

fn config_home(environment: &Environment) -> Option<PathBuf> {
    environment
        .absolute_path("XDG_CONFIG_HOME")
        .or_else(|| Some(environment.absolute_path("HOME")?.join(".config")))
}

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> Self {
        Self::from(&error)
    }
}

impl From<SendError> for CommandError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Registry(error) => error.into(),
            SendError::Store(error) => error.into(),
        }
    }
}

impl From<&RegistryError> for CommandError {
    fn from(error: &RegistryError) -> Self {
        let kind = match error {
            error if error.is_cancelled() => return Self::interrupted(),
            // The reference is wrong, or what it names is.
            error if error.is_missing() => Kind::Usage,
            RegistryError::Request { .. } => Kind::Environment,
            RegistryError::NoPlatform { .. } | RegistryError::Unusable { .. } => Kind::Usage,
            RegistryError::Document { .. } | RegistryError::Refused { .. } => Kind::Work,
            RegistryError::Store(_) => Kind::Environment,
        };
        let told = Self::from_error(kind, error);
        error.hints().into_iter().fold(told, Self::hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_without_tls_is_a_host() {
        let read = |text: &str| insecure(&Environment::from([("CAIRN_INSECURE_REGISTRIES", text)]));
        assert_eq!(
            read("a:5000, [::1]:80").ok(),
            Some(vec!["a:5000".to_owned(), "[::1]:80".to_owned()])
        );
        for wrong in ["http://x", "x/lab"] {
            let error = read(&format!("a,{wrong}")).expect_err("no host");
            assert!(error.messages[0].contains(wrong));
        }
        let error = read("https://me:secret@x").expect_err("no host");
        assert!(!error.messages[0].contains("secret"), "{error:?}");
    }

    #[test]
    fn logins_are_sought_in_podmans_order_then_dockers() {
        let texts = |environment: &Environment| -> Vec<String> {
            let files = login_files(environment).into_iter();
            files.map(|path| path.display().to_string()).collect()
        };
        let user = Environment::from([("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        assert_eq!(
            texts(&user),
            [
                "/run/user/1/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        let named = Environment::from([
            ("REGISTRY_AUTH_FILE", "/a.json"),
            ("DOCKER_CONFIG", "/d"),
            ("HOME", "/root"),
        ]);
        assert_eq!(
            texts(&named),
            [
                "/a.json",
                "/run/containers/0/auth.json",
                "/root/.config/containers/auth.json",
                "/d/config.json"
            ]
        );
        assert_eq!(texts(&Environment::default()), [""; 0]);
    }

    #[test]
    fn mirrors_that_are_none_are_refused() {
        let made = |text: &str| mirrors(&Environment::from([("CAIRN_MIRRORS", text)]));
        assert_eq!(made("docker.io=m:5000/x, quay.io=n ,").unwrap().len(), 2);
        assert!(made("docker.io").is_err());
    }
}
