//! Logins for files and repositories of the web, as BuildKit takes them from secrets of fixed names.
//!
//! `HTTP_AUTH_HEADER_<host>` and `HTTP_AUTH_TOKEN_<host>` are for files at a host; `GIT_AUTH_HEADER`
//! and `GIT_AUTH_TOKEN` for repositories, and with `.<host>` behind them for those of one host. What
//! is named a header is sent as it is; a token becomes one.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::distribution::is_loopback;

const FILE_HEADER: &str = "HTTP_AUTH_HEADER_";
const FILE_TOKEN: &str = "HTTP_AUTH_TOKEN_";
const GIT_HEADER: &str = "GIT_AUTH_HEADER";
const GIT_TOKEN: &str = "GIT_AUTH_TOKEN";

/// What to say to which host, as values of the header `Authorization`.
#[derive(Clone, Default)]
pub struct Logins(BTreeMap<String, String>);

impl std::fmt::Debug for Logins {
    /// The names; never a value.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl Logins {
    /// Takes those secrets whose names say that they are logins.
    #[must_use]
    pub fn of_secrets(secrets: &BTreeMap<String, Vec<u8>>) -> Self {
        let is_login = |name: &str| {
            [FILE_HEADER, FILE_TOKEN, GIT_HEADER, GIT_TOKEN]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        let logins = secrets.iter().filter(|(name, _)| is_login(name));
        // A file ends with a line break, which a header cannot have.
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        Self(
            logins
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
        )
    }

    /// What the host of a file's address is told. The token, where there are both; nothing where the
    /// address has a login of its own, which is told already.
    pub(crate) fn of_file(&self, url: &str) -> Option<String> {
        let authority = authority(url).filter(|_| !has_login(url))?;
        let host = host_name(authority);
        let secret = |prefix: &str| self.0.get(&format!("{prefix}{host}"));
        match secret(FILE_TOKEN) {
            Some(token) => Some(format!("Bearer {token}")),
            None => secret(FILE_HEADER).cloned(),
        }
    }

    /// What the host of a repository is told. Only the web knows headers. A secret without a host is for
    /// any, but never sent in the clear.
    pub(crate) fn of_repository(&self, remote: &str) -> Option<String> {
        let host = authority(remote).filter(|_| !has_login(remote))?;
        let of_host = |name: &str| format!("{name}.{host}");
        let found = [
            (of_host(GIT_HEADER), false),
            (of_host(GIT_TOKEN), true),
            (GIT_HEADER.to_owned(), false),
            (GIT_TOKEN.to_owned(), true),
        ];
        let is_in_the_clear = !remote.starts_with("https://") && !is_loopback(host);
        let known = match is_in_the_clear {
            true => 2,
            false => found.len(),
        };
        let (value, is_token) = found
            .into_iter()
            .take(known)
            .find_map(|(name, is_token)| Some((self.0.get(&name)?, is_token)))?;
        match is_token {
            true => {
                let login = STANDARD.encode(format!("x-access-token:{value}"));
                Some(format!("basic {login}"))
            }
            false => Some(value.clone()),
        }
    }
}

/// Whether an address of the web says who asks.
fn has_login(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest[..end].contains('@')
}

/// The host and the port of an address of the web.
fn authority(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    Some(authority.rsplit_once('@').map_or(authority, |(_, at)| at))
}

/// A host without its port; of an IPv6 address, what stands in brackets.
fn host_name(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(secrets: &[(&str, &str)]) -> Logins {
        let secret = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Logins::of_secrets(&secrets.iter().map(secret).collect())
    }

    #[test]
    fn a_file_is_asked_for_with_the_login_of_its_host_alone() {
        let logins = logins(&[
            ("HTTP_AUTH_TOKEN_h.example", "abc\n"),
            ("HTTP_AUTH_HEADER_h.example", "Basic x"),
            ("HTTP_AUTH_HEADER_::1", "Basic y"),
            ("h.example", "no login"),
        ]);
        let of = |url: &str| logins.of_file(url);
        assert_eq!(
            of("https://h.example:8443/f"),
            Some("Bearer abc".to_owned())
        );
        assert_eq!(of("http://h.example?q=@"), Some("Bearer abc".to_owned()));
        assert_eq!(of("http://ann@h.example?q"), None);
        assert_eq!(of("http://[::1]:80/f"), Some("Basic y".to_owned()));
        assert_eq!(of("https://other.example/h.example"), None);
        assert_eq!(of("ftp://h.example/f"), None);
    }

    #[test]
    fn a_repository_takes_the_login_of_its_host_before_that_of_all() {
        let logins = logins(&[
            ("GIT_AUTH_TOKEN", "t"),
            ("GIT_AUTH_TOKEN.h:8443", "u"),
            ("GIT_AUTH_HEADER.k", "Basic k"),
            ("GIT_AUTH_TOKEN.k", "v"),
        ]);
        let of = |remote: &str| logins.of_repository(remote);
        let token = |token: &str| {
            let login = STANDARD.encode(format!("x-access-token:{token}"));
            Some(format!("basic {login}"))
        };
        assert_eq!(of("https://h/a.git"), token("t"));
        assert_eq!(of("https://h:8443/a.git"), token("u"));
        assert_eq!(of("https://k/a.git"), Some("Basic k".to_owned()));
        assert_eq!(of("http://k/a.git"), Some("Basic k".to_owned()));
        assert_eq!(of("http://h/a.git"), None, "not in the clear");
        assert_eq!(of("https://ann@h/a.git"), None);
        assert_eq!(of("git@h:a.git"), None);
    }

    #[test]
    fn a_login_is_not_shown() {
        let shown = format!("{:?}", logins(&[("GIT_AUTH_TOKEN", "hunter2")]));
        assert!(shown.contains("GIT_AUTH_TOKEN") && !shown.contains("hunter2"));
    }
}
