//! Addresses without the logins in them.

/// What stands in place of a name or a password, as with BuildKit.
const HIDDEN: &str = "xxxxx";

/// An address as it may be told: a login in it is replaced. What is no address stays as it is.
pub fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..host_end].rfind('@') else {
        return text.to_owned();
    };
    let login = match rest[..at].contains(':') {
        true => format!("{HIDDEN}:{HIDDEN}"),
        false => HIDDEN.to_owned(),
    };
    format!("{scheme}://{login}{}", &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_replaced_and_nothing_else() {
        for (given, told) in [
            ("https://u:p@h/a.git#v1", "https://xxxxx:xxxxx@h/a.git#v1"),
            ("https://token@h/a", "https://xxxxx@h/a"),
            ("https://h/a@b", "https://h/a@b"),
            ("git@host:a", "git@host:a"),
            ("local:x", "local:x"),
            ("http://u:p@h", "http://xxxxx:xxxxx@h"),
        ] {
            assert_eq!(without_login(given), told);
        }
    }
}
