//! Text with positions and findings about it, as plain data.
//!
//! A [`Source`] is a named text; a [`Span`] is a byte range of it; a [`Diagnostic`] is a finding
//! that points at one or more spans and may carry hints. Nothing here prints: [`render`] turns a
//! finding into text in BuildKit's excerpt form, the caller decides where it goes.

mod excerpt;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub use excerpt::render;

/// A text that findings point into.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name people know the text by: a path as the user wrote it.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
    /// Where its lines start, found out by the first who asks: a text may have thousands of
    /// findings, all with a place.
    starts: Arc<OnceLock<Vec<usize>>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

impl Source {
    /// Names a text.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            starts: Arc::default(),
        }
    }

    /// Gives the line and column, both from 1, of a byte offset. Columns count characters.
    ///
    /// An offset behind the end means the end; one inside a character means that character.
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let starts = self.starts();
        // The first line starts at 0, so there is always one that does.
        let line = starts.partition_point(|&start| start <= offset);
        let start = starts[line - 1];
        Position {
            line,
            column: self.text[start..offset].chars().count() + 1,
        }
    }

    /// Gives the text of a line (from 1), without its line end; `None` behind the end.
    pub fn line(&self, number: usize) -> Option<&str> {
        let starts = self.starts();
        let start = *starts.get(number.checked_sub(1)?)?;
        // The next one starts behind this one's line end.
        let end = starts.get(number).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    fn starts(&self) -> &[usize] {
        self.starts.get_or_init(|| {
            let ends = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(ends).collect()
        })
    }
}

/// A place in a text, both numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A byte range of a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
}

impl Span {
    /// Makes a span; `end` is never before `start`.
    pub fn new(start: usize, end: usize) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn to(self, other: Span) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably a mistake.
    Warning,
    /// The work cannot go on.
    Error,
}

/// A finding about a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// A stable name for the kind of finding (a lint rule's name), if it has one.
    pub rule: Option<&'static str>,
    /// What is wrong: a lower-case phrase without a full stop.
    pub message: String,
    /// Where, if the finding has a place.
    pub label: Option<Label>,
    /// What to do about it, each a sentence of its own.
    pub hints: Vec<String>,
}

/// The place a finding points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The text.
    pub source: Source,
    /// The part of it.
    pub span: Span,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// A warning without a place yet.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            rule: None,
            message: message.into(),
            label: None,
            hints: Vec::new(),
        }
    }

    /// Points the finding at a place.
    #[must_use]
    pub fn at(mut self, source: &Source, span: Span) -> Self {
        self.label = Some(Label {
            source: source.clone(),
            span,
        });
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The place the finding starts at, if it has one.
    pub fn position(&self) -> Option<Position> {
        self.label
            .as_ref()
            .map(|label| label.source.position(label.span.start))
    }
}

impl std::fmt::Display for Diagnostic {
    /// One line: `name:line:column: message`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(label), Some(position)) = (&self.label, self.position()) {
            write!(
                f,
                "{}:{}:{}: ",
                label.source.name, position.line, position.column
            )?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_counts_characters_not_bytes() {
        let source = Source::new("f", "a\nöx");
        assert_eq!(source.position(4), Position { line: 2, column: 2 });
        assert_eq!(source.position(99), Position { line: 2, column: 3 });
        assert_eq!(
            source.position(3),
            Position { line: 2, column: 1 },
            "inside the ö"
        );
    }

    #[test]
    fn line_drops_line_ends() {
        let source = Source::new("f", "one\r\ntwo\n");
        assert_eq!(source.line(1), Some("one"));
        assert_eq!(source.line(2), Some("two"));
        assert_eq!(source.line(3), Some(""));
        assert_eq!(source.line(4), None);
        assert_eq!(source.line(0), None);
        assert_eq!(Source::new("f", "").line(1), Some(""));
    }

    #[test]
    fn lines_are_counted_once_for_all_findings() {
        let source = Source::new("f", "one\ntwo");
        let finding = Diagnostic::error("x").at(&source, Span::new(4, 5));
        assert_eq!(finding.position(), Some(Position { line: 2, column: 1 }));
        assert_eq!(source.starts.get(), Some(&vec![0, 4]));
        assert_eq!(source, Source::new("f", "one\ntwo"));
    }

    #[test]
    fn display_is_one_clickable_line() {
        let source = Source::new("cairn.toml", "a = 1\nb = 2\n");
        let finding = Diagnostic::error("unknown key `b`").at(&source, Span::new(6, 7));
        assert_eq!(finding.to_string(), "cairn.toml:2:1: unknown key `b`");
    }
}
