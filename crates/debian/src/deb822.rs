//! Paragraphs of `Field: value` lines, as in Release, Packages, control and status files.
//!
//! Nothing is copied: an index of fifty megabytes is walked as slices of its text. A value keeps
//! its continuation lines; who wants them folded treats the newline as a blank.

/// Splits a file into its paragraphs.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['\n', '\r']);
        if rest.is_empty() {
            return None;
        }
        let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
        let (paragraph, after) = rest.split_at(end);
        rest = after;
        Some(Paragraph(paragraph))
    })
}

/// One paragraph's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paragraph<'a>(pub &'a str);

impl<'a> Paragraph<'a> {
    /// Returns the value of a field, without the blanks around it; names ignore case.
    #[must_use]
    pub fn field(self, name: &str) -> Option<&'a str> {
        self.fields()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Returns all fields in order; lines that are no field are passed over.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    return None;
                }
                let (field, after) = rest.split_at(field_end(rest));
                rest = after;
                if field.starts_with('#') {
                    continue;
                }
                if let Some((name, value)) = field.split_once(':') {
                    return Some((name, value.trim()));
                }
            }
        })
    }
}

/// Where the field that begins `text` ends, its continuation lines included.
fn field_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = text[from..].find('\n') {
        from += at + 1;
        if !matches!(bytes.get(from), Some(b' ' | b'\t')) {
            return from;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "Package: a\nDepends: b,\n c (>= 1)\nDescription: x\n .\n y\n\n\nPackage: d\n";

    #[test]
    fn paragraphs_are_split_at_blank_lines() {
        let names: Vec<_> = paragraphs(TEXT)
            .map(|p| p.field("package").unwrap())
            .collect();
        assert_eq!(names, ["a", "d"]);
    }

    #[test]
    fn values_keep_their_continuation_lines() {
        let first = paragraphs(TEXT).next().unwrap();
        assert_eq!(first.field("Depends"), Some("b,\n c (>= 1)"));
        assert_eq!(first.field("Missing"), None);
        assert_eq!(first.fields().count(), 3);
    }
}
