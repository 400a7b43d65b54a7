//! Wildcards and pattern lists, applied to paths of a source.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use cairn_dockerfile::glob::Glob;
use cairn_dockerfile::ignore::{self, Matched};

use super::error::SelectError;

/// Whether a path is a wildcard: `\` takes the meaning of the character behind it.
pub(super) fn has_wildcards(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// One component of a wildcard.
pub(super) fn name_pattern(pattern: &OsStr) -> Result<Glob, SelectError> {
    let pattern = pattern.to_string_lossy();
    Glob::parse(&pattern).map_err(|error| SelectError::Pattern {
        pattern: pattern.into_owned(),
        reason: error.to_string(),
    })
}

/// Patterns that hide paths of a source.
///
/// `--exclude` hides what matches. `--parents` hides everything, and its pattern takes back what
/// matches: both are lists in the language of `.dockerignore`.
#[derive(Debug)]
pub(super) struct Hiding(Option<ignore::Patterns>);

impl Hiding {
    /// Hides what `--exclude` patterns match.
    pub(super) fn excluded<S: AsRef<str>>(patterns: &[S]) -> Result<Self, SelectError> {
        if patterns.is_empty() {
            return Ok(Self::nothing());
        }
        let parsed = ignore::Patterns::from_flags(patterns.iter().map(AsRef::as_ref));
        let list = || {
            let texts: Vec<&str> = patterns.iter().map(AsRef::as_ref).collect();
            texts.join(" ")
        };
        parsed
            .map(|patterns| Self(Some(patterns)))
            .map_err(|error| SelectError::Pattern {
                pattern: list(),
                reason: error.to_string(),
            })
    }

    /// Hides everything that does not match a pattern and is not below something that does.
    pub(super) fn all_but(pattern: &Path) -> Result<Self, SelectError> {
        Self::excluded(&["**".to_owned(), format!("!{}", pattern.display())])
    }

    /// Hides nothing.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Whether it hides a path, seen alone.
    pub(super) fn hides(&self, path: &Path) -> bool {
        self.0
            .as_ref()
            .is_some_and(|patterns| patterns.matches(&text(path)))
    }

    /// Whether it hides a path, given what matched the directory that the path lies in.
    pub(super) fn below(&self, path: &Path, parent: &Matched) -> (bool, Matched) {
        match &self.0 {
            None => (false, Matched::default()),
            Some(patterns) => patterns.below(&text(path), parent),
        }
    }

    /// Whether everything below a hidden directory is hidden too.
    pub(super) fn hides_all_below(&self, path: &Path) -> bool {
        self.0
            .as_ref()
            .is_some_and(|patterns| patterns.can_skip(&text(path)))
    }
}

/// Patterns are text; of a name that is none, the parts that are text can be matched.
fn text(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslash_takes_the_meaning_of_wildcards() {
        assert!(has_wildcards("a*"));
        assert!(has_wildcards("a[[]b"));
        assert!(!has_wildcards(r"a\*b"));
        assert!(!has_wildcards("a/b"));
    }

    #[test]
    fn all_but_a_pattern_lets_through_what_lies_below() {
        let hiding = Hiding::all_but(Path::new("a/*/c")).expect("a pattern");
        assert!(hiding.hides(Path::new("a/b")));
        assert!(!hiding.hides_all_below(Path::new("a/b")));
        assert!(hiding.hides_all_below(Path::new("b")));
        assert!(!hiding.hides(Path::new("a/b/c")));
        assert!(!hiding.hides(Path::new("a/b/c/d/e")));
        assert!(hiding.hides(Path::new("a/b/x/c")));
    }
}
