//! One pattern of an ignore file.

use regex::Regex;

use super::IgnoreError;
use crate::glob::{self, Glob, Token};

/// One pattern, `!` taken away and cleaned.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    is_exception: bool,
    line: Option<usize>,
    matcher: Matcher,
}

/// The way a path is compared. The three plain ones are moby's shortcuts, and differ from what
/// the general form would say: `**foo` matches any name that ends in `foo`.
#[derive(Debug, Clone)]
enum Matcher {
    Exact,
    Prefix,
    Suffix,
    Regex(Box<Regex>),
}

impl Pattern {
    pub(super) fn new(
        text: &str,
        is_exception: bool,
        line: Option<usize>,
    ) -> Result<Self, IgnoreError> {
        let syntax = || IgnoreError::Syntax {
            text: text.to_owned(),
            line,
        };
        let tokens = glob::tokens(text).ok_or_else(syntax)?;
        Ok(Self {
            text: text.to_owned(),
            is_exception,
            line,
            matcher: matcher(text, &tokens).ok_or_else(syntax)?,
        })
    }

    /// The pattern as cleaned, without its `!`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it takes paths back (`!`).
    pub fn is_exception(&self) -> bool {
        self.is_exception
    }

    /// The line it stands on, from 1, if it came from a file.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Whether it matches exactly this path; the directories above are the caller's matter.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => path == self.text,
            Matcher::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            Matcher::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    /// Whether it may match something below a directory; `true` when in doubt.
    pub(super) fn may_match_below(&self, directory: &str) -> bool {
        if self.text.contains('[') {
            // A class may hold or match a `/`, so its components say nothing.
            return true;
        }
        let mut components = self.text.split('/');
        for part in directory.split('/') {
            match components.next() {
                None => return false,
                Some(component) if component.contains("**") => return true,
                Some(component) => {
                    let is_match = Glob::parse(component).is_ok_and(|glob| glob.matches(part));
                    if !is_match {
                        return false;
                    }
                }
            }
        }
        components.next().is_some()
    }
}

fn matcher(text: &str, tokens: &[Token]) -> Option<Matcher> {
    let mut regex = String::from("^");
    let mut kind = Kind::Exact;
    // An escape makes a regular expression of what would be a plain text.
    if text.contains('\\') {
        kind = Kind::Regex;
    }
    let mut rest = tokens;
    while let Some((token, mut after)) = rest.split_first() {
        let is_first = rest.len() == tokens.len();
        match token {
            Token::Star if after.first() == Some(&Token::Star) => {
                after = &after[1..];
                if let Some((Token::Char('/'), behind)) = after.split_first() {
                    after = behind;
                }
                match (after.is_empty(), kind) {
                    (true, Kind::Exact) => kind = Kind::Prefix,
                    (true, _) => {
                        regex.push_str("(?s:.*)");
                        kind = Kind::Regex;
                    }
                    (false, _) => {
                        regex.push_str("(?s:.*/)?");
                        kind = Kind::Regex;
                    }
                }
                if is_first && !text.contains('\\') {
                    kind = Kind::Suffix;
                }
            }
            Token::Star => {
                regex.push_str("[^/]*");
                kind = Kind::Regex;
            }
            Token::Any => {
                regex.push_str("[^/]");
                kind = Kind::Regex;
            }
            Token::Class { negated, ranges } => {
                push_class(&mut regex, *negated, ranges)?;
                kind = Kind::Regex;
            }
            Token::Char(ch) => regex.push_str(&regex::escape(ch.encode_utf8(&mut [0; 4]))),
        }
        rest = after;
    }
    regex.push('$');
    Some(match kind {
        Kind::Exact => Matcher::Exact,
        Kind::Prefix => Matcher::Prefix,
        Kind::Suffix => Matcher::Suffix,
        Kind::Regex => Matcher::Regex(Box::new(Regex::new(&regex).ok()?)),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

fn push_class(regex: &mut String, negated: bool, ranges: &[(char, char)]) -> Option<()> {
    regex.push_str(if negated { "[^" } else { "[" });
    for &(low, high) in ranges {
        // The wrong way round it is an error in moby too, found when the pattern is first used.
        if low > high {
            return None;
        }
        regex.push_str(&format!(
            "\\x{{{:x}}}-\\x{{{:x}}}",
            u32::from(low),
            u32::from(high)
        ));
    }
    regex.push(']');
    Some(())
}
