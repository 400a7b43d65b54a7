//! Variables of a bake file, which the environment overrides there: where one is a plain part of
//! arguments, labels and registries, it is a variable of the spec; what decides more stands with
//! its default, and the report says what that is.
//!
//! Which of both it is, is tried: the targets are evaluated with the variable's written form in
//! the place of its value. It is a plain part if the default put back in makes the same targets.

use std::collections::{BTreeMap, BTreeSet};

use hcl::eval::{Context, Evaluate};
use serde_json::{Map, Value};

use super::own_functions::Functions;
use super::{evaluated, functions};
use crate::import::draft::Draft;
use crate::import::paths::name_and_tag;
use crate::import::{TAGS_OF_EVENTS, Verdict};

/// So many variables of a file are tried; each costs an evaluation of all its targets.
const TRIED_MAX: usize = 64;
/// Lists and tables stand in each other no deeper: a variable may hold another one.
const NESTED_MAX: usize = 64;
/// So many targets are evaluated for that in all.
const EVALUATED_MAX: usize = 20_000;

/// A variable with its default, if it has one.
struct Declared {
    name: String,
    value: Option<hcl::Value>,
}

type Targets = Vec<(String, Map<String, Value>)>;

/// Values in the place of defaults, by variable.
pub(super) type Given = BTreeMap<String, String>;

/// What targets are evaluated in: bake's functions, the variables, and plain attributes.
pub(super) fn context(body: &hcl::Body, own: &Functions, given: &Given) -> Context<'static> {
    declare(body, own, given).0
}

fn declare(body: &hcl::Body, own: &Functions, given: &Given) -> (Context<'static>, Vec<Declared>) {
    let mut context = Context::new();
    functions::declare(&mut context);
    let mut declared: Vec<Declared> = Vec::new();
    let blocks = body
        .blocks()
        .filter(|block| block.identifier() == "variable");
    // A default may use a variable that stands further up.
    for block in blocks {
        let Some(name) = block.labels().first() else {
            continue;
        };
        let name = name.as_str().to_owned();
        let default = block.body().attributes().find(|it| it.key() == "default");
        let default = default.and_then(|it| value_of(it.expr(), own, &context));
        let value = match given.get(&name) {
            Some(given) => Some(hcl::Value::from(given.as_str())),
            None => default,
        };
        context.declare_var(name.as_str(), value.clone().unwrap_or(hcl::Value::from("")));
        declared.retain(|it| it.name != name);
        declared.push(Declared { name, value });
    }
    for attribute in body.attributes() {
        if let Some(value) = value_of(attribute.expr(), own, &context) {
            context.declare_var(attribute.key(), value);
        }
    }
    (context, declared)
}

/// What a variable is to hold; nothing where it cannot be said, or would be a text without measure:
/// a variable of two others that are so multiplies, and one that holds another is deeper.
fn value_of(
    expression: &hcl::Expression,
    own: &Functions,
    context: &Context<'_>,
) -> Option<hcl::Value> {
    let value = own.put_in(expression).evaluate(context).ok()?;
    // In this order: a text of what is too deep is not to be had.
    (is_within(&value, NESTED_MAX) && value.to_string().len() <= functions::TEXT_MAX)
        .then_some(value)
}

/// Whether no more lists and tables than `depth` stand in each other.
fn is_within(value: &hcl::Value, depth: usize) -> bool {
    let Some(fewer) = depth.checked_sub(1) else {
        return !value.is_array() && !value.is_object();
    };
    match value {
        hcl::Value::Array(items) => items.iter().all(|it| is_within(it, fewer)),
        hcl::Value::Object(table) => table.values().all(|it| is_within(it, fewer)),
        _ => true,
    }
}

/// The variables that are variables of the spec, with the way they are written there. What becomes
/// of the others is noted.
pub(super) fn overridable(
    file: &str,
    body: &hcl::Body,
    own: &Functions,
    draft: &mut Draft,
) -> Given {
    let evaluate =
        |context: &Context<'static>| evaluated(file, body, context, own, &mut Draft::default());
    let (context, declared) = declare(body, own, &Given::new());
    let plain = evaluate(&context);
    let mut given = Given::new();
    let mut derived: BTreeSet<String> = BTreeSet::new();
    let mut report = Report::default();
    for (at, variable) in declared.iter().enumerate() {
        let name = &variable.name;
        let Some(default) = variable.default() else {
            report
                .fixed
                .push((variable.told(), "and this is none".to_owned()));
            continue;
        };
        if derived.contains(name) {
            report
                .fixed
                .push((variable.told(), "and this one follows another".to_owned()));
            continue;
        }
        let written = written(name);
        let is_free = draft.variables.get(&key(name)).is_none_or(|known| {
            (known.env.as_str(), known.default.as_str()) == (name.as_str(), default)
        });
        let cost = plain.len().saturating_mul(at + 1);
        if !is_free || at >= TRIED_MAX || cost > EVALUATED_MAX {
            report
                .fixed
                .push((variable.told(), "and this one was not looked at".to_owned()));
            continue;
        }
        let alone = Given::from([(name.clone(), written.clone())]);
        let (context, others) = declare(body, own, &alone);
        let follows = |it: &&Declared| {
            it.name != *name && it.default().is_some_and(|it| it.contains(&written))
        };
        derived.extend(others.iter().filter(follows).map(|it| it.name.clone()));
        match part(&plain, &evaluate(&context), &written, default) {
            Part::OfNothing => report.unused.push(variable.told()),
            Part::OfTags => report.of_tags.push(variable.told()),
            Part::OfTexts => {
                given.insert(name.clone(), written);
            }
            Part::Decides(what) => {
                report
                    .fixed
                    .push((variable.told(), format!("and this one decides {what}")));
            }
        }
    }
    // Each alone is a part of texts; all together must be, too.
    let (context, _) = declare(body, own, &given);
    let defaults = declared
        .iter()
        .filter_map(|it| Some((it.name.as_str(), it.default()?)));
    let defaults: BTreeMap<&str, &str> = defaults.collect();
    let mut together = evaluate(&context);
    for (name, written) in &given {
        together = restored(&together, written, defaults[name.as_str()]);
    }
    if together != plain {
        let names = std::mem::take(&mut given).into_keys();
        report.fixed.extend(names.map(|name| {
            (
                format!("`{name}`"),
                "and this one depends on others".to_owned(),
            )
        }));
    }
    for name in given.keys() {
        draft.variable(name, defaults[name.as_str()]);
    }
    report.note(file, &given, draft);
    given
}

/// The name in the spec, as [`Draft::variable`] gives it.
fn key(name: &str) -> String {
    name.trim_start_matches('_').to_ascii_lowercase()
}

fn written(name: &str) -> String {
    format!("${{{}}}", key(name))
}

impl Declared {
    /// Its default, where that is a text; a variable without one is empty.
    fn default(&self) -> Option<&str> {
        match &self.value {
            Some(value) => value.as_str(),
            None => Some(""),
        }
    }

    fn told(&self) -> String {
        match &self.value {
            Some(value) => {
                let text = value
                    .as_str()
                    .map_or_else(|| in_one_line(&value.to_string()), str::to_owned);
                format!("`{}` = `{text}`", self.name)
            }
            None => format!("`{}`", self.name),
        }
    }
}

/// What a variable is in the targets.
enum Part {
    /// Nothing differs.
    OfNothing,
    /// Tags that are written down, which are not taken over.
    OfTags,
    /// Arguments, labels, and where images are published.
    OfTexts,
    /// More: these attributes.
    Decides(String),
}

fn part(plain: &Targets, tried: &Targets, written: &str, default: &str) -> Part {
    let names = |targets: &Targets| -> Vec<String> {
        targets.iter().map(|(name, _)| name.clone()).collect()
    };
    if names(plain) != names(tried) {
        return Part::Decides("which targets there are".to_owned());
    }
    let mut decides: BTreeSet<&str> = BTreeSet::new();
    let (mut in_texts, mut in_tags) = (false, false);
    for ((_, before), (_, now)) in plain.iter().zip(tried) {
        for key in before
            .keys()
            .chain(now.keys().filter(|key| !before.contains_key(*key)))
        {
            let (before, now) = (before.get(key), now.get(key));
            if before == now {
                continue;
            }
            let back = now.map(|now| value_restored(now, written, default));
            let is_same = back.as_ref() == before;
            match key.as_str() {
                "args" | "labels" if is_same => in_texts = true,
                "tags" if is_same => {
                    let tags = now.and_then(Value::as_array).into_iter().flatten();
                    let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
                    let in_names = tags.iter().any(|it| name_and_tag(it).0.contains(written));
                    match tags.iter().all(|it| is_registry(it, written, default)) {
                        true if in_names => in_texts = true,
                        true => in_tags = true,
                        false => {
                            decides.insert("the names of images");
                        }
                    }
                }
                key => {
                    decides.insert(key);
                }
            }
        }
    }
    match (decides.is_empty(), in_texts, in_tags) {
        (false, ..) => Part::Decides(decides.into_iter().collect::<Vec<_>>().join(", ")),
        (_, true, _) => Part::OfTexts,
        (_, _, true) => Part::OfTags,
        _ => Part::OfNothing,
    }
}

/// Whether a variable is part of the registry in a name, and not of what the image is called. A
/// registry that has no host of its own by default is not one for a spec.
fn is_registry(reference: &str, written: &str, default: &str) -> bool {
    let (name, _) = name_and_tag(reference);
    if !name.contains(written) {
        return true;
    }
    let (registry, own) = name.rsplit_once('/').unwrap_or(("", name));
    let registry = registry.replace(written, default);
    let host = registry.split('/').next().unwrap_or_default();
    !own.contains(written) && (host.contains(['.', ':']) || host == "localhost")
}

fn restored(targets: &Targets, written: &str, default: &str) -> Targets {
    let back = |(name, table): &(String, Map<String, Value>)| {
        let table = table.iter();
        let table =
            table.map(|(key, value)| (key.clone(), value_restored(value, written, default)));
        (name.replace(written, default), table.collect())
    };
    targets.iter().map(back).collect()
}

fn value_restored(value: &Value, written: &str, default: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(written, default)),
        Value::Array(items) => {
            let items = items.iter();
            items
                .map(|it| value_restored(it, written, default))
                .collect()
        }
        Value::Object(table) => {
            let table = table.iter();
            let table = table.map(|(key, it)| (key.clone(), value_restored(it, written, default)));
            Value::Object(table.collect())
        }
        other => other.clone(),
    }
}

/// What the report says of the variables.
#[derive(Default)]
struct Report {
    fixed: Vec<(String, String)>,
    of_tags: Vec<String>,
    unused: Vec<String>,
}

impl Report {
    fn note(self, file: &str, given: &Given, draft: &mut Draft) {
        let mut note = |verdict, names: Vec<String>, why: String| {
            if !names.is_empty() {
                draft.note(verdict, file, format!("variable {}", names.join(", ")), why);
            }
        };
        let open = given.keys().map(|name| format!("`{name}`")).collect();
        let why = "`[variables]`: the environment gives it as there, `--set` as well";
        note(Verdict::Equal, open, why.to_owned());
        let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, reason) in self.fixed {
            reasons.entry(reason).or_default().push(name);
        }
        for (reason, names) in reasons {
            let why = format!(
                "its default stands wherever it is used; it cannot be overridden here: a variable of a spec is a part of texts, {reason}"
            );
            note(Verdict::Differs, names, why);
        }
        note(Verdict::Differs, self.of_tags, TAGS_OF_EVENTS.to_owned());
        let why = "nothing that is imported uses it";
        note(Verdict::Equal, self.unused, why.to_owned());
    }
}

/// A value as a report shows it.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
