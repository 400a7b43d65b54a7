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

/// What stands in the place of a password where the user is the token.
const FILLERS: [&str; 5] = ["x-oauth-basic", "api_token", "oauth2", "x", "token"];

/// No user has a name this long; tokens do.
const TOKEN_LENGTH_MIN: usize = 24;

/// Returns `url` with the password and secret-looking query values replaced by `***`. On the web a
/// user without a password is most often a token, and hidden as well.
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
    // A URL with a host can have a user and a password, so setting them cannot fail.
    if let Some(password) = parsed.password() {
        if FILLERS.contains(&password) || parsed.username().len() >= TOKEN_LENGTH_MIN {
            let _ = parsed.set_username("***");
        }
        let _ = parsed.set_password(Some("***"));
    } else if !parsed.username().is_empty() && parsed.scheme().starts_with("http") {
        let _ = parsed.set_username("***");
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
            (
                "https://ghp_abc@example.org/a.git",
                "https://***@example.org/a.git",
            ),
            (
                "https://tok:x-oauth-basic@example.org/a.git",
                "https://***:***@example.org/a.git",
            ),
            (
                "https://github_pat_11ABCDEFG0123:@example.org/a.git",
                "https://***@example.org/a.git",
            ),
            (
                "https://github_pat_11ABCDEFG0123:ignored@example.org/a.git",
                "https://***:***@example.org/a.git",
            ),
            ("ssh://git@example.org/a", "ssh://git@example.org/a"),
            ("joe:hunter2@nowhere", "***@nowhere"),
        ];
        for (given, expected) in cases {
            assert_eq!(redact(given), expected);
        }
    }
}
