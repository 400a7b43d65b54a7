//! What a registry asks for with `401`: the `WWW-Authenticate` header.

use std::collections::BTreeMap;

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A user and a password with every request.
    Basic,
    /// A token of the service at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Reads the header's value; tokens are preferred to passwords.
pub(crate) fn parse(headers: &[&str]) -> Option<Challenge> {
    let mut is_basic = false;
    for header in headers {
        for (scheme, mut fields) in schemes(header) {
            if scheme.eq_ignore_ascii_case("basic") {
                is_basic = true;
            }
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = fields.remove("realm")
            {
                return Some(Challenge::Bearer {
                    realm,
                    service: fields.remove("service"),
                    scope: fields.remove("scope"),
                });
            }
        }
    }
    is_basic.then_some(Challenge::Basic)
}

/// Splits `Bearer realm="x",scope="y" , Basic realm="z"` into schemes with their fields.
fn schemes(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let word = &rest[..end];
        let after = rest[end..].trim_start_matches(' ');
        if let (Some(value), Some((_, fields))) = (after.strip_prefix('='), found.last_mut()) {
            let (value, left) = value_of(value.trim_start_matches(' '));
            fields.insert(word.to_ascii_lowercase(), value);
            rest = left.trim_start_matches([' ', ',']);
        } else {
            if !word.is_empty() {
                found.push((word.to_owned(), BTreeMap::new()));
            }
            // A stray sign is passed over.
            let skipped = if word.is_empty() { 1 } else { 0 };
            rest = after
                .get(skipped..)
                .unwrap_or("")
                .trim_start_matches([' ', ',']);
        }
    }
    found
}

/// A value, quoted or bare, and what comes behind it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut signs = quoted.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(signs.next().map(|(_, sign)| sign)),
            sign => value.push(sign),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn schemes_and_their_fields_are_found() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse(&[hub]),
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push")
            )
        );
        assert_eq!(parse(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(parse(&["basic"]), Some(Challenge::Basic));
        assert_eq!(
            parse(&["Basic realm=\"a, b\", bearer  realm = https://t/x , service=s"]),
            bearer("https://t/x", Some("s"), None)
        );
        assert_eq!(
            parse(&["Basic", "Bearer realm=\"q\\\"q\""]),
            bearer("q\"q", None, None)
        );
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for text in ["", "Bearer", "Digest realm=\"x\"", ",=,\"", "Bearer realm"] {
            assert_eq!(parse(&[text]), None, "{text}");
        }
    }
}
