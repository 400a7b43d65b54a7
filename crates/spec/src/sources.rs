//! The files a spec is written in, and which of them a place lies in.
//!
//! A spec may include others. So that a value needs to carry no more than a [`Span`], all files
//! lie one behind the other in one row of offsets, the root at 0; a span is a range of that row
//! and lies in one file. [`Sources::locate`] gives the file and the span within it.

use cairn_diagnostic::{Diagnostic, Source, Span};

/// The files of one spec, the root first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SourceFile {
    source: Source,
    /// The folder of the file, by its path from the root's folder; empty for the root's own.
    folder: String,
    /// The offset of its first byte in the row.
    base: usize,
}

impl Sources {
    /// A spec of one file.
    pub fn new(root: Source) -> Self {
        Self {
            files: vec![SourceFile {
                source: root,
                folder: String::new(),
                base: 0,
            }],
        }
    }

    /// Appends a file and gives the offset of its first byte.
    pub(crate) fn add(&mut self, source: Source, folder: String) -> usize {
        let last = &self.files[self.files.len() - 1];
        // One byte between two files: an empty span at an end belongs to one of them only.
        let base = last.base + last.source.text.len() + 1;
        self.files.push(SourceFile {
            source,
            folder,
            base,
        });
        base
    }

    /// The file that people name as the spec.
    pub fn root(&self) -> &Source {
        &self.files[0].source
    }

    /// All files.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().map(|file| &file.source)
    }

    /// The file that a span lies in, and the span within its text.
    pub fn locate(&self, span: Span) -> (&Source, Span) {
        let file = self.file(span);
        let within = Span::new(span.start - file.base, span.end.saturating_sub(file.base));
        (&file.source, within)
    }

    /// Points a finding at a place.
    #[must_use]
    pub fn point(&self, finding: Diagnostic, span: Span) -> Diagnostic {
        let (source, span) = self.locate(span);
        finding.at(source, span)
    }

    /// The name of the file and the line of a place.
    pub fn line(&self, span: Span) -> (&str, usize) {
        let (source, span) = self.locate(span);
        (&source.name, source.position(span.start).line)
    }

    /// The folder of the file that a span lies in; empty for the root's own.
    pub(crate) fn folder(&self, span: Span) -> &str {
        &self.file(span).folder
    }

    fn file(&self, span: Span) -> &SourceFile {
        let behind = self.files.partition_point(|file| file.base <= span.start);
        &self.files[behind.saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_in_one_file() {
        let mut sources = Sources::new(Source::new("a", "one\ntwo"));
        let base = sources.add(Source::new("sub/b", "three\n\nfour"), "sub".to_owned());
        assert_eq!(sources.line(Span::new(4, 5)), ("a", 2));
        assert_eq!(
            sources.line(Span::new(7, 7)),
            ("a", 2),
            "the end of the first"
        );
        assert_eq!(sources.line(Span::new(base, base)), ("sub/b", 1));
        assert_eq!(sources.line(Span::new(base + 7, base + 8)), ("sub/b", 3));
        assert_eq!(sources.folder(Span::new(base, base + 1)), "sub");
        assert_eq!(sources.folder(Span::default()), "");
    }
}
