//! Places and texts as BuildKit writes them in its answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_diagnostic::{Source, Span};
use serde::Serialize;

/// The lines that something stands on.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    ranges: Vec<Range>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Range {
    start: Place,
    end: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Place {
    line: usize,
}

impl Location {
    /// One range for each line, as BuildKit has them.
    pub fn of(source: &Source, span: Span) -> Self {
        let first = source.position(span.start).line;
        let last = source.position(span.end).line;
        let range = |line| Range {
            start: Place { line },
            end: Place { line },
        };
        Self {
            ranges: (first..=last).map(range).collect(),
        }
    }
}

/// The bytes of a text as JSON holds them.
pub fn bytes(source: &Source) -> String {
    STANDARD.encode(source.text.as_bytes())
}

/// The name of a file without where it lies.
pub fn file_name(source: &Source) -> &str {
    source.name.rsplit('/').next().unwrap_or(&source.name)
}
