//! Parser directives: `# key=value` lines that count only at the very top.

use cairn_diagnostic::Span;

use crate::ast::{Directives, Word};

/// A directive that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// The same directive again.
    #[error("only one {0} parser directive can be used")]
    Twice(String),
    /// An escape character that is none.
    #[error("invalid escape token '{0}' does not match ` or \\")]
    Escape(String),
}

/// Reads directives until the first line that is none.
#[derive(Debug, Default)]
pub(crate) struct DirectiveReader {
    pub(crate) directives: Directives,
    has_escape: bool,
    is_done: bool,
}

impl DirectiveReader {
    /// Takes a line without its indentation; says whether it was a directive.
    pub(crate) fn read(&mut self, line: &str, place: Span) -> Result<bool, DirectiveError> {
        if self.is_done {
            return Ok(false);
        }
        let Some((key, value)) = split(line) else {
            self.is_done = true;
            return Ok(false);
        };
        let key = key.to_ascii_lowercase();
        let word = Word::new(value.to_owned(), place);
        let was_set = match key.as_str() {
            "escape" => {
                self.directives.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ if self.has_escape => return Err(DirectiveError::Twice(key)),
                    _ => return Err(DirectiveError::Escape(value.to_owned())),
                };
                std::mem::replace(&mut self.has_escape, true)
            }
            "syntax" => self.directives.syntax.replace(word).is_some(),
            "check" => self.directives.check.replace(word).is_some(),
            _ => {
                self.is_done = true;
                return Ok(false);
            }
        };
        if was_set {
            return Err(DirectiveError::Twice(key));
        }
        Ok(true)
    }
}

/// Splits `# key = value`.
fn split(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = key.starts_with(|ch: char| ch.is_ascii_alphabetic())
        && key.chars().all(|ch| ch.is_ascii_alphanumeric());
    (is_key && !value.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<(Directives, usize), DirectiveError> {
        let mut reader = DirectiveReader::default();
        let mut count = 0;
        for line in lines {
            count += usize::from(reader.read(line, Span::default())?);
        }
        Ok((reader.directives, count))
    }

    #[test]
    fn reads_the_known_ones() {
        let (directives, count) = read(&[
            "# syntax=docker/dockerfile:1",
            "#ESCAPE = `",
            "# check=skip=all",
        ])
        .unwrap();
        assert_eq!(count, 3);
        assert_eq!(directives.escape, '`');
        assert_eq!(directives.check.unwrap().value, "skip=all");
    }

    #[test]
    fn stops_at_anything_else() {
        for line in ["", "# a comment", "# unknown=x", "FROM x", "# escape="] {
            assert_eq!(read(&[line, "# escape=`"]).unwrap().1, 0, "{line:?}");
        }
    }

    #[test]
    fn refuses() {
        assert_eq!(
            read(&["# escape=`", "# escape=`"]),
            Err(DirectiveError::Twice("escape".into()))
        );
        assert_eq!(
            read(&["# escape=x"]),
            Err(DirectiveError::Escape("x".into()))
        );
    }
}
