//! Draws a finding: message, place, the lines around it, and hints.
//!
//! The form is the one BuildKit prints and people know from `docker build`:
//!
//! ```text
//! error: unknown instruction `FORM`
//! Dockerfile:3
//! --------------------
//!    1 |     FROM base
//!    2 |
//!    3 | >>> FORM other
//!      |     ^^^^
//! --------------------
//! hint: did you mean `FROM`?
//! ```

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use crate::{Diagnostic, Label, Severity};

/// Lines shown before and after the marked ones.
const AROUND: usize = 2;
/// A marked part longer than this many lines is cut in its middle.
const MARKED_MAX: usize = 12;
const RULE: &str = "--------------------";

/// Renders a finding as text that ends with a line end and holds no colour.
pub fn render(finding: &Diagnostic) -> String {
    let mut out = String::new();
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let rule = finding
        .rule
        .map(|rule| format!(" [{rule}]"))
        .unwrap_or_default();
    let _ = writeln!(out, "{word}{rule}: {}", finding.message);
    if let Some(label) = &finding.label {
        excerpt(&mut out, label);
    }
    for hint in &finding.hints {
        let _ = writeln!(out, "hint: {hint}");
    }
    out
}

fn excerpt(out: &mut String, label: &Label) {
    let source = &label.source;
    let start = source.position(label.span.start);
    let last_byte = label.span.end.saturating_sub(1).max(label.span.start);
    let end = source.position(last_byte);
    let _ = writeln!(out, "{}:{}", source.name, start.line);
    let _ = writeln!(out, "{RULE}");
    let first = start.line.saturating_sub(AROUND).max(1);
    let width = (end.line + AROUND).to_string().len().max(4);
    for number in first..=end.line + AROUND {
        let Some(text) = source.line(number) else {
            break;
        };
        let marked = (start.line..=end.line).contains(&number);
        if marked && number == start.line + MARKED_MAX && end.line > number {
            let _ = writeln!(out, "{:>width$} | >>> ...", "");
        }
        if marked && number >= start.line + MARKED_MAX && number < end.line {
            continue;
        }
        let mark = if marked { ">>> " } else { "    " };
        let line = format!("{number:>width$} | {mark}{}", text.replace('\t', "    "));
        let _ = writeln!(out, "{}", line.trim_end());
        if marked && start.line == end.line {
            underline(out, label, width, text);
        }
    }
    let _ = writeln!(out, "{RULE}");
}

/// Marks the exact part of a single line, unless it is all of it.
fn underline(out: &mut String, label: &Label, width: usize, line: &str) {
    let source = &label.source;
    let from = source.position(label.span.start).column - 1;
    let to = source.position(label.span.end).column.saturating_sub(1);
    let wide = |text: String| text.replace('\t', "    ").width();
    let before = wide(line.chars().take(from).collect());
    let marked = wide(
        line.chars()
            .skip(from)
            .take(to.saturating_sub(from))
            .collect(),
    )
    .max(1);
    if before == 0 && marked >= wide(line.to_owned()) {
        return;
    }
    let _ = writeln!(
        out,
        "{:>width$} |     {}{}",
        "",
        " ".repeat(before),
        "^".repeat(marked)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, Span};

    #[test]
    fn points_at_the_word() {
        let source = Source::new("Dockerfile", "FROM base\n\nFORM other\n");
        let finding = Diagnostic::error("unknown instruction `FORM`")
            .at(&source, Span::new(11, 15))
            .hint("did you mean `FROM`?");
        assert_eq!(
            render(&finding),
            "error: unknown instruction `FORM`\n\
             Dockerfile:3\n\
             --------------------\n\
             \x20  1 |     FROM base\n\
             \x20  2 |\n\
             \x20  3 | >>> FORM other\n\
             \x20    |     ^^^^\n\
             \x20  4 |\n\
             --------------------\n\
             hint: did you mean `FROM`?\n"
        );
    }

    #[test]
    fn cuts_a_long_marked_part() {
        let text = "x\n".repeat(40);
        let source = Source::new("f", text.as_str());
        let out = render(&Diagnostic::error("long").at(&source, Span::new(0, 79)));
        assert!(out.contains(">>> ...") && out.lines().count() < 24, "{out}");
    }
}
