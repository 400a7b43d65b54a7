//! Logins: what `docker login` and `podman login` left, and the programs that keep them.
//!
//! The files are read in the caller's order, and the first that knows the registry decides. Inside
//! a file a helper for the registry wins, then an entry of `auths`, then the store of all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::credential_helper;

/// The key under which `docker login` keeps Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name under which helpers give identity tokens.
const TOKEN_USER: &str = "<token>";

/// Where logins are.
#[derive(Clone)]
pub struct CredentialSources {
    /// `auth.json` and `config.json` files; absent ones are passed over.
    pub files: Vec<PathBuf>,
    /// The environment that helper programs get; they are looked for in its `PATH`.
    pub environment: Vec<(OsString, OsString)>,
    /// How long a helper may think.
    pub helper_timeout: Duration,
}

impl Default for CredentialSources {
    fn default() -> CredentialSources {
        CredentialSources {
            files: Vec::new(),
            environment: Vec::new(),
            helper_timeout: Duration::from_secs(60),
        }
    }
}

impl std::fmt::Debug for CredentialSources {
    /// The environment may hold secrets.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CredentialSources")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// How to be let in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// A user and a password.
    Basic { user: String, password: String },
    /// A token that a token service takes instead of a password.
    Identity(String),
    /// A token that the registry itself takes.
    Registry(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Login::Basic { .. } => "Basic(***)",
            Login::Identity(_) => "Identity(***)",
            Login::Registry(_) => "Registry(***)",
        })
    }
}

/// What the search for a login came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) login: Option<Login>,
    /// What could not be read or asked; told if the registry refuses.
    pub(crate) troubles: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl CredentialSources {
    /// Looks for the login to a repository of a registry.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Found {
        let mut found = Found::default();
        for path in &self.files {
            let text = match std::fs::read(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let trouble = format!("{} cannot be read: {error}", path.display());
                    found.troubles.push(trouble);
                    continue;
                }
            };
            match parse(&text) {
                Ok(file) => {
                    found.login = self.in_file(&file, registry, repository, &mut found.troubles);
                }
                Err(reason) => {
                    let trouble = format!("{} cannot be understood: {reason}", path.display());
                    found.troubles.push(trouble);
                }
            }
            if found.login.is_some() {
                break;
            }
        }
        found
    }

    fn in_file(
        &self,
        file: &AuthFile,
        registry: &str,
        repository: &str,
        troubles: &mut Vec<String>,
    ) -> Option<Login> {
        let names = names(registry);
        let helpers = file.cred_helpers.as_ref();
        let named = helpers.and_then(|helpers| names.iter().find_map(|name| helpers.get(*name)));
        if let Some(helper) = named {
            return self.ask(helper, registry, troubles);
        }
        let entries: BTreeMap<&str, &Entry> = file
            .auths
            .iter()
            .flatten()
            .filter_map(|(key, entry)| Some((bare(key), entry.as_ref()?)))
            .collect();
        let login = keys(&names, repository).find_map(|key| entries.get(key.as_str())?.login());
        login.or_else(|| self.ask(file.creds_store.as_ref()?, registry, troubles))
    }

    fn ask(&self, helper: &str, registry: &str, troubles: &mut Vec<String>) -> Option<Login> {
        let server = match registry {
            "docker.io" => HUB_KEY,
            other => other,
        };
        match credential_helper::get(helper, server, &self.environment, self.helper_timeout) {
            Ok(None) => None,
            Ok(Some((user, secret))) if user == TOKEN_USER => Some(Login::Identity(secret)),
            Ok(Some((user, password))) => Some(Login::Basic { user, password }),
            Err(reason) => {
                troubles.push(reason);
                None
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<AuthFile, String> {
    if text.trim_ascii().is_empty() {
        return Ok(AuthFile::default());
    }
    serde_json::from_slice(text).map_err(|error| without_values(&error))
}

/// What is wrong with a text that holds secrets: the parser's own words may repeat them.
pub(super) fn without_values(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "something else than a login stands",
        _ => "it is no JSON",
    };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

/// What a registry is called in files.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => vec!["docker.io", "index.docker.io", "registry-1.docker.io"],
        other => vec![other],
    }
}

/// The keys to look for: podman's, that may go down to a repository, the longest first; then the
/// registry's.
fn keys<'a>(names: &'a [&str], repository: &'a str) -> impl Iterator<Item = String> + 'a {
    let mut paths = vec![repository];
    while let Some((parent, _)) = paths[paths.len() - 1].rsplit_once('/') {
        paths.push(parent);
    }
    let deep = paths
        .into_iter()
        .flat_map(move |path| names.iter().map(move |name| format!("{name}/{path}")));
    deep.chain(names.iter().map(|name| (*name).to_owned()))
}

/// A key without what older programs wrote around it: `https://index.docker.io/v1/`.
fn bare(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key)
}

impl Entry {
    fn login(&self) -> Option<Login> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Some(Login::Identity(token));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Some(Login::Registry(token));
        }
        if let Some(decoded) = given(&self.auth).and_then(|text| decode(&text)) {
            return Some(decoded);
        }
        Some(Login::Basic {
            user: given(&self.username)?,
            password: given(&self.password)?,
        })
    }
}

fn decode(text: &str) -> Option<Login> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Old versions of docker left zero bytes behind.
    let password = password.trim_end_matches('\0').to_owned();
    Some(Login::Basic {
        user: user.to_owned(),
        password,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn basic(user: &str, password: &str) -> Option<Login> {
        Some(Login::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    fn find(texts: &[&str], registry: &str, repository: &str) -> Found {
        let place = tempfile::tempdir().unwrap();
        let files = texts.iter().enumerate().map(|(number, text)| {
            let path = place.path().join(number.to_string());
            std::fs::write(&path, text).unwrap();
            path
        });
        let mut files: Vec<PathBuf> = files.collect();
        files.insert(0, place.path().join("absent"));
        let sources = CredentialSources {
            files,
            ..CredentialSources::default()
        };
        sources.find(registry, repository)
    }

    fn login(text: &str, registry: &str, repository: &str) -> Option<Login> {
        let found = find(&[text], registry, repository);
        assert_eq!(found.troubles, [""; 0]);
        found.login
    }

    #[test]
    fn entries_are_found_in_every_spelling() {
        // u:p
        let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#;
        assert_eq!(login(hub, "docker.io", "library/a"), basic("u", "p"));
        assert_eq!(login(hub, "quay.io", "a"), None);
        let bare = r#"{"auths":{"quay.io":{"username":"u","password":"p:q"}}}"#;
        assert_eq!(login(bare, "quay.io", "a"), basic("u", "p:q"));
        let url = r#"{"auths":{"http://h:5000/v2/":{"auth":"dTpw"}, "x": null}}"#;
        assert_eq!(login(url, "h:5000", "a"), basic("u", "p"));
        assert_eq!(login(r#"{"auths":{"q":{"auth":"!"}}}"#, "q", "a"), None);
        assert_eq!(login("", "q", "a"), None);
    }

    #[test]
    fn the_deepest_key_wins() {
        let text = r#"{"auths":{"q.io":{"auth":"dTpw"},"q.io/lab":{"auth":"bDpw"},
                       "q.io/lab/app":{"auth":"YTpw"}}}"#;
        assert_eq!(login(text, "q.io", "lab/app"), basic("a", "p"));
        assert_eq!(login(text, "q.io", "lab/other/x"), basic("l", "p"));
        assert_eq!(login(text, "q.io", "labour"), basic("u", "p"));
    }

    #[test]
    fn tokens_are_told_from_passwords() {
        let text = r#"{"auths":{"a":{"auth":"dTpw","identitytoken":"t"},
                       "b":{"registrytoken":"r"}}}"#;
        assert_eq!(login(text, "a", "x"), Some(Login::Identity("t".into())));
        assert_eq!(login(text, "b", "x"), Some(Login::Registry("r".into())));
    }

    #[test]
    fn the_first_file_that_knows_decides_and_broken_ones_are_told() {
        let found = find(
            &[
                "{broken",
                r#"{"auths":{"b":{"auth":"dTpw"}}}"#,
                r#"{"auths":{"a":{"auth":"YTpw"},"b":{"auth":"YTpw"}}}"#,
            ],
            "b",
            "x",
        );
        assert_eq!(found.login, basic("u", "p"));
        assert_eq!(found.troubles.len(), 1);
        assert!(found.troubles[0].contains("cannot be understood"));
    }

    #[test]
    fn a_misplaced_secret_is_not_repeated() {
        let found = find(&[r#"{"auths":{"b":"aHVudGVyMg=="}}"#], "b", "x");
        let trouble = &found.troubles[0];
        assert!(trouble.contains("line 1"), "{trouble}");
        assert!(!trouble.contains("aHVudGVyMg"), "{trouble}");
    }

    fn with_helper(script: &str, config: &str) -> Found {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("docker-credential-try");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let file = place.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        let path = std::env::join_paths([place.path(), Path::new("/usr/bin"), Path::new("/bin")]);
        let sources = CredentialSources {
            files: vec![file],
            environment: vec![
                ("PATH".into(), path.unwrap()),
                ("SECRET".into(), "s".into()),
            ],
            helper_timeout: Duration::from_millis(500),
        };
        sources.find("r.io", "lab/app")
    }

    const FOR_ONE: &str = r#"{"credHelpers":{"r.io":"try"},"auths":{"r.io":{"auth":"dTpw"}}}"#;

    #[test]
    fn helpers_are_asked_with_the_environment_given() {
        let script = r#"read s; printf '{"ServerURL":"%s","Username":"%s","Secret":"%s"}' "$s" "$s" "$SECRET$1""#;
        assert_eq!(with_helper(script, FOR_ONE).login, basic("r.io", "sget"));
        let stored = r#"{"credsStore":"try","auths":{"r.io":{}}}"#;
        assert_eq!(with_helper(script, stored).login, basic("r.io", "sget"));
        let token = r#"printf '{"Username":"<token>","Secret":"t"}'"#;
        let found = with_helper(token, FOR_ONE).login;
        assert_eq!(found, Some(Login::Identity("t".into())));
    }

    #[test]
    fn helpers_that_know_nothing_or_fail_stop_nothing() {
        let unknown = "echo credentials not found in native keychain; exit 1";
        assert_eq!(with_helper(unknown, FOR_ONE), Found::default());
        let failing = with_helper("echo locked; exit 1", FOR_ONE);
        assert_eq!(failing.login, None);
        assert!(failing.troubles[0].contains("locked"), "{failing:?}");
        let slow = with_helper("exec sleep 30", FOR_ONE);
        assert!(slow.troubles[0].contains("no answer"), "{slow:?}");
        let absent = with_helper("", r#"{"credsStore":"lost"}"#);
        assert!(absent.troubles[0].contains("docker-credential-lost"));
        let evil = with_helper("", r#"{"credsStore":"../../bin/sh"}"#);
        assert!(evil.troubles[0].contains("no name of a helper"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let login = basic("u", "hunter2");
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
