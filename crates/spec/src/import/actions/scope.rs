//! Expressions of a workflow, as far as they can be told without a runner: the matrix, variables,
//! inputs of a workflow that another one calls, and choices between these.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::import::draft::Draft;
use crate::import::secrets;
use crate::import::yaml::{entries, text, text_at, texts};
use crate::stack::Affixes;

/// So deep may one variable of a workflow name another one.
const NESTED_MAX: usize = 8;
/// Longer values of a matrix name nothing.
const WORD_MAX: usize = 40;

/// What expressions of one combination can name.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) values: &'a BTreeMap<String, Value>,
    /// What the calling workflow hands over.
    pub(super) inputs: &'a BTreeMap<String, String>,
    pub(super) workflow: &'a Value,
    pub(super) job: &'a Value,
    /// How many variables stand around the text.
    pub(super) depth: usize,
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
            let (value, inside) = self.variable(name)?;
            return inside.text(&value, draft);
        }
        if expression.starts_with("matrix.") {
            return self.joined(expression);
        }
        if let Some(name) = expression.strip_prefix("inputs.") {
            return self.input(name);
        }
        match expression {
            "true" | "false" => Some(expression.to_owned()),
            "github.repository" => {
                Some(draft.unknown_variable("GITHUB_REPOSITORY", "owner/repository"))
            }
            "github.repository_owner" => {
                Some(draft.unknown_variable("GITHUB_REPOSITORY_OWNER", "owner"))
            }
            _ => None,
        }
    }

    /// What `env` says a variable is, and where that is to be read.
    fn variable(&self, name: &str) -> Option<(String, Self)> {
        let homes = [self.job.get("env"), self.workflow.get("env")];
        let value = homes
            .into_iter()
            .flatten()
            .find_map(|env| text_at(env, name))?;
        let depth = self.depth + 1;
        (depth < NESTED_MAX).then_some((value, Self { depth, ..*self }))
    }

    /// Whether an expression in a text is filled from a secret, be it by way of a variable.
    pub(super) fn names_secret(&self, written: &str) -> bool {
        let is_in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        written.split("${{").skip(1).any(|behind| {
            let expression = behind.split("}}").next().unwrap_or_default();
            let mut words = expression.split(|c: char| !is_in_word(c));
            words.any(|word| {
                let variable = word.strip_prefix("env.").and_then(|it| self.variable(it));
                secrets::is_secret_word(word)
                    || variable.is_some_and(|(value, inside)| inside.names_secret(&value))
            })
        })
    }

    /// The values of the matrix that are short words, by their axes.
    pub(super) fn values_told(&self) -> BTreeMap<String, String> {
        let told = self.values.iter().filter_map(|(axis, value)| {
            let value = text(value).filter(|it| it.len() <= WORD_MAX && !it.contains('\n'))?;
            Some((axis.clone(), value))
        });
        told.collect()
    }

    /// The platform of the machine that a run is for, where an input or the matrix names it.
    pub(super) fn platform(&self) -> Option<String> {
        let named = ["platform", "arch", "architecture"]
            .iter()
            .find_map(|name| {
                let of_matrix = self.values.get(*name).and_then(text);
                self.inputs.get(*name).cloned().or(of_matrix)
            })?;
        let platform = match named.as_str() {
            "x86_64" | "amd64" | "x64" => "linux/amd64",
            "aarch64" | "arm64" => "linux/arm64",
            _ => return None,
        };
        Some(platform.to_owned())
    }

    /// What tags begin with, where an input is described as that: `description: Variant tag prefix`.
    /// Its default stands for none.
    pub(super) fn tag_prefix(&self) -> Option<Affixes> {
        let on = self
            .workflow
            .get("on")
            .or_else(|| self.workflow.get("true"))?;
        let inputs = on.get("workflow_call")?.get("inputs");
        let (name, _) = entries(inputs).find(|(_, input)| {
            let description = text_at(input, "description").unwrap_or_default();
            description.to_ascii_lowercase().contains("tag prefix")
        })?;
        let value = self
            .input(name)
            .filter(|it| !matches!(it.as_str(), "" | "default"))?;
        Some(Affixes {
            prefix: format!("{value}-"),
            suffix: String::new(),
        })
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
