//! Findings in SARIF 2.1.0, which code hosts and editors read.

use cairn_diagnostic::{Diagnostic, Source, Span};
use cairn_dockerfile::lint::{Fix, Group, RULES, Rule};
use serde_json::{Value, json};

use super::severity;
use super::subject::Checked;

/// What a file that is no Dockerfile is reported as.
const PARSE_ERROR: &str = "ParseError";

/// The whole log: one run of one tool.
pub fn log(checked: &[Checked], refused: &[Diagnostic]) -> Value {
    let mut rules: Vec<Value> = RULES.iter().map(|rule| descriptor(rule)).collect();
    rules.push(json!({
        "id": PARSE_ERROR,
        "shortDescription": { "text": "The file is no Dockerfile" },
        "defaultConfiguration": { "level": "error" },
    }));
    let mut results: Vec<Value> = Vec::new();
    for file in checked {
        for finding in &file.findings {
            let mut result = json!({
                "ruleId": finding.rule.name,
                "level": severity(finding.level),
                "message": { "text": finding.detail },
                "locations": [location(&file.source, finding.span)],
            });
            if let Some(fix) = &finding.fix {
                result["fixes"] = json!([change(&file.source, fix)]);
            }
            results.push(result);
        }
    }
    results.extend(refused.iter().map(|error| {
        let locations: Vec<Value> = error
            .label
            .iter()
            .map(|label| location(&label.source, label.span))
            .collect();
        json!({
            "ruleId": PARSE_ERROR,
            "level": "error",
            "message": { "text": error.message },
            "locations": locations,
        })
    }));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "cairn lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn descriptor(rule: &Rule) -> Value {
    let group = match rule.group {
        Group::BuildKit => "buildkit",
        Group::Science => "science",
        Group::Practice => "practice",
    };
    let mut descriptor = json!({
        "id": rule.name,
        "shortDescription": { "text": rule.summary },
        "fullDescription": { "text": rule.why },
        "help": { "text": format!("{}\n\nInstead of:\n\n{}\nwrite:\n\n{}", rule.why, rule.bad, rule.good) },
        "defaultConfiguration": { "level": severity(rule.level) },
        "properties": { "tags": [group] },
    });
    if let Some(url) = rule.url() {
        descriptor["helpUri"] = url.into();
    }
    descriptor
}

/// A fix as the parts of the text that are replaced.
fn change(source: &Source, fix: &Fix) -> Value {
    let replacements: Vec<Value> = fix
        .edits
        .iter()
        .map(|edit| {
            json!({
                "deletedRegion": region(source, edit.span),
                "insertedContent": { "text": edit.text },
            })
        })
        .collect();
    json!({ "artifactChanges": [{
        "artifactLocation": { "uri": uri(&source.name) },
        "replacements": replacements,
    }]})
}

fn location(source: &Source, span: Span) -> Value {
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(&source.name) },
        "region": region(source, span),
    }})
}

fn region(source: &Source, span: Span) -> Value {
    let start = source.position(span.start);
    let end = source.position(span.end);
    json!({
        "startLine": start.line,
        "startColumn": start.column,
        "endLine": end.line,
        "endColumn": end.column,
    })
}

/// A path as a relative reference: what is no part of one is written as `%XX`.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut out = String::new();
    for byte in path.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=@".contains(&byte);
        match is_plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("./a b/Dockerfile"), "a%20b/Dockerfile");
        assert_eq!(uri("ä:x"), "%C3%A4%3Ax");
    }
}
