//! Whether a text can name an image, by the grammar of image references.

use std::sync::LazyLock;

use regex::Regex;

const COMPONENT: &str = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
const LABEL: &str = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";

static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let domain = format!("(?:{LABEL}(?:[.]{LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?");
    let path = format!("{COMPONENT}(?:/{COMPONENT})*");
    let tag = "[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    Regex::new(&format!("^(?:{domain}/)?{path}(?::{tag})?(?:@{digest})?$")).ok()
});

/// An image id is no name.
const ID_LENGTH: usize = 64;

/// Whether a text can stand in `FROM`, as a name in a registry or of a stage.
pub(super) fn is_valid(text: &str) -> bool {
    let is_id = text.len() == ID_LENGTH
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    !is_id && REFERENCE.as_ref().is_none_or(|regex| regex.is_match(text))
}

/// The parts of a name: repository, tag, digest.
pub(super) fn parts(name: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag), digest),
        _ => (name, None, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for name in [
            "debian",
            "debian:13-slim",
            "docker.io/library/busybox",
            "127.0.0.1:5055/library/alpine",
            "localhost/a__b/c-d:1.0_x",
            "[::1]:5000/a",
            "ghcr.io/x/y@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert!(is_valid(name), "{name}");
        }
        for name in [
            "",
            "debian:",
            ":x",
            "a b",
            "Debian",
            "a//b",
            "a/-b",
            &"0".repeat(64),
        ] {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn names_have_parts() {
        assert_eq!(parts("a:5000/b"), ("a:5000/b", None, None));
        assert_eq!(parts("a:5000/b:c@d"), ("a:5000/b", Some("c"), Some("d")));
    }
}
