//! Findings as commands of GitHub's workflows, which it shows beside the code of a change.

use cairn_diagnostic::{Diagnostic, Source, Span};
use cairn_dockerfile::lint::Level;

use super::subject::Checked;

/// One line for each finding.
pub fn annotations(checked: &[Checked], refused: &[Diagnostic]) -> String {
    let mut out = String::new();
    for file in checked {
        for finding in &file.findings {
            let command = match finding.level {
                Level::Info => "notice",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            let place = place(&file.source, finding.span);
            let title = property(finding.rule.name);
            let message = message(&finding.detail);
            out.push_str(&format!("::{command} {place},title={title}::{message}\n"));
        }
    }
    for error in refused {
        let place = error
            .label
            .as_ref()
            .map(|label| format!(" {}", place(&label.source, label.span)));
        let message = message(&error.message);
        out.push_str(&format!(
            "::error{}::{message}\n",
            place.unwrap_or_default()
        ));
    }
    out
}

fn place(source: &Source, span: Span) -> String {
    let start = source.position(span.start);
    let end = source.position(span.end);
    let file = source.name.strip_prefix("./").unwrap_or(&source.name);
    let mut place = format!(
        "file={},line={},endLine={}",
        property(file),
        start.line,
        end.line
    );
    // Columns are understood only within one line.
    if start.line == end.line {
        place.push_str(&format!(",col={},endColumn={}", start.column, end.column));
    }
    place
}

/// A command ends at the line's end; these stand for what would end it.
fn message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// In a property, what separates properties is written so, too.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_line() {
        assert_eq!(message("50%\n::error::x\r"), "50%25%0A::error::x%0D");
        assert_eq!(property("a,b:c\n"), "a%2Cb%3Ac%0A");
        let source = Source::new("./a,b", "FROM x\nRUN y\n");
        assert_eq!(
            place(&source, Span::new(7, 12)),
            "file=a%2Cb,line=2,endLine=2,col=1,endColumn=6"
        );
        assert_eq!(
            place(&source, Span::new(0, 12)),
            "file=a%2Cb,line=1,endLine=2"
        );
    }
}
