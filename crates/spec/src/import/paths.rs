//! Paths inside the tree, and names of images.

pub(super) use crate::written::join;

/// The last part.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// All but the last part; empty for a file of the root.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path from the root, as one from a folder.
pub(super) fn relative(folder: &str, path: &str) -> String {
    let folder: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let path: Vec<&str> = path.split('/').collect();
    let shared = folder.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = folder[shared..].iter().map(|_| "..");
    let parts: Vec<&str> = up.chain(path[shared..].iter().copied()).collect();
    parts.join("/")
}

/// Splits a reference into its name and its tag; a digest is neither.
pub(super) fn name_and_tag(reference: &str) -> (&str, Option<&str>) {
    let reference = reference
        .split_once('@')
        .map_or(reference, |(name, _)| name);
    // Slashes and colons inside `${...}` belong to the variable.
    let mut depth = 0usize;
    let mut colon = None;
    for (at, c) in reference.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => colon = None,
            ':' if depth == 0 && colon.is_none() => colon = Some(at),
            _ => {}
        }
    }
    match colon {
        Some(at) => (&reference[..at], Some(&reference[at + 1..])),
        None => (reference, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_put_together() {
        assert_eq!(join("docker", "../base/./Dockerfile"), "base/Dockerfile");
        assert_eq!(join("", "./"), "");
        assert_eq!(relative("ml", "ml/Dockerfile"), "Dockerfile");
        assert_eq!(relative("", "docker/Dockerfile"), "docker/Dockerfile");
        assert_eq!(
            relative("a/b", "docker/Dockerfile"),
            "../../docker/Dockerfile"
        );
    }

    #[test]
    fn a_tag_is_what_stands_behind_the_name() {
        assert_eq!(name_and_tag("localhost:5000/x"), ("localhost:5000/x", None));
        assert_eq!(name_and_tag("ghcr.io/a/b:c"), ("ghcr.io/a/b", Some("c")));
        assert_eq!(name_and_tag("a:b@sha256:00"), ("a", Some("b")));
        assert_eq!(
            name_and_tag("gcr.io/${p}/x:${t}"),
            ("gcr.io/${p}/x", Some("${t}"))
        );
    }
}
