//! Physical lines to logical ones: continuations joined, comments and blank lines inside dropped.
//!
//! A [`Line`] keeps where each of its pieces came from, so that any part of it has a [`Span`].

use std::ops::Range;

use cairn_diagnostic::Span;

/// An instruction's text on one line, with the way back to the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    text: String,
    /// Where a piece starts in `text`, and where it starts in the source.
    pieces: Vec<(usize, usize)>,
}

impl Line {
    fn push(&mut self, source: &str, range: Range<usize>) {
        self.pieces.push((self.text.len(), range.start));
        self.text.push_str(&source[range]);
    }

    /// The whole line.
    pub(crate) fn all(&self) -> Part<'_> {
        Part {
            line: self,
            start: 0,
            end: self.text.len(),
        }
    }

    /// The source offset of a byte of the line.
    fn offset(&self, at: usize) -> usize {
        let piece = self.pieces.partition_point(|&(start, _)| start <= at);
        match piece
            .checked_sub(1)
            .and_then(|piece| self.pieces.get(piece))
        {
            Some(&(start, source)) => source + (at - start),
            None => 0,
        }
    }
}

/// A part of a line that knows its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    line: &'a Line,
    start: usize,
    end: usize,
}

impl<'a> Part<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// A part of this part, by its own offsets.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        Self {
            line: self.line,
            start: self.start + range.start,
            end: self.start + range.end,
        }
    }

    /// From an offset to the end.
    pub(crate) fn from(self, at: usize) -> Self {
        self.part(at..self.as_str().len())
    }

    pub(crate) fn trim_start(self) -> Self {
        let text = self.as_str();
        self.from(text.len() - text.trim_start().len())
    }

    pub(crate) fn trim(self) -> Self {
        let start = self.trim_start();
        start.part(0..start.as_str().trim_end().len())
    }

    /// The place in the source; an empty part has an empty span.
    pub(crate) fn span(self) -> Span {
        let start = self.line.offset(self.start);
        let Some(last) = self.as_str().chars().next_back() else {
            return Span::new(start, start);
        };
        Span::new(
            start,
            self.line.offset(self.end - last.len_utf8()) + last.len_utf8(),
        )
    }
}

/// A physical line: its bytes without and with the line end.
#[derive(Debug, Clone)]
pub(crate) struct PhysicalLine {
    /// Without the line end.
    pub(crate) text: Range<usize>,
    /// With the line end.
    pub(crate) full: Range<usize>,
}

/// A logical line, or a stretch without instructions.
#[derive(Debug)]
pub(crate) struct Logical {
    pub(crate) line: Line,
    /// Whether a blank line stood inside a continuation.
    pub(crate) has_blank_continuation: bool,
    /// The last physical line, without its end.
    pub(crate) last: Range<usize>,
}

/// Reads physical lines one after the other.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    /// Starts at the top, behind a byte order mark.
    pub(crate) fn new(source: &'a str) -> Self {
        let at = if source.starts_with('\u{feff}') { 3 } else { 0 };
        Self { source, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next physical line.
    pub(crate) fn next_physical(&mut self) -> Option<PhysicalLine> {
        let rest = &self.source[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let full = self.at..self.at + length;
        let trimmed = rest[..length].trim_end_matches(['\n', '\r']).len();
        self.at = full.end;
        Some(PhysicalLine {
            text: full.start..full.start + trimmed,
            full,
        })
    }

    /// Completes the logical line that starts with a physical one.
    pub(crate) fn join(&mut self, first: &PhysicalLine, escape: char) -> Logical {
        let mut logical = Logical {
            line: Line::default(),
            has_blank_continuation: false,
            last: first.text.clone(),
        };
        let indent = self.indent(&first.text);
        let (range, mut continues) =
            self.continuation(first.text.start + indent..first.text.end, escape);
        logical.line.push(self.source, range);
        while continues {
            let Some(next) = self.next_physical() else {
                break;
            };
            logical.last = next.text.clone();
            if self.is_comment(&next.text) {
                continue;
            }
            if self.source[next.text.clone()].trim_start().is_empty() {
                logical.has_blank_continuation = true;
                continue;
            }
            let (range, more) = self.continuation(next.text, escape);
            logical.line.push(self.source, range);
            continues = more;
        }
        logical
    }

    /// Whether a line is a comment, indented or not.
    pub(crate) fn is_comment(&self, range: &Range<usize>) -> bool {
        self.source[range.clone()].trim_start().starts_with('#')
    }

    fn indent(&self, range: &Range<usize>) -> usize {
        let text = &self.source[range.clone()];
        text.len() - text.trim_start().len()
    }

    /// Cuts a continuation mark off; a mark that is itself escaped is none.
    fn continuation(&self, range: Range<usize>, escape: char) -> (Range<usize>, bool) {
        let text = &self.source[range.clone()];
        let Some(before) = text.trim_end_matches([' ', '\t']).strip_suffix(escape) else {
            return (range, false);
        };
        if before.ends_with(escape) {
            return (range, false);
        }
        (range.start..range.start + before.len(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(source: &str) -> Logical {
        let mut lines = Lines::new(source);
        let first = lines.next_physical().unwrap();
        lines.join(&first, '\\')
    }

    #[test]
    fn joins_and_maps_back() {
        let source = "  RUN a \\\n# gone\n\n  b\\  \r\nc";
        let joined = logical(source);
        let all = joined.line.all();
        assert_eq!(all.as_str(), "RUN a   bc");
        assert!(joined.has_blank_continuation);
        for (at, expected) in [(0, 'R'), (8, 'b'), (9, 'c')] {
            let span = all.part(at..at + 1).span();
            assert_eq!(&source[span.start..span.end], expected.to_string());
        }
        let span = all.span();
        assert_eq!((span.start, span.end), (2, source.len()));
    }

    #[test]
    fn an_escaped_mark_is_text() {
        assert_eq!(logical("RUN a\\\\\nb").line.all().as_str(), "RUN a\\\\");
        assert_eq!(logical("\\\nb").line.all().as_str(), "b");
        assert_eq!(logical("RUN a \\").line.all().as_str(), "RUN a ");
    }
}
