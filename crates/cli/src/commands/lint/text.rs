//! Findings for people: each with the lines in question, and a sum.

use cairn_diagnostic::{Diagnostic, Label, Severity, Source};
use cairn_dockerfile::lint::{Finding, Level};

use super::subject::Checked;
use crate::error::CommandError;
use crate::printer::Printer;
use crate::progress::count;
use crate::style::{Line, Tone};

pub fn print(checked: &[Checked], printer: &Printer) -> Result<(), CommandError> {
    for file in checked {
        let findings = file.findings.iter();
        printer.findings_data(findings.map(|finding| diagnostic(&file.source, finding)))?;
    }
    Ok(())
}

/// Tells how many findings there are. That there are none is no news where a file could not be
/// read.
pub fn print_sum(checked: &[Checked], has_refused: bool, printer: &Printer) {
    let has_findings = checked.iter().any(|file| !file.findings.is_empty());
    let is_news = has_findings || !has_refused;
    if !checked.is_empty() && is_news {
        printer.tell(&[sum(checked)]);
    }
}

fn diagnostic(source: &Source, finding: &Finding) -> Diagnostic {
    Diagnostic {
        severity: match finding.level {
            Level::Info => Severity::Note,
            Level::Warning => Severity::Warning,
            Level::Error => Severity::Error,
        },
        rule: Some(finding.rule.name),
        message: finding.detail.clone(),
        label: Some(Label {
            source: source.clone(),
            span: finding.span,
        }),
        hints: Vec::new(),
    }
}

fn sum(checked: &[Checked]) -> Line {
    let findings = || checked.iter().flat_map(|file| &file.findings);
    let number = |level| findings().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (number(Level::Error), number(Level::Warning));
    let mut parts = Vec::new();
    for (number, what) in [
        (errors, "error"),
        (warnings, "warning"),
        (number(Level::Info), "note"),
    ] {
        if number > 0 {
            parts.push(count(number, what));
        }
    }
    let tone = match (errors, warnings) {
        (0, 0) => Tone::Good,
        (0, _) => Tone::Warn,
        _ => Tone::Bad,
    };
    let text = match parts.is_empty() {
        true => "no findings".to_owned(),
        false => parts.join(", "),
    };
    let mut line = Line::new(tone, text);
    line = line.with(Tone::Plain, format!(" in {}", count(checked.len(), "file")));
    if findings().next().is_some() {
        line = line.with(
            Tone::Dim,
            "; `cairn lint --explain RULE` tells about a rule",
        );
    }
    let mendable = findings().filter(|finding| finding.fix.is_some()).count();
    if mendable > 0 {
        line = line.with(Tone::Dim, format!("; {mendable} of them mended by `--fix`"));
    }
    let unshown: usize = checked.iter().map(|file| file.unshown).sum();
    if unshown > 0 {
        let text = format!("; {} more with `--level info`", count(unshown, "finding"));
        line = line.with(Tone::Dim, text);
    }
    line
}
