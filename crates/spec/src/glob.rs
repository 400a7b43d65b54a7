//! Globs over paths and branch names.
//!
//! `*` and `?` stand for characters of one part, `**` for any number of parts. A glob that means
//! a folder means all in it.

/// The first character of a glob that means something to other programs, and nothing here.
pub fn unknown(glob: &str) -> Option<char> {
    glob.chars()
        .find(|c| matches!(c, '[' | ']' | '{' | '}' | '!'))
}

/// Whether a glob means this path, or a folder above it.
pub fn matches(glob: &str, path: &str) -> bool {
    let glob: Vec<&str> = parts(glob).collect();
    let path: Vec<&str> = parts(path).collect();
    (1..=path.len()).any(|length| parts_match(&glob, &path[..length]))
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
}

/// All parts against all of a glob: a `**` is tried short first and widened from the last one,
/// since what an earlier one could take in addition, the last can take as well.
fn parts_match(glob: &[&str], path: &[&str]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut deep: Option<(usize, usize)> = None;
    while read < path.len() {
        match glob.get(at) {
            Some(&"**") => {
                deep = Some((at, read));
                at += 1;
            }
            Some(pattern) if one_part_matches(pattern, path[read]) => {
                (at, read) = (at + 1, read + 1);
            }
            _ => match deep {
                Some((deep_at, taken)) => {
                    deep = Some((deep_at, taken + 1));
                    (at, read) = (deep_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|pattern| *pattern == "**")
}

fn one_part_matches(pattern: &str, part: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let part: Vec<char> = part.chars().collect();
    part_matches(&pattern, &part)
}

/// One part against one pattern: a `*` is tried short first and widened from the last one.
fn part_matches(glob: &[char], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some('?') => (at, read) = (at + 1, read + 1),
            Some(c) if *c == text[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, read) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_mean_files_and_folders() {
        for (glob, path) in [
            ("docs", "docs/a/b.md"),
            ("./docs/", "docs/a"),
            ("*.md", "README.md"),
            ("**/*.md", "a/b/c.md"),
            ("**/*.md", "c.md"),
            ("images/*/test", "images/x/test/a.py"),
            ("release/*", "release/1.2"),
            ("a?c*e", "abcde"),
            ("*a*b", "xxaxxbxxb"),
            ("**", "anything/at/all"),
        ] {
            assert!(matches(glob, path), "{glob} {path}");
        }
        for (glob, path) in [
            ("docs", "doc"),
            ("*.md", "a/README.md"),
            ("docs", "x/docs"),
            ("images/*/test", "images/x/y/test"),
            ("", "a"),
            ("*a*b", "xxaxxbc"),
        ] {
            assert!(!matches(glob, path), "{glob} {path}");
        }
    }

    #[test]
    fn what_is_no_glob_here_is_found() {
        for (glob, found) in [
            ("[bad", Some('[')),
            ("*.{a,b}", Some('{')),
            ("!a", Some('!')),
        ] {
            assert_eq!(unknown(glob), found, "{glob}");
        }
        assert_eq!(unknown("**/a?b*/c-d.e"), None);
    }

    #[test]
    fn many_deep_stars_take_no_time() {
        let glob = "**/a/".repeat(40) + "z";
        let path = "a/".repeat(200) + "b";
        assert!(!matches(&glob, &path));
        assert!(matches(&"**/a/".repeat(40), &path));
        assert!(matches("**/b", "a/a/b") && matches("a/**", "a/b/c") && matches("a/**/c", "a/c"));
    }
}
