//! `--call check`: what BuildKit's rules say, for people or in BuildKit's JSON.

use std::path::Path;

use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::lint::Level;
use cairn_stack::single::SingleBuild;
use serde::Serialize;

use super::place::{Location, bytes, file_name};
use crate::commands::lint::{self, Subject};
use crate::error::{CommandError, Kind};
use crate::printer::Printer;

/// The findings, in BuildKit's form.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Results {
    warnings: Vec<Warning>,
    sources: Vec<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_error: Option<BuildError>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning {
    rule_name: &'static str,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    detail: String,
    location: Location,
}

#[derive(Debug, Serialize)]
struct File {
    filename: String,
    data: String,
}

#[derive(Debug, Serialize)]
struct BuildError {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

/// Checks the Dockerfile of a build and tells what was found.
pub fn answer(
    build: &SingleBuild,
    dockerfile: &Path,
    json: bool,
    file: Option<&Path>,
    printer: &Printer,
) -> Result<(), CommandError> {
    let (subject, errors) = Subject::of_build(build, dockerfile)?;
    let results = results(subject.as_ref(), &errors);
    super::keep(&results, file)?;
    if !json {
        return lint::check_build(subject.as_ref(), errors, printer);
    }
    printer.json(&results)?;
    match results.warnings.is_empty() && results.build_error.is_none() {
        true => Ok(()),
        false => Err(CommandError::told(Kind::Work)),
    }
}

fn results(subject: Option<&Subject>, errors: &[Diagnostic]) -> Results {
    let mut results = Results {
        warnings: Vec::new(),
        sources: Vec::new(),
        build_error: errors.first().map(build_error),
    };
    let mut source = errors
        .iter()
        .find_map(|error| error.label.as_ref().map(|label| label.source.clone()));
    if let Some(subject) = subject {
        source = Some(subject.file.source.clone());
        match subject.check(&std::collections::BTreeMap::new()) {
            Ok(checked) => {
                let violations = checked.violations.join(", ");
                let shown = checked.findings.iter();
                let shown = shown.filter(|finding| finding.level >= Level::Warning);
                let warning = |finding: &cairn_dockerfile::lint::Finding| Warning {
                    rule_name: finding.rule.name,
                    description: finding.rule.summary,
                    url: finding.rule.url(),
                    detail: finding.detail.clone(),
                    location: Location::of(&checked.source, finding.span),
                };
                results.warnings = shown.map(warning).collect();
                if !violations.is_empty() && results.build_error.is_none() {
                    let first = checked.findings.first();
                    results.build_error = Some(BuildError {
                        message: format!("lint violation found for rules: {violations}"),
                        location: first.map(|found| Location::of(&checked.source, found.span)),
                    });
                }
            }
            Err(error) => {
                results.build_error.get_or_insert(build_error(&error));
            }
        }
    }
    results.sources.extend(source.map(|source| File {
        filename: file_name(&source).to_owned(),
        data: bytes(&source),
    }));
    results
}

fn build_error(error: &Diagnostic) -> BuildError {
    let place = error.label.as_ref();
    BuildError {
        message: error.message.clone(),
        location: place.map(|label| Location::of(&label.source, label.span)),
    }
}
