//! GitHub Actions workflows that build images: a matrix, docker/build-push-action, `docker build` in
//! scripts, workflows that are called, and docker/metadata-action's tags.

mod commands;
mod inputs;
mod matrix;
mod scope;
mod written_tags;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::{Build, Draft};
use super::paths::{file_name, join, name_and_tag};
use super::yaml::{entries, parse, text, text_at, texts};
use super::{ImportError, Tree, Verdict, metadata};
use matrix::combinations;
use scope::Scope;

/// What a workflow says that builds images, or calls one that does.
const MARKS: [&str; 5] = [
    "docker/build-push-action",
    "docker/bake-action",
    "docker build ",
    "docker buildx build ",
    CALLED,
];
/// How a workflow of the same repository is called.
const CALLED: &str = "./.github/workflows/";

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    let mut workflows: BTreeMap<&str, Value> = BTreeMap::new();
    for (file, text) in tree.texts() {
        let is_workflow = file.starts_with(".github/workflows/") && file.ends_with("ml");
        if is_workflow && MARKS.iter().any(|mark| text.contains(mark)) {
            workflows.insert(file, parse(file, text)?);
        }
    }
    let jobs = || {
        workflows.iter().flat_map(|(file, workflow)| {
            entries(workflow.get("jobs")).map(move |(_, job)| (*file, workflow, job))
        })
    };
    let calls = jobs().filter_map(|(_, _, job)| called(job));
    let calls: BTreeSet<String> = calls
        .filter(|it| workflows.contains_key(it.as_str()))
        .collect();
    for (file, workflow, job) in jobs() {
        let called = called(job).and_then(|it| workflows.get_key_value(it.as_str()));
        if let Some((called, other)) = called {
            call(tree, (file, workflow, job), (called, other), draft);
        } else if !calls.contains(file) {
            read_job(tree, file, workflow, job, &BTreeMap::new(), draft);
        }
    }
    Ok(())
}

/// The workflow of the same repository that a job calls.
fn called(job: &Value) -> Option<String> {
    let uses = text_at(job, "uses")?;
    let name = uses.strip_prefix(CALLED)?;
    Some(format!(".github/workflows/{name}"))
}

/// A workflow that is called is read once for each combination of what it is given.
fn call(
    tree: &Tree,
    (file, workflow, job): (&str, &Value, &Value),
    (called, other): (&str, &Value),
    draft: &mut Draft,
) {
    for values in combinations(job.pointer("/strategy/matrix")) {
        let scope = Scope {
            values: &values,
            inputs: &BTreeMap::new(),
            workflow,
            job,
            depth: 0,
        };
        let given = entries(job.get("with")).filter_map(|(name, value)| {
            let value = scope.text(&text(value)?, draft)?;
            Some((name.to_owned(), value))
        });
        let given: BTreeMap<String, String> = given.collect();
        for (_, job) in entries(other.get("jobs")) {
            read_job(tree, called, other, job, &given, draft);
        }
    }
    draft.from.push(file.to_owned());
}

fn read_job(
    tree: &Tree,
    file: &str,
    workflow: &Value,
    job: &Value,
    inputs: &BTreeMap<String, String>,
    draft: &mut Draft,
) {
    let steps = job.get("steps").and_then(Value::as_array);
    let steps: Vec<&Value> = steps.into_iter().flatten().collect();
    let uses = |action: &str| {
        let action = action.to_owned();
        let steps = steps.iter().copied();
        steps.filter(move |step| text_at(step, "uses").is_some_and(|it| it.starts_with(&action)))
    };
    let builds: Vec<&Value> = uses("docker/build-push-action").collect();
    let bakes = uses("docker/bake-action").next().is_some();
    let metadata: Vec<&Value> = uses("docker/metadata-action").collect();
    let rows = combinations(job.pointer("/strategy/matrix"));
    let scopes = rows.iter().map(|values| Scope {
        values,
        inputs,
        workflow,
        job,
        depth: 0,
    });
    let scopes: Vec<Scope<'_>> = scopes.collect();
    for scope in &scopes {
        for step in &steps {
            let found = commands::builds(tree, file, scope, step, draft);
            if !found.is_empty() {
                draft.from.push(file.to_owned());
                draft.builds.extend(found);
            }
        }
    }
    if builds.is_empty() && !bakes {
        return;
    }
    draft.from.push(file.to_owned());
    if let Some(step) = metadata.first() {
        let tags = texts(step.pointer("/with/tags"));
        let flavor = texts(step.pointer("/with/flavor"));
        metadata::read(file, &tags, &flavor, draft);
    }
    if bakes && let Some(step) = metadata.first() {
        name_baked(step, &scopes, draft);
    }
    triggers(file, workflow, &builds, draft);
    for step in builds.iter().filter(|_| metadata.is_empty()) {
        let tags = texts(step.pointer("/with/tags"));
        let tags = tags.iter().filter_map(|it| name_and_tag(it).1);
        let tags: Vec<String> = tags.map(str::to_owned).collect();
        written_tags::read(file, &tags, draft);
    }
    for scope in &scopes {
        for step in &builds {
            build(tree, file, scope, step, metadata.first().copied(), draft);
        }
    }
}

/// What bake builds gets the names that the action gives: `inherits = ["docker-metadata-action"]`.
fn name_baked(step: &Value, scopes: &[Scope<'_>], draft: &mut Draft) {
    let images = texts(step.pointer("/with/images"));
    let names = images.iter().flat_map(|it| it.split(','));
    let names: Vec<String> = names
        .filter_map(|name| scopes.first()?.text(name.trim(), draft))
        .collect();
    for build in draft.builds.iter_mut().filter(|it| it.takes_metadata) {
        build.names.clone_from(&names);
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
    for branch in branches {
        if !draft.main_branches.contains(&branch) {
            draft.main_branches.push(branch);
        }
    }
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
        let written = || text(step.pointer("/with/context")?);
        let what = name.or_else(written).unwrap_or_else(|| context.clone());
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
    let images: Vec<String> = match images {
        Some(images) => images.lines().map(str::to_owned).collect(),
        None => texts(step.pointer("/with/tags")),
    };
    // A line of `images` may have attributes behind the name; a line of `tags` several names.
    let count = match metadata {
        Some(_) => 1,
        None => usize::MAX,
    };
    for reference in images.iter().flat_map(|line| line.split(',').take(count)) {
        let reference = reference.trim().trim_start_matches("name=");
        let (name, tag) = name_and_tag(reference);
        let Some(name) = scope.text(name, draft).filter(|name| !name.is_empty()) else {
            continue;
        };
        if !made.names.contains(&name) {
            made.names.push(name);
        }
        if metadata.is_none() {
            let tag = tag.and_then(|tag| scope.text(tag, draft));
            made.fixed_tags.extend(tag);
        }
    }
    made.affixes = metadata.and_then(|step| {
        let lines = |key: &str| texts(step.pointer(&format!("/with/{key}")));
        metadata::of_matrix(&lines("tags"), &lines("flavor"), &mut |text| {
            scope.text(text, draft)
        })
    });
    let published = made.names.first().map(|name| file_name(name).to_owned());
    let of_folder = Some(file_name(&made.context).to_owned()).filter(|it| !it.is_empty());
    made.key = name
        .or(published)
        .or(of_folder)
        .unwrap_or_else(|| "image".to_owned());
    made.values = scope.values_told();
    inputs::read(file, scope, step, &mut made, draft);
    draft.builds.push(made);
}
