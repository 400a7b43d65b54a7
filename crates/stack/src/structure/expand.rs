//! `$NAME` and `${NAME}` in test files, as container-structure-test expands them.
//!
//! One rule differs on purpose. There, a name that the image does not set becomes nothing, and so
//! does `$?`, `$1` or a shell's own variable: `sh -c 'for f in *; do echo $f; done'` runs as
//! `echo `. Here a name that nobody set stays as it is written, for the shell to read.

/// Replaces the variables that `lookup` knows.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let (name, length) = name(&rest[at + 1..]);
        match name.and_then(&lookup) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..at + 1 + length]),
        }
        rest = &rest[at + 1 + length..];
    }
    out + rest
}

/// The name after a `$`, and how long it is with its braces.
fn name(text: &str) -> (Option<&str>, usize) {
    if let Some(braced) = text.strip_prefix('{') {
        return match braced.find('}') {
            Some(end) => (Some(&braced[..end]), end + 2),
            None => (None, 0),
        };
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = text.find(|c| !is_name(c)).unwrap_or(text.len());
    match text.starts_with(|c: char| c.is_ascii_digit()) || length == 0 {
        true => (None, 0),
        false => (Some(&text[..length]), length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_replaced_and_others_left_alone() {
        let lookup = |name: &str| match name {
            "FOO" => Some("foo".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let cases = [
            ("$FOO/bin:${FOO}x", "foo/bin:foox"),
            ("a$EMPTY", "a"),
            (
                "$f $? $1 $$ $(pwd) ${f:-x} $",
                "$f $? $1 $$ $(pwd) ${f:-x} $",
            ),
            ("${FOO", "${FOO"),
            ("$FOOD", "$FOOD"),
            ("é$FOOé", "éfooé"),
        ];
        for (text, wanted) in cases {
            assert_eq!(expand(text, lookup), wanted, "{text}");
        }
    }
}
