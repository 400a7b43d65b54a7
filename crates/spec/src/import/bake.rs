//! docker-bake files, in HCL and in JSON: targets with inheritance, matrices and variables; files
//! that bake lays over each other are one.
//!
//! [`functions`] are bake's own, [`own_functions`] those that a file defines; which variables the
//! environment may still override is [`variables`]'.

mod functions;
mod own_functions;
mod variables;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use hcl::eval::{Context, Evaluate};
use hcl::expr::TemplateExpr;
use serde_json::{Map, Value};

use self::own_functions::Functions;
use super::draft::{Build, Draft};
use super::paths::{file_name, folder, join, name_and_tag};
use super::yaml::{entries, pairs, text, text_at, texts};
use super::{ImportError, TAGS_OF_EVENTS, Tree, Verdict, caches, secrets};

/// Targets inherit from each other no deeper: bake refuses circles.
const INHERITED_DEPTH_MAX: usize = 32;
/// One target inherits from so many others, each counted as often as it is reached: targets that
/// name each other multiply.
const INHERITED_MAX: usize = 200;
/// A matrix with more combinations is left out.
const COMBINATIONS_MAX: usize = 1024;

/// A target as written: attributes that are still expressions.
struct Target {
    name: String,
    attributes: BTreeMap<String, hcl::Expression>,
}

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    // Files that bake lays over each other, in its order, are one.
    let mut sets: BTreeMap<String, Vec<(usize, &str, &str)>> = BTreeMap::new();
    for (file, text) in tree.texts().filter(|(file, _)| is_bake_file(file)) {
        let order = TOGETHER.iter().position(|name| *name == file_name(file));
        let set = order.map_or(file, |_| folder(file));
        let set = sets.entry(set.to_owned()).or_default();
        set.push((order.unwrap_or(0), file, text));
    }
    for mut files in sets.into_values() {
        files.sort_unstable();
        let mut body = hcl::Body::builder();
        for (_, file, text) in &files {
            let broken = |reason: String| ImportError::Broken {
                file: (*file).to_owned(),
                reason: reason.lines().next().unwrap_or_default().to_owned(),
            };
            let read = match file.ends_with(".json") {
                true => json_body(text).map_err(broken)?,
                false => hcl::parse(text).map_err(|error| broken(error.to_string()))?,
            };
            body = body.add_structures(read);
            draft.from.push((*file).to_owned());
        }
        let (_, file, _) = files[0];
        let body = body.build();
        let functions = Functions::of(&body);
        let given = variables::overridable(file, &body, &functions, draft);
        let context = variables::context(&body, &functions, &given);
        for target in evaluated(file, &body, &context, &functions, draft) {
            build(tree, file, &target, draft);
        }
    }
    Ok(())
}

/// What bake looks for, from the lowest to the highest.
const TOGETHER: [&str; 4] = [
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// `docker-bake.hcl`, `docker-bake-gpu.json`, `4.4.1.docker-bake.json`, `bake.hcl`, `bake-base.hcl`.
fn is_bake_file(file: &str) -> bool {
    let name = file_name(file);
    let is_of_bake = name.ends_with(".hcl") || name.ends_with(".json");
    (name.contains("docker-bake") && is_of_bake)
        || (name.ends_with(".hcl") && (name == "bake.hcl" || name.starts_with("bake-")))
}

/// The JSON form has the same blocks as objects, and templates in its strings.
fn json_body(text: &str) -> Result<hcl::Body, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut body = hcl::Body::builder();
    for kind in ["variable", "target", "group"] {
        for (name, attributes) in blocks(document.get(kind)) {
            let mut block = hcl::Block::builder(kind).add_label(name);
            for (key, value) in blocks(Some(attributes)) {
                block = block.add_attribute((key, expression(value)));
            }
            body = body.add_block(block.build());
        }
    }
    Ok(body.build())
}

/// The entries of a table, or of the tables of a list: JSON may write blocks either way.
fn blocks(value: Option<&Value>) -> Vec<(&str, &Value)> {
    match value {
        Some(Value::Array(tables)) => tables.iter().flat_map(|it| entries(Some(it))).collect(),
        table => entries(table).collect(),
    }
}

fn expression(value: &Value) -> hcl::Expression {
    match value {
        Value::String(text) if text.contains("${") => {
            hcl::Expression::from(TemplateExpr::from(text.as_str()))
        }
        Value::Array(items) => hcl::Expression::Array(items.iter().map(expression).collect()),
        Value::Object(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), expression(value)))
            .collect(),
        Value::String(text) => hcl::Expression::from(text.as_str()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => hcl::Expression::from(number),
            None => hcl::Expression::from(number.as_f64().unwrap_or_default()),
        },
        Value::Bool(yes) => hcl::Expression::from(*yes),
        Value::Null => hcl::Expression::Null,
    }
}

/// The targets that can be built: inherited attributes put in, matrices multiplied out.
fn evaluated(
    file: &str,
    body: &hcl::Body,
    context: &Context<'static>,
    functions: &Functions,
    draft: &mut Draft,
) -> Vec<(String, Map<String, Value>)> {
    let mut targets: Vec<Target> = Vec::new();
    for block in body.blocks().filter(|it| it.identifier() == "target") {
        let Some(name) = block.labels().first() else {
            continue;
        };
        let attributes = block.body().attributes();
        let attributes = attributes.map(|it| (it.key().to_owned(), functions.put_in(it.expr())));
        let attributes = attributes.collect();
        // A file that comes later changes what an earlier one says.
        match targets.iter_mut().find(|it| it.name == name.as_str()) {
            Some(known) => lay_over(&mut known.attributes, attributes),
            None => targets.push(Target {
                name: name.as_str().to_owned(),
                attributes,
            }),
        }
    }
    let inherited = inherited_names(&targets, context);
    let mut made = Vec::new();
    for target in &targets {
        // A target that others inherit from and that names no image is a pattern, not an image.
        let is_pattern = target.name.starts_with('_')
            || (inherited.contains(&target.name) && !target.attributes.contains_key("tags"));
        if is_pattern {
            continue;
        }
        let left = Cell::new(INHERITED_MAX);
        let mut attributes = with_inherited(target, &targets, context, 0, &left);
        if is_named_by_action(target, &targets, context) {
            attributes.insert(METADATA.to_owned(), hcl::Expression::Bool(true));
        }
        let Some(combinations) = combinations(target, context) else {
            let what = format!("target.{}.matrix", target.name);
            let why = format!("left out: it has more than {COMBINATIONS_MAX} combinations");
            draft.note(Verdict::Missing, file, what, why);
            continue;
        };
        for (values, combination) in combinations {
            let name = match target.attributes.get("name") {
                Some(name) => name.evaluate(&combination).ok(),
                None => None,
            };
            let name = name.and_then(|name| name.as_str().map(str::to_owned));
            let name = name.unwrap_or_else(|| match values.is_empty() {
                true => target.name.clone(),
                false => format!("{}-{values}", target.name),
            });
            let mut table = Map::new();
            for (key, expression) in &attributes {
                match evaluate(expression, &combination) {
                    Ok((value, lost)) => {
                        table.insert(key.clone(), value);
                        for (part, reason) in lost {
                            let what = format!("target.{name}.{key}.{part}");
                            draft.note(Verdict::Missing, file, what, reason);
                        }
                    }
                    Err(reason) => {
                        draft.note(
                            Verdict::Missing,
                            file,
                            format!("target.{name}.{key}"),
                            reason,
                        );
                    }
                }
            }
            made.push((name, table));
        }
    }
    made
}

type Lost = Vec<(String, String)>;

/// A value; of a table, what can be told of it, and what cannot.
fn evaluate(
    expression: &hcl::Expression,
    context: &Context<'static>,
) -> Result<(Value, Lost), String> {
    let value = |expression: &hcl::Expression| {
        let value = expression.evaluate(context).map_err(|error| {
            let first = error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            format!("its value cannot be told: {first}")
        })?;
        serde_json::to_value(value).map_err(|error| error.to_string())
    };
    let hcl::Expression::Object(fields) = expression else {
        return value(expression).map(|value| (value, Vec::new()));
    };
    let mut table = Map::new();
    let mut lost = Vec::new();
    for (key, field) in fields {
        let key = match key {
            hcl::expr::ObjectKey::Identifier(name) => name.to_string(),
            hcl::expr::ObjectKey::Expression(hcl::Expression::String(name)) => name.clone(),
            other => other.to_string(),
        };
        match value(field) {
            Ok(value) => {
                table.insert(key, value);
            }
            Err(reason) => lost.push((key, reason)),
        }
    }
    Ok((Value::Object(table), lost))
}

/// The target that docker/metadata-action fills with names.
const METADATA: &str = "docker-metadata-action";

fn is_named_by_action(target: &Target, targets: &[Target], context: &Context<'_>) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![target];
    while let Some(target) = open.pop() {
        for name in inherited_names(std::slice::from_ref(target), context) {
            if name == METADATA {
                return true;
            }
            let parent = targets.iter().find(|it| it.name == name);
            open.extend(parent.filter(|_| seen.insert(name)));
        }
    }
    false
}

fn inherited_names(targets: &[Target], context: &Context<'_>) -> Vec<String> {
    let lists = targets
        .iter()
        .filter_map(|target| target.attributes.get("inherits"));
    let lists = lists.filter_map(|list| list.evaluate(context).ok());
    lists
        .flat_map(|list| list.as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Inherited attributes below its own; tables are merged, as bake does.
fn with_inherited(
    target: &Target,
    targets: &[Target],
    context: &Context<'_>,
    depth: usize,
    left: &Cell<usize>,
) -> BTreeMap<String, hcl::Expression> {
    let mut merged: BTreeMap<String, hcl::Expression> = BTreeMap::new();
    let names = target.attributes.get("inherits");
    let names = names.and_then(|names| names.evaluate(context).ok());
    let names = names
        .and_then(|names| names.as_array().cloned())
        .unwrap_or_default();
    let parents = names
        .iter()
        .filter_map(|name| {
            targets
                .iter()
                .find(|it| Some(it.name.as_str()) == name.as_str())
        })
        .filter(|_| depth < INHERITED_DEPTH_MAX);
    for parent in parents {
        let Some(fewer) = left.get().checked_sub(1) else {
            break;
        };
        left.set(fewer);
        let inherited = with_inherited(parent, targets, context, depth + 1, left);
        lay_over(&mut merged, inherited);
    }
    lay_over(&mut merged, target.attributes.clone());
    for gone in ["inherits", "matrix", "name"] {
        merged.remove(gone);
    }
    merged
}

fn lay_over(
    lower: &mut BTreeMap<String, hcl::Expression>,
    upper: BTreeMap<String, hcl::Expression>,
) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(hcl::Expression::Object(below)), hcl::Expression::Object(above)) => {
                below.extend(above);
            }
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

type Combinations = Vec<(String, Context<'static>)>;

/// The values of a matrix, each combination with its variables declared; nothing if they are too
/// many.
fn combinations(target: &Target, context: &Context<'static>) -> Option<Combinations> {
    let mut made = vec![(String::new(), context.clone())];
    let matrix = target.attributes.get("matrix");
    let matrix = matrix.and_then(|matrix| matrix.evaluate(context).ok());
    for (axis, values) in matrix.iter().filter_map(hcl::Value::as_object).flatten() {
        let values = values.as_array().cloned().unwrap_or_default();
        if made.len().saturating_mul(values.len()) > COMBINATIONS_MAX {
            return None;
        }
        made = made
            .iter()
            .flat_map(|(name, context)| {
                values.iter().map(move |value| {
                    let mut context = context.clone();
                    context.declare_var(axis.as_str(), value.clone());
                    let word = match value {
                        hcl::Value::Object(table) => {
                            let words: Vec<String> = table.values().map(word_of).collect();
                            words.join("-")
                        }
                        value => word_of(value),
                    };
                    let name = match name.as_str() {
                        "" => word,
                        name => format!("{name}-{word}"),
                    };
                    (name, context)
                })
            })
            .collect();
    }
    Some(made)
}

fn word_of(value: &hcl::Value) -> String {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
}

fn build(tree: &Tree, file: &str, (name, table): &(String, Map<String, Value>), draft: &mut Draft) {
    let value = Value::Object(table.clone());
    let context = text_at(&value, "context").unwrap_or_else(|| ".".to_owned());
    if context.contains("://") {
        draft.note(
            Verdict::Missing,
            file,
            format!("target.{name}"),
            "left out: its context is an address, not a folder".to_owned(),
        );
        return;
    }
    let dockerfile = text_at(&value, "dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
    // Paths count from where bake is called: beside its file, or at the root.
    let homes = [folder(file), ""].map(|home| join(home, &context));
    let has_it = |context: &&String| tree.files.contains_key(&join(context, &dockerfile));
    let context = homes.iter().find(has_it).unwrap_or(&homes[0]).clone();
    let dockerfile = join(&context, &dockerfile);
    if value
        .get("dockerfile-inline")
        .is_some_and(|it| !it.is_null())
    {
        draft.note(
            Verdict::Missing,
            file,
            format!("target.{name}"),
            "left out: its Dockerfile is written in the bake file; put it into a file of its own",
        );
        return;
    }
    if !tree.files.contains_key(&dockerfile) {
        draft.note(
            Verdict::Missing,
            file,
            format!("target.{name}"),
            format!("left out: there is no {dockerfile}"),
        );
        return;
    }
    let mut made = Build {
        takes_metadata: table.contains_key(METADATA),
        key: name.clone(),
        context,
        dockerfile,
        target: text_at(&value, "target"),
        args: pairs(value.get("args")),
        labels: pairs(value.get("labels")),
        platforms: texts(value.get("platforms")),
        file: file.to_owned(),
        ..Build::default()
    };
    for reference in texts(value.get("tags")) {
        let (repository, tag) = name_and_tag(&reference);
        made.names.push(repository.to_owned());
        made.fixed_tags.extend(tag.map(|tag| draft.by_default(tag)));
    }
    // `r-ver_4.4.1.Dockerfile` for `r-ver:4.4.1`: the tag chooses the file.
    let named = file_name(&made.dockerfile).to_owned();
    let chosen = made.fixed_tags.iter().find(|tag| named.contains(*tag));
    if let Some(tag) = chosen.cloned() {
        let others = made.fixed_tags.iter().filter(|it| **it != tag);
        let mut others: Vec<String> = others.cloned().collect();
        others.sort();
        others.dedup();
        if !others.is_empty() {
            draft.note(
                Verdict::Equal,
                file,
                format!("target.{name}: tags {}", others.join(", ")),
                format!("`{tag}` is the variant's, and it has these on main as well"),
            );
        }
        made.further_tags = others;
        made.choice = Some(tag);
    }
    for (from, to) in entries(value.get("contexts")) {
        let to = text(to).unwrap_or_default();
        match to.strip_prefix("target:") {
            Some(parent) => {
                made.parent = Some(parent.to_owned());
                if from != parent {
                    draft.note(
                        Verdict::Differs,
                        file,
                        format!("target.{name}.contexts.{from}"),
                        format!("the Dockerfile calls it `{from}`; here a sibling is called by its name, `{parent}`, or as it is published"),
                    );
                }
            }
            None => draft.note(
                Verdict::Missing,
                file,
                format!("target.{name}.contexts.{from}"),
                "named contexts are not part of a spec yet",
            ),
        }
    }
    if value.get("secret").is_some() {
        secrets::by_id(file, format!("target.{name}.secret"), draft);
    }
    let caches = |key: &str| caches::lines(value.get(key));
    let (from, to) = (caches("cache-from"), caches("cache-to"));
    let what = format!("target.{name}: cache-from, cache-to");
    caches::read(file, what, (&from, &to), made.names.first(), draft);
    if value.get("output").is_some() {
        let what = format!("target.{name}.output");
        draft.note(Verdict::Differs, file, what, "`cairn export` writes images");
    }
    for key in ELSEWHERE.iter().filter(|key| value.get(**key).is_some()) {
        let why = "no setting of a spec says so; `cairn build --help` lists the flags there are";
        draft.note(Verdict::Missing, file, format!("target.{name}.{key}"), why);
    }
    if !made.fixed_tags.is_empty() {
        let what = format!("target.{name}.tags: {}", made.fixed_tags.join(", "));
        draft.note(Verdict::Differs, file, what, TAGS_OF_EVENTS);
    }
    draft.builds.push(made);
}

/// Attributes of a target that a spec has no setting for.
const ELSEWHERE: [&str; 10] = [
    "annotations",
    "attest",
    "entitlements",
    "extra-hosts",
    "network",
    "no-cache",
    "no-cache-filter",
    "shm-size",
    "ssh",
    "ulimits",
];
