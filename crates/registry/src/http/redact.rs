//! URLs as they may be shown: no password, no token.
//!
//! Mirrors and signed download links carry secrets in the user part or in query parameters. Every
//! message about a URL goes through [`redact`].

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

/// Returns `url` with the password and secret-looking query values replaced by `***`.
///
/// Text that is no URL comes back without anything before an `@`, because what cannot be parsed
/// must not be trusted to hold no secret.
#[must_use]
pub fn redact(url: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok().filter(reqwest::Url::has_host);
    let Some(mut parsed) = parsed else {
        return match url.rsplit_once('@') {
            Some((_, rest)) => format!("***@{rest}"),
            None => url.to_owned(),
        };
    };
    if parsed.password().is_some() {
        // A URL that has a password has a host, so setting it cannot fail.
        let _ = parsed.set_password(Some("***"));
    }
    if parsed.query().is_some() {
        let pairs: Vec<(String, String)> = parsed
            .query_pairs()
            .map(|(name, value)| {
                let shown = if is_secret(&name) {
                    "***".to_owned()
                } else {
                    value.into_owned()
                };
                (name.into_owned(), shown)
            })
            .collect();
        parsed.query_pairs_mut().clear().extend_pairs(pairs);
    }
    parsed.to_string()
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| lower.contains(part))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_and_tokens_are_hidden() {
        let cases = [
            (
                "https://example.org/pool/a.deb",
                "https://example.org/pool/a.deb",
            ),
            (
                "https://joe:hunter2@example.org/a",
                "https://joe:***@example.org/a",
            ),
            (
                "https://example.org/a?x=1&X-Amz-Signature=abc",
                "https://example.org/a?x=1&X-Amz-Signature=***",
            ),
            (
                "https://example.org/a?access_token=abc",
                "https://example.org/a?access_token=***",
            ),
            ("joe:hunter2@nowhere", "***@nowhere"),
        ];
        for (given, expected) in cases {
            assert_eq!(redact(given), expected);
        }
    }
}
