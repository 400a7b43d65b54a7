//! GitHub Actions workflows that build images: a matrix, docker/build-push-action, and
//! docker/metadata-action's tags.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Build, Draft};
use super::paths::{file_name, join, name_and_tag};
use super::yaml::{entries, parse, text, text_at, texts};
use super::{ImportError, Tree, Verdict, metadata};

/// More combinations than GitHub has.
const COMBINATIONS_MAX: usize = 256;

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    for (file, text) in tree.texts() {
        let is_workflow = file.starts_with(".github/workflows/") && file.ends_with("ml");
        if !is_workflow || !text.contains("docker/build-push-action") {
            continue;
        }
        let workflow = parse(file, text)?;
        for (_, job) in entries(workflow.get("jobs")) {
            read_job(tree, file, &workflow, job, draft);
        }
    }
    Ok(())
}

fn read_job(tree: &Tree, file: &str, workflow: &Value, job: &Value, draft: &mut Draft) {
    let steps = job.get("steps").and_then(Value::as_array);
    let steps: Vec<&Value> = steps.into_iter().flatten().collect();
    let uses = |action: &str| {
        let action = action.to_owned();
        let steps = steps.iter().copied();
        steps.filter(move |step| text_at(step, "uses").is_some_and(|it| it.starts_with(&action)))
    };
    let builds: Vec<&Value> = uses("docker/build-push-action").collect();
    if builds.is_empty() {
        return;
    }
    draft.from.push(file.to_owned());
    let metadata: Vec<&Value> = uses("docker/metadata-action").collect();
    if let Some(step) = metadata.first() {
        let tags = texts(step.pointer("/with/tags"));
        let flavor = texts(step.pointer("/with/flavor"));
        metadata::read(file, &tags, &flavor, draft);
    }
    triggers(file, workflow, &builds, draft);
    for values in combinations(job.pointer("/strategy/matrix")) {
        let scope = Scope {
            values: &values,
            workflow,
            job,
        };
        for step in &builds {
            build(tree, file, &scope, step, metadata.first().copied(), draft);
        }
    }
}

/// What the workflow does on which event, beyond the tags.
fn triggers(file: &str, workflow: &Value, builds: &[&Value], draft: &mut Draft) {
    let pushes = builds.iter().filter_map(|step| step.pointer("/with/push"));
    let spares_pulls = pushes
        .filter_map(text)
        .any(|it| it.contains("pull_request"));
    if spares_pulls {
        draft.note(
            Verdict::Equal,
            file,
            "push on a pull request",
            "a pull request builds, tests and publishes nothing",
        );
    }
    // YAML 1.1 reads the key `on` as true.
    let on = workflow.get("on").or_else(|| workflow.get("true"));
    let branches = texts(on.and_then(|on| on.pointer("/push/branches")));
    if branches.is_empty() {
        return;
    }
    // A push to any other branch starts no run there, so it publishes nothing.
    draft.tags.insert(crate::EventKind::Branch, Vec::new());
    draft.note(
        Verdict::Equal,
        file,
        format!("on.push.branches: {}", branches.join(", ")),
        "they are `tags.main-branches`; a push to any other branch publishes nothing",
    );
    draft.main_branches.extend(branches);
}

/// What expressions of one combination can name.
struct Scope<'a> {
    values: &'a BTreeMap<String, Value>,
    workflow: &'a Value,
    job: &'a Value,
}

impl Scope<'_> {
    /// Puts values in the place of `${{ ... }}`; names of the runner become variables.
    fn text(&self, written: &str, draft: &mut Draft) -> Option<String> {
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

    fn value(&self, expression: &str, draft: &mut Draft) -> Option<String> {
        if let Some(inside) = expression.strip_prefix("join(") {
            return self.joined(inside.split(',').next()?.trim_end_matches(')').trim());
        }
        if let Some(name) = expression.strip_prefix("env.") {
            let homes = [self.job.get("env"), self.workflow.get("env")];
            let value = homes
                .into_iter()
                .flatten()
                .find_map(|env| text_at(env, name))?;
            return self.text(&value, draft);
        }
        if let Some(path) = expression.strip_prefix("matrix.") {
            return self.joined(&format!("matrix.{path}"));
        }
        match expression {
            "github.repository" => Some(draft.variable("GITHUB_REPOSITORY", "owner/repository")),
            "github.repository_owner" => Some(draft.variable("GITHUB_REPOSITORY_OWNER", "owner")),
            _ => None,
        }
    }

    /// A value of the matrix; a list as its lines.
    fn joined(&self, expression: &str) -> Option<String> {
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

/// The combinations of a matrix: axes multiplied, `exclude` taken out, `include` put in.
fn combinations(matrix: Option<&Value>) -> Vec<BTreeMap<String, Value>> {
    let mut made = vec![BTreeMap::new()];
    let mut has_axes = false;
    for (axis, values) in entries(matrix) {
        let Some(values) = values
            .as_array()
            .filter(|_| axis != "include" && axis != "exclude")
        else {
            continue;
        };
        has_axes = true;
        made = made
            .iter()
            .flat_map(|row: &BTreeMap<String, Value>| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.insert(axis.to_owned(), value.clone());
                    row
                })
            })
            .take(COMBINATIONS_MAX)
            .collect();
    }
    let rows = |key: &str| {
        let rows = matrix
            .and_then(|matrix| matrix.get(key))
            .and_then(Value::as_array);
        let rows = rows.into_iter().flatten().filter_map(Value::as_object);
        rows.map(|row| row.clone().into_iter().collect::<BTreeMap<String, Value>>())
            .collect::<Vec<_>>()
    };
    let excluded = rows("exclude");
    made.retain(|row| {
        !excluded
            .iter()
            .any(|out| out.iter().all(|(key, value)| row.get(key) == Some(value)))
    });
    let included = rows("include");
    if !has_axes && !included.is_empty() {
        return included;
    }
    let before = made.clone();
    for row in included {
        // GitHub's rule: it extends the combinations whose axes it does not change, else it is one more.
        let mut extends = false;
        for (made, axes) in made.iter_mut().zip(&before) {
            if row
                .iter()
                .all(|(key, value)| axes.get(key).is_none_or(|it| it == value))
            {
                made.extend(row.clone());
                extends = true;
            }
        }
        if !extends {
            made.push(row);
        }
    }
    made
}

fn build(
    tree: &Tree,
    file: &str,
    scope: &Scope<'_>,
    step: &Value,
    metadata: Option<&Value>,
    draft: &mut Draft,
) {
    let with = |step: &Value, key: &str, draft: &mut Draft| {
        let written = step.pointer(&format!("/with/{key}"))?;
        match texts(Some(written)).as_slice() {
            [] => None,
            lines => scope.text(&lines.join("\n"), draft),
        }
    };
    let context = join(
        "",
        &with(step, "context", draft).unwrap_or_else(|| ".".to_owned()),
    );
    let dockerfile = match with(step, "file", draft) {
        Some(path) => join("", &path),
        None => join(&context, "Dockerfile"),
    };
    let name = scope
        .joined("matrix.name")
        .or_else(|| scope.joined("matrix.image.name"));
    if !tree.files.contains_key(&dockerfile) {
        let what = name.unwrap_or_else(|| context.clone());
        draft.note(
            Verdict::Missing,
            file,
            what,
            format!("left out: there is no {dockerfile}"),
        );
        return;
    }
    let mut made = Build {
        context,
        dockerfile,
        target: with(step, "target", draft),
        platforms: with(step, "platforms", draft)
            .map(|it| {
                it.split([',', '\n'])
                    .map(|it| it.trim().to_owned())
                    .collect()
            })
            .unwrap_or_default(),
        file: file.to_owned(),
        ..Build::default()
    };
    let images = metadata.and_then(|step| with(step, "images", draft));
    let images = images
        .or_else(|| with(step, "tags", draft))
        .unwrap_or_default();
    for reference in images.lines().filter(|line| !line.trim().is_empty()) {
        let reference = reference.split(',').next().unwrap_or(reference);
        let reference = reference.trim().trim_start_matches("name=");
        let (name, tag) = name_and_tag(reference);
        made.names.push(name.to_owned());
        if metadata.is_none() {
            made.fixed_tags.extend(tag.map(str::to_owned));
        }
    }
    let published = made.names.first().map(|name| file_name(name).to_owned());
    let of_folder = Some(file_name(&made.context).to_owned()).filter(|it| !it.is_empty());
    made.key = name
        .or(published)
        .or(of_folder)
        .unwrap_or_else(|| "image".to_owned());
    for line in texts(step.pointer("/with/build-args")) {
        let Some(line) = scope.text(&line, draft) else {
            draft.note(
                Verdict::Missing,
                file,
                format!("build-args: {line}"),
                "its value is known to the runner only; give it as a variable of the spec",
            );
            continue;
        };
        // An entry of the matrix may hold several lines.
        let pairs = line.lines().filter_map(|line| line.split_once('='));
        made.args
            .extend(pairs.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())));
    }
    caches(file, step, &made, draft);
    draft.builds.push(made);
}

/// Where steps' results were carried from one runner to the next.
fn caches(file: &str, step: &Value, made: &Build, draft: &mut Draft) {
    let written = |key: &str| texts(step.pointer(&format!("/with/{key}")));
    let (from, to) = (written("cache-from"), written("cache-to"));
    if from.is_empty() && to.is_empty() {
        return;
    }
    for line in &from {
        let reference = line.split(',').find_map(|it| it.strip_prefix("ref="));
        if let (true, Some(reference)) = (line.starts_with("type=registry"), reference)
            && !reference.contains('$')
        {
            draft.cache_from.push(reference.to_owned());
        }
    }
    let home = made.names.first().map_or("REGISTRY/NAME", String::as_str);
    let mut why = match draft.cache_from.is_empty() {
        true => format!(
            "a store that stays needs none. A runner that starts empty takes results from a registry: `--cache-from {home}:cache --cache-to type=registry,ref={home}:cache,mode=min`"
        ),
        false => {
            "read from there by `build.cache-from`; `--cache-to` writes, on the command line of CI"
                .to_owned()
        }
    };
    if to.iter().any(|line| line.contains("mode=max")) {
        why.push_str(
            "; `mode=max` keeps stages that no image consists of, and often costs more than it saves",
        );
    }
    draft.note(Verdict::Differs, file, "cache-from, cache-to", why);
}
