//! What docker/build-push-action is told besides what it builds: arguments, secrets, labels, caches.

use serde_json::Value;

use super::scope::Scope;
use crate::import::draft::{Build, Draft};
use crate::import::yaml::texts;
use crate::import::{Verdict, caches, secrets};

/// Inputs of the action that a spec has no setting for.
const ELSEWHERE: [&str; 12] = [
    "add-hosts",
    "allow",
    "annotations",
    "attests",
    "network",
    "no-cache",
    "no-cache-filters",
    "outputs",
    "provenance",
    "sbom",
    "shm-size",
    "ssh",
];

pub(super) fn read(
    file: &str,
    scope: &Scope<'_>,
    step: &Value,
    made: &mut Build,
    draft: &mut Draft,
) {
    let written = |key: &str| texts(step.pointer(&format!("/with/{key}")));
    for line in written("build-args") {
        argument(file, scope, &line, made, draft);
    }
    let ids: Vec<String> = ["secrets", "secret-envs", "secret-files"]
        .iter()
        .flat_map(|key| written(key))
        .filter_map(|line| Some(line.split_once('=')?.0.trim_matches('"').to_owned()))
        .collect();
    if !ids.is_empty() {
        secrets::by_id(file, format!("secrets: {}", ids.join(", ")), draft);
    }
    for line in written("labels") {
        label(file, &line, made, draft);
    }
    for line in written("build-contexts") {
        let what = format!("build-contexts: {line}");
        let why = "named contexts are not part of a spec yet";
        draft.note(Verdict::Missing, file, what, why);
    }
    for key in ELSEWHERE {
        let given = written(key);
        if given.iter().any(|it| it != "false") {
            let what = format!("{key}: {}", given.join(", "));
            let why =
                "no setting of a spec says so; `cairn build --help` lists the flags there are";
            draft.note(Verdict::Missing, file, what, why);
        }
    }
    let (from, to) = (written("cache-from"), written("cache-to"));
    let what = "cache-from, cache-to".to_owned();
    caches::read(file, what, (&from, &to), made.names.first(), draft);
}

fn argument(file: &str, scope: &Scope<'_>, line: &str, made: &mut Build, draft: &mut Draft) {
    let name = line.split_once('=').map_or(line, |(name, _)| name).trim();
    if scope.names_secret(line) {
        return secrets::leave_out(file, format!("build-args: {name}"), name, draft);
    }
    match scope.text(line, draft) {
        // An entry of the matrix may hold several lines.
        Some(lines) => {
            let pairs = lines.lines().filter_map(|line| line.split_once('='));
            made.args
                .extend(pairs.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())));
        }
        None => secrets::unknown(file, format!("build-args: {line}"), name, draft),
    }
}

fn label(file: &str, line: &str, made: &mut Build, draft: &mut Draft) {
    match line.split_once('=').filter(|_| !line.contains("${{")) {
        Some((name, value)) => {
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            made.labels.insert(name, value);
        }
        None => draft.note(
            Verdict::Differs,
            file,
            format!("labels: {line}"),
            "the commit is a label by itself, and title, time and source are annotations; `labels` adds more",
        ),
    }
}
