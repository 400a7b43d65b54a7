//! `[env.NAME]`: what is different in one environment, laid over the rest of the spec.

use cairn_diagnostic::{Diagnostic, Span};

use super::document::{Kind, Table, lay_over, sub_table};
use crate::sources::Sources;
use crate::suggest::{nearest, quoted};

/// The table of environments.
pub(super) const KEY: &str = "env";

/// Lays the overlay of an environment over the spec; `[env]` itself stays where it is.
pub(super) fn apply(
    table: &mut Table,
    sources: &Sources,
    chosen: Option<&str>,
) -> Result<(), Vec<Diagnostic>> {
    let findings = unknown_images(table, sources);
    if !findings.is_empty() {
        return Err(findings);
    }
    let Some(chosen) = chosen else {
        return Ok(());
    };
    let environments = sub_table(table, KEY);
    let overlay = environments.and_then(|it| it.get(chosen));
    let Some(overlay) = overlay else {
        return Err(vec![unknown(chosen, environments)]);
    };
    if let Kind::Table(overlay) = overlay.node.kind.clone() {
        lay_over(table, overlay);
    }
    Ok(())
}

fn unknown(chosen: &str, environments: Option<&Table>) -> Diagnostic {
    let names = || {
        environments
            .into_iter()
            .flat_map(Table::keys)
            .map(String::as_str)
    };
    let mut finding = Diagnostic::error(format!("the spec has no environment `{chosen}`"));
    finding.hints.push(match nearest(chosen, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names().next().is_none() => format!("add one with `[env.{chosen}]`"),
        None => format!("it has {}", quoted(names())),
    });
    finding
}

/// An overlay changes images; one that the spec does not have is a slip.
fn unknown_images(table: &Table, sources: &Sources) -> Vec<Diagnostic> {
    let images = sub_table(table, "image");
    let known = || images.into_iter().flat_map(Table::keys).map(String::as_str);
    let mut findings = Vec::new();
    for (environment, field) in sub_table(table, KEY).into_iter().flatten() {
        let Kind::Table(overlay) = &field.node.kind else {
            continue;
        };
        for (name, image) in sub_table(overlay, "image").into_iter().flatten() {
            if known().any(|it| it == name) {
                continue;
            }
            let message =
                format!("`env.{environment}` changes an image `{name}` that is not there");
            let span: Span = image.key_span;
            let mut finding = sources.point(Diagnostic::error(message), span);
            if let Some(near) = nearest(name, known()) {
                finding.hints.push(format!("did you mean `{near}`?"));
            }
            findings.push(finding);
        }
    }
    findings
}
