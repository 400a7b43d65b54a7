//! `docker build` in a step's script: the images that it gives a published name.

use serde_json::Value;

use super::scope::Scope;
use crate::import::assemble::is_published;
use crate::import::docker_build::DockerBuild;
use crate::import::draft::{Build, Draft};
use crate::import::paths::{file_name, join, name_and_tag};
use crate::import::yaml::text_at;
use crate::import::{Tree, secrets, shell};

/// The builds of a step; what a developer tries under a local name is no image of the stack.
pub(super) fn builds(
    tree: &Tree,
    file: &str,
    scope: &Scope<'_>,
    step: &Value,
    draft: &mut Draft,
) -> Vec<Build> {
    let script = text_at(step, "run").unwrap_or_default();
    let home = text_at(step, "working-directory").unwrap_or_default();
    let script = script.replace("\\\n", " ");
    let mut commands = Vec::new();
    for line in script.lines() {
        let known = scope.text(line, draft);
        let line = known.unwrap_or_else(|| without_expressions(line));
        let lines = shell::commands(&line);
        commands.extend(lines.iter().filter_map(|it| DockerBuild::read(it)));
    }
    let mut builds = Vec::new();
    for command in &commands {
        if let Some(mut build) = build(tree, file, &home, command, draft) {
            if build.platforms.is_empty() {
                build.platforms.extend(scope.platform());
            }
            build.affixes = scope.tag_prefix();
            for argument in &command.args {
                if let Some((name, value)) = argument.split_once('=')
                    && is_unknown(value, draft)
                {
                    secrets::unknown(file, format!("--build-arg {name}"), name, draft);
                }
            }
            builds.push(build);
        }
    }
    builds
}

/// A line with a variable of the shell in the place of each expression: one word, and not known.
fn without_expressions(line: &str) -> String {
    let mut made = String::new();
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once("${{") {
        made.push_str(before);
        made.push_str("$EXPRESSION");
        rest = behind.split_once("}}").map_or("", |(_, after)| after);
    }
    made + rest
}

/// Whether the shell, or nobody, fills something in: variables of the spec are known.
fn is_unknown(text: &str, draft: &Draft) -> bool {
    draft.by_default(text).contains('$')
}

fn build(
    tree: &Tree,
    file: &str,
    home: &str,
    command: &DockerBuild,
    draft: &Draft,
) -> Option<Build> {
    let context = join(home, &command.context);
    let dockerfile = match &command.dockerfile {
        Some(path) => join(home, path),
        None => join(&context, "Dockerfile"),
    };
    let names = command.tags.iter().map(|tag| name_and_tag(tag));
    let names = names.filter(|(name, _)| is_published(name) && !is_unknown(name, draft));
    let names: Vec<(&str, Option<&str>)> = names.collect();
    let (first, _) = names.first()?;
    if !tree.files.contains_key(&dockerfile) {
        return None;
    }
    let plain = |text: &&str| !is_unknown(text, draft);
    let args = command.args.iter().filter_map(|arg| arg.split_once('='));
    let args = args.filter(|(_, value)| !is_unknown(value, draft));
    Some(Build {
        key: file_name(first).to_owned(),
        names: names.iter().map(|(name, _)| (*name).to_owned()).collect(),
        fixed_tags: names
            .iter()
            .filter_map(|(_, tag)| tag.filter(plain).map(str::to_owned))
            .collect(),
        context,
        dockerfile,
        target: command.target.clone(),
        platforms: command.platforms.clone(),
        args: args.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        file: file.to_owned(),
        ..Build::default()
    })
}
