//! Expressions of a workflow, as far as they can be told without a runner: the matrix, variables,
//! inputs of a workflow that another one calls, and choices between these.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::import::draft::Draft;
use crate::import::yaml::{text, text_at, texts};

/// What expressions of one combination can name.
pub(super) struct Scope<'a> {
    pub(super) values: &'a BTreeMap<String, Value>,
    /// What the calling workflow hands over.
    pub(super) inputs: &'a BTreeMap<String, String>,
    pub(super) workflow: &'a Value,
    pub(super) job: &'a Value,
}

impl Scope<'_> {
    /// Puts values in the place of `${{ ... }}`; names of the runner become variables.
    pub(super) fn text(&self, written: &str, draft: &mut Draft) -> Option<String> {
        let mut made = String::new();
        let mut rest = written;
        while let Some((before, behind)) = rest.split_once("${{") {
            let (expression, after) = behind.split_once("}}")?;
            made.push_str(before);
            made.push_str(&self.value(expression.trim(), draft)?);
            rest = after;
        }
        Some(made + rest)
    }

    /// The value of an expression: of `a && b || c`, the first part that is something.
    fn value(&self, expression: &str, draft: &mut Draft) -> Option<String> {
        if let Some(inside) = expression.strip_prefix("join(") {
            return self.joined(inside.split(',').next()?.trim_end_matches(')').trim());
        }
        if !expression.contains("||") && !expression.contains("&&") {
            return self.operand(expression, draft);
        }
        let mut last = None;
        for alternative in expression.split("||") {
            let mut value = String::new();
            for part in alternative.split("&&") {
                value = self.condition(part.trim(), draft)?;
                if !is_something(&value) {
                    break;
                }
            }
            if is_something(&value) {
                return Some(value);
            }
            last = Some(value);
        }
        last
    }

    /// A comparison, or a value that may be missing.
    fn condition(&self, expression: &str, draft: &mut Draft) -> Option<String> {
        let expression = expression.trim_matches(['(', ')']).trim();
        for (operator, wanted) in [("==", true), ("!=", false)] {
            if let Some((one, other)) = expression.split_once(operator) {
                let one = self.condition(one.trim(), draft)?;
                let other = self.condition(other.trim(), draft)?;
                return Some(((one == other) == wanted).to_string());
            }
        }
        let is_of_matrix = expression.starts_with("matrix.") || expression.starts_with("inputs.");
        let value = self.operand(expression, draft);
        value.or_else(|| is_of_matrix.then(String::new))
    }

    fn operand(&self, expression: &str, draft: &mut Draft) -> Option<String> {
        let quoted = expression
            .strip_prefix('\'')
            .and_then(|it| it.strip_suffix('\''));
        if let Some(text) = quoted {
            return Some(text.to_owned());
        }
        if let Some(name) = expression.strip_prefix("env.") {
            let homes = [self.job.get("env"), self.workflow.get("env")];
            let value = homes
                .into_iter()
                .flatten()
                .find_map(|env| text_at(env, name))?;
            return self.text(&value, draft);
        }
        if expression.starts_with("matrix.") {
            return self.joined(expression);
        }
        if let Some(name) = expression.strip_prefix("inputs.") {
            return self.input(name);
        }
        match expression {
            "true" | "false" => Some(expression.to_owned()),
            "github.repository" => Some(draft.variable("GITHUB_REPOSITORY", "owner/repository")),
            "github.repository_owner" => Some(draft.variable("GITHUB_REPOSITORY_OWNER", "owner")),
            _ => None,
        }
    }

    /// An input, as it was handed over or by its default.
    fn input(&self, name: &str) -> Option<String> {
        if let Some(given) = self.inputs.get(name) {
            return Some(given.clone());
        }
        let on = self
            .workflow
            .get("on")
            .or_else(|| self.workflow.get("true"));
        let kinds = ["workflow_call", "workflow_dispatch"];
        kinds.into_iter().find_map(|kind| {
            let input = on?.get(kind)?.get("inputs")?.get(name)?;
            text(input.get("default")?)
        })
    }

    /// A value of the matrix; a list as its lines.
    pub(super) fn joined(&self, expression: &str) -> Option<String> {
        let mut path = expression.strip_prefix("matrix.")?.split('.');
        let mut value = self.values.get(path.next()?)?;
        for key in path {
            value = value.get(key)?;
        }
        match value {
            Value::Array(_) => Some(texts(Some(value)).join("\n")),
            one => text(one),
        }
    }
}

/// Whether GitHub takes a value for true.
fn is_something(value: &str) -> bool {
    !matches!(value, "" | "false" | "0")
}
