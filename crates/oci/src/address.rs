//! Addresses as they may be told: without logins and tokens.
//!
//! Mirrors, repositories and signed links carry secrets in the part before the host or in their
//! query. Whatever is told of an address, in a message, a history or an attestation, goes through
//! [`redact`].
//!
//! | part | what becomes of it |
//! | --- | --- |
//! | a user with a password | both are hidden: either may be the token |
//! | a user of the web without one | hidden: it is most often a token |
//! | another user: `ssh://git@host`, `git@host:path` | told |
//! | a value of the query whose name sounds secret | hidden |

/// What stands in the place of a secret, as with BuildKit.
pub const HIDDEN: &str = "xxxxx";

/// Parts of a query parameter's name that mark its value as secret.
const SECRET_NAMES: [&str; 9] = [
    "token",
    "secret",
    "password",
    "passwd",
    "sig",
    "credential",
    "auth",
    "key",
    "code",
];

/// An address without its secrets. Text that is no address stays as it is, but for what looks
/// like a login in front of an `@`.
#[must_use]
pub fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text.rsplit_once('@') {
            Some((login, rest)) if login.contains(':') => format!("{HIDDEN}@{rest}"),
            _ => text.to_owned(),
        };
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (hidden_login(scheme, login) + "@", host),
        None => (String::new(), authority),
    };
    let (rest, fragment) = match rest.find('#') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    match rest.split_once('?') {
        None => format!("{scheme}://{login}{host}{rest}{fragment}"),
        Some((path, query)) => {
            let fields: Vec<String> = query.split('&').map(hidden_field).collect();
            let query = fields.join("&");
            format!("{scheme}://{login}{host}{path}?{query}{fragment}")
        }
    }
}

fn hidden_login(scheme: &str, login: &str) -> String {
    match login.contains(':') {
        true => format!("{HIDDEN}:{HIDDEN}"),
        false if scheme.to_ascii_lowercase().starts_with("http") => HIDDEN.to_owned(),
        false => login.to_owned(),
    }
}

fn hidden_field(field: &str) -> String {
    match field.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => field.to_owned(),
    }
}

/// Whether a name sounds secret, however it is encoded.
fn is_secret(name: &str) -> bool {
    let name = decoded(name).to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Percent signs undone; what stands for no text is left out.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (given, told) in [
            ("https://h/pool/a.deb?x=1#v", "https://h/pool/a.deb?x=1#v"),
            ("https://u:p@h/a.git#v1", "https://xxxxx:xxxxx@h/a.git#v1"),
            ("http://u:p@h", "http://xxxxx:xxxxx@h"),
            ("https://u:p@q@h/a@b", "https://xxxxx:xxxxx@h/a@b"),
            ("https://ghp_abc@h/a", "https://xxxxx@h/a"),
            ("https://tok:x-oauth-basic@h/", "https://xxxxx:xxxxx@h/"),
            ("https://h/a@b", "https://h/a@b"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("ssh://git:p@h/a", "ssh://xxxxx:xxxxx@h/a"),
            ("git@host:a", "git@host:a"),
            ("joe:hunter2@nowhere", "xxxxx@nowhere"),
            ("local:x", "local:x"),
            (
                "https://h/a?x=1&X-Amz-Signature=abc#main",
                "https://h/a?x=1&X-Amz-Signature=xxxxx#main",
            ),
            (
                "https://h?access_to%6ben=a=b&c",
                "https://h?access_to%6ben=xxxxx&c",
            ),
            (
                "https://h/a.git?branch=m&subdir=d",
                "https://h/a.git?branch=m&subdir=d",
            ),
            ("https://h/%zz?%=1", "https://h/%zz?%=1"),
        ] {
            assert_eq!(redact(given), told);
        }
    }
}
