//! The wildcards of `COPY` and `ADD` sources: Go's `filepath.Match`.
//!
//! `*` and `?` never match `/`, `[a-z]` and `[^a]` are classes, `\` takes the meaning from the next
//! character, and `**` means no more than `*`. Names that are no UTF-8 are matched by their lossy
//! form.

/// A pattern that is none: a class that does not end, a `\` at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern {0:?}")]
pub struct GlobError(pub String);

/// A pattern for whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// `*`
    Star,
    /// `?`
    Any,
    /// `[...]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// A character that means itself.
    Char(char),
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        tokens(pattern)
            .map(|tokens| Self { tokens })
            .ok_or_else(|| GlobError(pattern.to_owned()))
    }

    /// Whether a path matches from its first to its last character.
    pub fn matches(&self, path: &str) -> bool {
        // On a mismatch only the last star has to be tried again, one character longer: what an
        // earlier one could take in addition, the last can take as well. A star stops at `/`, so
        // when the last cannot grow, no other can help.
        let text: Vec<char> = path.chars().collect();
        let (mut at, mut token) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    retry = Some((at, token));
                    continue;
                }
                Some(one) if text.get(at).is_some_and(|&ch| one.takes(ch)) => {
                    at += 1;
                    token += 1;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match retry {
                Some((from, after)) if text.get(from).is_some_and(|&ch| ch != '/') => {
                    at = from + 1;
                    token = after;
                    retry = Some((at, token));
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    fn takes(&self, ch: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => ch != '/',
            Self::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&ch)) != *negated
            }
            Self::Char(own) => *own == ch,
        }
    }
}

/// Whether a path has an unescaped `*`, `?` or `[`.
pub fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(ch) = chars.next() {
        match ch {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// Splits a path before its first component with a wildcard: where to look, and what to match
/// the paths below with. The second part is empty if there is no wildcard.
pub fn split_wildcards(path: &str) -> (&str, &str) {
    let mut start = 0;
    for component in path.split('/') {
        if has_wildcards(component) {
            return (path[..start].trim_end_matches('/'), &path[start..]);
        }
        start += component.len() + 1;
    }
    (path, "")
}

/// Cuts a pattern into tokens; `None` if it is none.
pub(crate) fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        tokens.push(match ch {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next()?),
            other => Token::Char(other),
        });
    }
    Some(tokens)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn class(chars: &mut Chars<'_>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut Chars<'_>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        let glob = Glob::parse(pattern).unwrap();
        assert_eq!(glob.matches(path), expected, "{pattern} on {path}");
    }

    #[test]
    fn stars_stop_at_slashes() {
        check("*.go", "a.go", true);
        check("*.go", "a/b.go", false);
        check("*/*.go", "a/b.go", true);
        check("**", "a/b", false);
        check("a*b*c", "axxbyybzc", true);
        check("a*b", "a/b", false);
        check("*a*b", "xa/ab", false);
        check("", "", true);
        check("*", "", true);
    }

    #[test]
    fn classes_and_escapes() {
        check("[a-c]x", "bx", true);
        check("[^a-c]x", "bx", false);
        check("[^a-c]x", "dx", true);
        check("\\*", "*", true);
        check("\\*", "x", false);
        check("[\\]a]", "]", true);
        check("?", "ö", true);
        check("a?c", "a/c", false);
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for bad in ["[", "[]", "[a", "a\\", "[-]", "[a-]", "[^]"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn splits_at_the_first_wildcard() {
        assert_eq!(split_wildcards("a/b/*.c"), ("a/b", "*.c"));
        assert_eq!(split_wildcards("/x*/y"), ("", "x*/y"));
        assert_eq!(split_wildcards("a\\*/b"), ("a\\*/b", ""));
        assert_eq!(split_wildcards("*"), ("", "*"));
    }
}
