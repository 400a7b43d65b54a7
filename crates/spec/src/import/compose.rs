//! Compose files: the services that are built.

use serde_json::Value;

use super::draft::{Build, Draft};
use super::paths::{file_name, folder, join, name_and_tag};
use super::yaml::{entries, pairs, parse, text, text_at, texts};
use super::{ImportError, Tree, Verdict};

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    for (file, text) in tree.texts() {
        let name = file_name(file);
        let is_compose = ["compose.", "docker-compose"]
            .iter()
            .any(|start| name.starts_with(start));
        if !is_compose || !name.ends_with("ml") {
            continue;
        }
        let document = parse(file, text)?;
        for (service, settings) in entries(document.get("services")) {
            if let Some(build) = settings.get("build") {
                draft.from.push(file.to_owned());
                service_build(tree, file, service, settings, build, draft);
            }
        }
    }
    Ok(())
}

fn service_build(
    tree: &Tree,
    file: &str,
    service: &str,
    settings: &Value,
    build: &Value,
    draft: &mut Draft,
) {
    let context = text(build).or_else(|| text_at(build, "context"));
    let context = context.map_or_else(|| ".".to_owned(), |it| plain(&it));
    let context = join(folder(file), &context);
    let dockerfile = text_at(build, "dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
    let dockerfile = join(&context, &plain(&dockerfile));
    if !tree.files.contains_key(&dockerfile) {
        let why = format!("left out: there is no {dockerfile}");
        draft.note(Verdict::Missing, file, format!("services.{service}"), why);
        return;
    }
    let mut made = Build {
        key: service.to_owned(),
        context,
        dockerfile,
        target: text_at(build, "target"),
        labels: pairs(build.get("labels")),
        platforms: texts(build.get("platforms")),
        is_of_compose: true,
        file: file.to_owned(),
        ..Build::default()
    };
    for (name, value) in pairs(build.get("args")) {
        let value = with_variables(&value, draft);
        made.args.insert(name, value);
    }
    let names = texts(build.get("tags"));
    for reference in text_at(settings, "image").into_iter().chain(names) {
        let reference = plain(&reference);
        let (repository, tag) = name_and_tag(&reference);
        made.names.push(repository.to_owned());
        made.fixed_tags.extend(tag.map(str::to_owned));
    }
    let runs = [
        "command",
        "environment",
        "volumes",
        "ports",
        "depends_on",
        "devices",
        "privileged",
    ];
    if runs.iter().any(|key| settings.get(key).is_some()) {
        draft.note(
            Verdict::Missing,
            file,
            format!("services.{service}"),
            "how a service runs (volumes, ports, environment) is no part of a stack of images",
        );
    }
    draft.builds.push(made);
}

/// A value with the defaults of its variables: for names and paths.
fn plain(value: &str) -> String {
    each_variable(value, |_, default| default.to_owned())
}

/// A value with variables of the spec in place of those of the environment.
fn with_variables(value: &str, draft: &mut Draft) -> String {
    each_variable(value, |name, default| draft.variable(name, default))
}

/// Compose's `${NAME}`, `${NAME:-default}`, `$NAME` and `$$`.
fn each_variable(value: &str, mut put: impl FnMut(&str, &str) -> String) -> String {
    let mut made = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        made.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            made.push('$');
            rest = after;
        } else if let Some((inside, after)) =
            behind.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            let end = inside.find([':', '-', '?', '+']).unwrap_or(inside.len());
            let (name, rule) = inside.split_at(end);
            let default = rule.trim_start_matches(':').strip_prefix('-').unwrap_or("");
            made.push_str(&put(name, default));
            rest = after;
        } else {
            let end = behind
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(behind.len());
            match end {
                0 => made.push('$'),
                _ => made.push_str(&put(&behind[..end], "")),
            }
            rest = &behind[end..];
        }
    }
    made + rest
}
