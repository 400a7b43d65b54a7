//! Cloud Build: the steps that call `docker build`, with their substitutions as variables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::docker_build::DockerBuild;
use super::draft::{Build, Draft};
use super::paths::{file_name, join, name_and_tag};
use super::yaml::{pairs, parse, text_at};
use super::{ImportError, Tree, Verdict, secrets, shell};

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    for (file, text) in tree.texts() {
        if !is_cloud_build(file, text) {
            continue;
        }
        let document = parse(file, text)?;
        let substitutions = pairs(document.get("substitutions"));
        let steps = document.get("steps").and_then(Value::as_array);
        for step in steps.into_iter().flatten() {
            other_tools(file, step, draft);
            for words in commands(step) {
                if let Some(command) = DockerBuild::read(&words) {
                    draft.from.push(file.to_owned());
                    for (choice, substitutions) in choices(tree, &command, &substitutions) {
                        build(tree, file, &command, choice, &substitutions, draft);
                    }
                }
            }
        }
    }
    Ok(())
}

/// By its name, or by the steps that it has: teams have several, under names of their own.
fn is_cloud_build(file: &str, text: &str) -> bool {
    let name = file_name(file);
    let is_file = [".yaml", ".yml", ".json"]
        .iter()
        .any(|it| name.ends_with(it));
    let is_named = name.starts_with("cloudbuild");
    is_file && (is_named || text.contains(CLOUD_BUILDERS))
}

/// Where the steps of Cloud Build come from.
const CLOUD_BUILDERS: &str = "gcr.io/cloud-builders/docker";

/// Steps that make an image without a Dockerfile, or with a tool that is not read.
fn other_tools(file: &str, step: &Value, draft: &mut Draft) {
    let name = text_at(step, "name").unwrap_or_default();
    let (tool, _) = name_and_tag(&name);
    if ["pack", "ko", "jib", "bazel", "skaffold"].contains(&file_name(tool)) {
        let why = "left out: it makes an image in its own way, and no Dockerfile says how";
        draft.note(Verdict::Missing, file, format!("a step of {tool}"), why);
    }
}

/// The commands of a step: its arguments, or the lines of a script.
fn commands(step: &Value) -> Vec<Vec<String>> {
    let arguments = texts_kept(step.get("args"));
    let script = text_at(step, "script").or_else(|| {
        let is_shell = text_at(step, "entrypoint").is_some_and(|it| it.ends_with("sh"));
        let script = arguments.iter().skip_while(|it| *it != "-c").nth(1);
        script.filter(|_| is_shell).cloned()
    });
    match script {
        Some(script) => shell::commands(&script),
        None => {
            let name = text_at(step, "name").unwrap_or_default();
            let program = match file_name(name_and_tag(&name).0) {
                "executor" => "executor",
                program if program.starts_with("docker") => "docker",
                _ => return Vec::new(),
            };
            vec![[vec![program.to_owned()], arguments].concat()]
        }
    }
}

/// Arguments as they are, scripts of several lines among them.
fn texts_kept(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(super::yaml::text).collect()
}

/// `-f docker/${_TAG}.Dockerfile` without a default builds whatever somebody asks for: one image
/// for each Dockerfile that is there. Anything else is built once.
fn choices(
    tree: &Tree,
    command: &DockerBuild,
    substitutions: &BTreeMap<String, String>,
) -> Vec<(Option<String>, BTreeMap<String, String>)> {
    let mut open = Vec::new();
    let marked = substituted(command.dockerfile.as_deref().unwrap_or_default(), |name| {
        let known = substitutions.get(name).cloned();
        known.or_else(|| {
            open.push(name.to_owned());
            Some(OPEN.to_string())
        })
    });
    let marked = join("", &marked);
    let made = match (open.as_slice(), marked.split_once(OPEN)) {
        ([name], Some((before, behind))) => {
            let files = tree.files.keys().filter_map(|path| {
                let value = path.strip_prefix(before)?.strip_suffix(behind)?;
                let is_value = !value.is_empty() && !value.contains('/');
                is_value.then(|| value.to_owned())
            });
            let with = |value: String| {
                let mut all = substitutions.clone();
                all.insert(name.clone(), value.clone());
                (Some(value), all)
            };
            files.map(with).collect()
        }
        _ => Vec::new(),
    };
    match made.is_empty() {
        true => vec![(None, substitutions.clone())],
        false => made,
    }
}

/// Stands for a substitution that has no default; in no path.
const OPEN: char = '\0';

fn build(
    tree: &Tree,
    file: &str,
    command: &DockerBuild,
    choice: Option<String>,
    substitutions: &BTreeMap<String, String>,
    draft: &mut Draft,
) {
    let plain = |text: &str| substituted(text, |name| substitutions.get(name).cloned());
    // Where Cloud Build lays out what it was given.
    let context = plain(&command.context);
    let context = context.trim_start_matches("dir://");
    let context = join(
        "",
        context
            .strip_prefix("/workspace")
            .map_or(context, |it| it.trim_start_matches('/')),
    );
    let dockerfile = match &command.dockerfile {
        Some(dockerfile) => join("", &plain(dockerfile)),
        None => join(&context, "Dockerfile"),
    };
    if !tree.files.contains_key(&dockerfile) {
        let what = command.tags.first().cloned().unwrap_or_default();
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
        target: command.target.as_deref().map(plain),
        platforms: command
            .platforms
            .iter()
            .flat_map(|it| plain(it).split(',').map(str::to_owned).collect::<Vec<_>>())
            .collect(),
        choice,
        file: file.to_owned(),
        ..Build::default()
    };
    for reference in &command.tags {
        // The tag first: its variables have defaults, those of the name may have none.
        let known = plain(reference);
        let (name, tag) = name_and_tag(&known);
        made.fixed_tags
            .extend(tag.filter(|tag| !tag.contains('$')).map(str::to_owned));
        made.names.push(named(file, name, draft));
    }
    made.key = made
        .names
        .first()
        .map_or_else(|| "image".to_owned(), |name| file_name(name).to_owned());
    for arg in &command.args {
        let Some((name, value)) = arg.split_once('=') else {
            continue;
        };
        if value.contains("$$") {
            secrets::leave_out(file, format!("--build-arg {name}"), name, draft);
            continue;
        }
        let value = substituted(value, |substitution| {
            let default = substitutions.get(substitution).map_or("", String::as_str);
            Some(draft.variable(substitution, default))
        });
        made.args.insert(name.to_owned(), value);
    }
    if made.choice.is_none() {
        draft.note(
            Verdict::Differs,
            file,
            "tags",
        "a build is published under the tags of its event, see `cairn tags`; here it was one substitution",
        );
    }
    draft.builds.push(made);
}

/// The name with variables for what Cloud Build fills in by itself.
fn named(file: &str, name: &str, draft: &mut Draft) -> String {
    if name.contains('$') {
        draft.note(
            Verdict::Differs,
            file,
            name,
            "what Cloud Build fills in by itself is a variable here: set it in the environment",
        );
    }
    substituted(name, |substitution| {
        let default = substitution.to_ascii_lowercase().replace('_', "-");
        Some(draft.unknown_variable(substitution, &default))
    })
}

/// `${NAME}` and `$NAME`; what is not known stays.
fn substituted(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        made.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (name, after) = match behind.strip_prefix('{').and_then(|it| it.split_once('}')) {
            Some((name, after)) => (name, after),
            None => {
                let end = behind
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(behind.len());
                behind.split_at(end)
            }
        };
        let written = &rest[at..rest.len() - after.len()];
        made.push_str(&value(name).unwrap_or_else(|| written.to_owned()));
        rest = after;
    }
    made + rest
}
