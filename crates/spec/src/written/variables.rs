//! `${...}` in the values of a spec.
//!
//! | written | means |
//! | --- | --- |
//! | `${name}` | the variable of `[variables]`: from the command line, else from the environment variable it names, else its default |
//! | `${env.NAME}` | that variable of the environment |
//! | `$${` | `${` |
//!
//! Nothing else is special: `$NAME` stays as it is, there are no default operators and no
//! commands. A name without a value is an error where it is used. Values are put in once and not
//! looked at again.

use std::collections::BTreeMap;

use cairn_diagnostic::{Diagnostic, Span};

use super::Surroundings;
use super::document::{Kind, Node, Table, sub_table};
use crate::sources::Sources;
use crate::suggest::nearest;

/// The table that declares variables.
pub(super) const KEY: &str = "variables";

/// Puts values in the place of variables, everywhere but in `[variables]` and `[env]`.
pub(super) fn expand(
    table: &mut Table,
    sources: &Sources,
    surroundings: &Surroundings<'_>,
) -> Vec<Diagnostic> {
    let declared = declared(table, surroundings);
    let mut expander = Expander {
        declared,
        surroundings,
        sources,
        findings: Vec::new(),
    };
    for name in surroundings.variables.keys() {
        if !expander.declared.contains_key(name) {
            expander.unknown_setting(name);
        }
    }
    for (key, field) in table.iter_mut() {
        if key != KEY && key != super::overlay::KEY {
            expander.node(&mut field.node);
        }
    }
    expander.findings
}

/// The declared variables; the environment variable a missing value could come from is kept.
fn declared(
    table: &Table,
    surroundings: &Surroundings<'_>,
) -> BTreeMap<String, Result<String, Option<String>>> {
    let mut declared = BTreeMap::new();
    for (name, field) in sub_table(table, KEY).into_iter().flatten() {
        let (variable, default) = match &field.node.kind {
            Kind::Table(inner) => {
                let text = |key: &str| inner.get(key).and_then(|field| scalar(&field.node));
                (text("env"), text("default"))
            }
            _ => (None, scalar(&field.node)),
        };
        let from_environment = variable
            .as_ref()
            .and_then(|variable| surroundings.environment.get(variable).cloned());
        let value = surroundings.variables.get(name).cloned();
        let value = value.or(from_environment).or(default);
        declared.insert(name.clone(), value.ok_or(variable));
    }
    declared
}

fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::String(text) | Kind::Float(text) | Kind::Integer(text, 10) => Some(text.clone()),
        Kind::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

struct Expander<'s> {
    declared: BTreeMap<String, Result<String, Option<String>>>,
    surroundings: &'s Surroundings<'s>,
    sources: &'s Sources,
    findings: Vec<Diagnostic>,
}

impl Expander<'_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.kind {
            Kind::String(text) => {
                if text.contains("${") {
                    *text = self.text(text, node.span);
                }
            }
            Kind::Array(items) => items.iter_mut().for_each(|item| self.node(item)),
            Kind::Table(table) => table
                .values_mut()
                .for_each(|field| self.node(&mut field.node)),
            Kind::Integer(..) | Kind::Float(_) | Kind::Boolean(_) | Kind::Datetime => {}
        }
    }

    fn text(&mut self, text: &str, span: Span) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, behind) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = &behind[2..];
                continue;
            }
            expanded.push_str(before);
            let Some((name, behind)) = behind[2..].split_once('}') else {
                self.error(span, "`${` has no end")
                    .push("write `$${` for the characters themselves".to_owned());
                return expanded;
            };
            expanded.push_str(&self.value(name, span));
            rest = behind;
        }
        expanded.push_str(rest);
        expanded
    }

    fn value(&mut self, name: &str, span: Span) -> String {
        if let Some(variable) = name.strip_prefix("env.") {
            if let Some(value) = self.surroundings.environment.get(variable) {
                return value.clone();
            }
            let message = format!("the environment has no variable `{variable}`");
            let hint = format!(
                "give it a default: `[variables]` with `name = {{ env = \"{variable}\", default = \"...\" }}`, used as `${{name}}`"
            );
            self.error(span, message).push(hint);
            return String::new();
        }
        let hint = match self.declared.get(name) {
            Some(Ok(value)) => return value.clone(),
            Some(Err(Some(variable))) => {
                let message = format!("variable `{name}` has no value");
                let hint = format!("set {variable} in the environment, or give `--set {name}=...`");
                self.error(span, message).push(hint);
                return String::new();
            }
            Some(Err(None)) => {
                let message = format!("variable `{name}` has no value");
                self.error(span, message)
                    .push(format!("give it one with `--set {name}=...`"));
                return String::new();
            }
            None => match nearest(name, self.declared.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `${{{near}}}`?"),
                None => "declare it in `[variables]`, or write `$${` for the characters themselves"
                    .to_owned(),
            },
        };
        self.error(span, format!("there is no variable `{name}`"))
            .push(hint);
        String::new()
    }

    fn unknown_setting(&mut self, name: &str) {
        let near = nearest(name, self.declared.keys().map(String::as_str));
        let mut finding = Diagnostic::error(format!(
            "`--set {name}=...`: the spec declares no variable `{name}`"
        ));
        finding.hints.push(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "declare it in `[variables]`".to_owned(),
        });
        self.findings.push(finding);
    }

    fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Vec<String> {
        let finding = self.sources.point(Diagnostic::error(message), span);
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last].hints
    }
}
