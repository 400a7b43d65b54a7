//! Findings as a list of JSON objects.

use serde::Serialize;

use super::subject::Checked;

/// One finding; `rule`, `line` and `detail` are those of `docker build --check`.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    rule: &'static str,
    level: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    detail: &'a str,
    description: &'static str,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    aliases: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Whether `--fix` mends it.
    fixable: bool,
}

pub fn list(checked: &[Checked]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for file in checked {
        for finding in &file.findings {
            let start = file.source.position(finding.span.start);
            let end = file.source.position(finding.span.end);
            entries.push(Entry {
                rule: finding.rule.name,
                level: finding.level.name(),
                file: &file.source.name,
                line: start.line,
                column: start.column,
                end_line: end.line,
                end_column: end.column,
                detail: &finding.detail,
                description: finding.rule.summary,
                aliases: finding.rule.aliases,
                url: finding.rule.url(),
                fixable: finding.fix.is_some(),
            });
        }
    }
    entries
}
