//! `.dockerignore` files and `--exclude` patterns, as moby's pattern matcher reads them.
//!
//! A path is ignored when a pattern matches it or a directory above it; a later `!pattern` takes
//! it back, and a still later one may ignore it again. `**` stands for any number of directories,
//! `*` and `?` never match `/`.
//!
//! A walker asks top-down with [`Patterns::below`] and hands each directory's [`Matched`] on, so
//! that the directories above are not matched again for each file; [`Patterns::can_skip`] tells
//! when an ignored directory need not be read at all.

mod pattern;

pub use pattern::Pattern;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A lone `!`.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation {
        /// The line it stands on, from 1, if it came from a file.
        line: Option<usize>,
    },
    /// A class that does not end, or a `\` at the end.
    #[error("syntax error in pattern {text:?}")]
    Syntax {
        /// The pattern.
        text: String,
        /// The line it stands on, from 1, if it came from a file.
        line: Option<usize>,
    },
}

/// An ordered list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

/// Which patterns matched a directory or one above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    by_pattern: Vec<bool>,
}

impl Patterns {
    /// Reads the text of a `.dockerignore`.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // Only a `#` in the first column starts a comment.
            if line.starts_with('#') {
                continue;
            }
            let line_text = line.trim();
            let (is_exception, body) = match line_text.strip_prefix('!') {
                Some(body) => (true, body.trim()),
                None => (false, line_text),
            };
            if line_text.is_empty() {
                continue;
            }
            let number = Some(index + 1);
            if body.is_empty() {
                return Err(IgnoreError::LoneExclamation { line: number });
            }
            let clean = clean(body);
            let clean = match clean.strip_prefix('/') {
                Some(relative) if !relative.is_empty() => relative,
                _ => &clean,
            };
            patterns.push(Pattern::new(clean, is_exception, number)?);
        }
        Ok(Self { patterns })
    }

    /// Takes patterns from flags, `!` included.
    pub fn from_flags<S: AsRef<str>>(
        flags: impl IntoIterator<Item = S>,
    ) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for flag in flags {
            let text = flag.as_ref().trim();
            if text.is_empty() {
                continue;
            }
            let clean = clean(text);
            let (is_exception, body) = match clean.strip_prefix('!') {
                Some("") => return Err(IgnoreError::LoneExclamation { line: None }),
                Some(body) => (true, body),
                None => (false, clean.as_str()),
            };
            patterns.push(Pattern::new(body, is_exception, None)?);
        }
        Ok(Self { patterns })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns in order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether a path, relative and with `/`, is ignored.
    pub fn matches(&self, path: &str) -> bool {
        self.deciding(path)
            .is_some_and(|pattern| !pattern.is_exception())
    }

    /// The last pattern that decided about a path: the one that ignores it or took it back.
    ///
    /// The directories above are asked first, as a walker does it. That is more than a short cut:
    /// a `!pattern` that had nothing to take back at a directory says nothing about what lies below
    /// it, so that of `a/*` and `!a` the first wins for `a/b`.
    pub fn deciding(&self, path: &str) -> Option<&Pattern> {
        let mut matched = Matched::default();
        let mut deciding = None;
        for part in ancestors(path) {
            (deciding, matched) = self.decide(part, &matched);
        }
        self.patterns.get(deciding?)
    }

    /// The same for a walker: tells whether the path is ignored, given what matched the directory
    /// it lies in. At the root that is `Matched::default()`.
    pub fn below(&self, path: &str, parent: &Matched) -> (bool, Matched) {
        let (deciding, matched) = self.decide(path, parent);
        let pattern = deciding.and_then(|index| self.patterns.get(index));
        (
            pattern.is_some_and(|pattern| !pattern.is_exception()),
            matched,
        )
    }

    fn decide(&self, path: &str, parent: &Matched) -> (Option<usize>, Matched) {
        let mut is_ignored = false;
        let mut deciding = None;
        let mut matched = Matched {
            by_pattern: vec![false; self.patterns.len()],
        };
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.by_pattern.get(index).copied().unwrap_or(false);
            let is_relevant = pattern.is_exception() == is_ignored;
            if inherited || (is_relevant && pattern.matches(path)) {
                matched.by_pattern[index] = true;
                is_ignored = !pattern.is_exception();
                deciding = Some(index);
            }
        }
        (deciding, matched)
    }

    /// Whether an ignored directory can be left unread: no `!` pattern can match below it.
    pub fn can_skip(&self, directory: &str) -> bool {
        !self
            .patterns
            .iter()
            .any(|pattern| pattern.is_exception() && pattern.may_match_below(directory))
    }
}

/// The directories above a path from the top, then the path.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    above.filter(|part| !part.is_empty()).chain([path])
}

/// Cleans a path by its text alone, as Go's `filepath.Clean`.
pub fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            other => parts.push(other),
        }
    }
    match (is_absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests;
