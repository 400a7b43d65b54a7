//! DataHub's `spec.yml` and `change_ignore.json`: a folder of images, each in a folder of its
//! own, with parents, tracks ("plans") and a year.quarter prefix.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Build, Draft};
use super::emit::quoted;
use super::paths::{file_name, folder, join};
use super::yaml::{entries, pairs, parse, text, text_at, texts};
use super::{ImportError, Tree, Verdict};
use crate::settings::EventKind;

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    let texts = tree
        .texts()
        .filter(|(path, _)| matches!(file_name(path), "spec.yml" | "spec.yaml"));
    let mut specs = Vec::new();
    for (file, text) in texts.filter(|(_, text)| text.contains("image_name")) {
        let spec = parse(file, text)?;
        if spec.get("images").is_some_and(Value::is_object) {
            specs.push((file, spec));
        }
    }
    // A stack has one such file: the one with the most images that are there, the uppermost of those.
    specs.sort_by_key(|(file, spec)| {
        let depth = file.matches('/').count();
        (std::cmp::Reverse(images_there(tree, file, spec)), depth)
    });
    let mut specs = specs.into_iter();
    let Some((chosen, spec)) = specs.next() else {
        return Ok(());
    };
    for (file, _) in specs {
        draft.note(
            Verdict::Missing,
            file,
            "images",
            format!("left out: {chosen} is read, which has at least as many images that are there, and a stack has one such file; `cairn import {}` reads this one", match folder(file) {
                "" => ".",
                folder => folder,
            }),
        );
    }
    images(tree, chosen, &spec, draft);
    ignored(tree, folder(chosen), draft)
}

/// How many images of a file have their Dockerfiles beside it.
fn images_there(tree: &Tree, file: &str, spec: &Value) -> usize {
    let there = entries(spec.get("images")).filter(|(key, image)| {
        tree.files
            .contains_key(&dockerfile_of(&join(folder(file), key), image))
    });
    there.count()
}

fn dockerfile_of(context: &str, image: &Value) -> String {
    let dockerfile = text_at(image, "dockerfile");
    join(context, dockerfile.as_deref().unwrap_or("Dockerfile"))
}

fn images(tree: &Tree, file: &str, spec: &Value, draft: &mut Draft) {
    draft.from.push(file.to_owned());
    let home = folder(file);
    draft.prefix = spec
        .pointer("/tag/prefix")
        .and_then(text)
        .or(draft.prefix.take());
    if draft.prefix.is_some() {
        for kind in [EventKind::Branch, EventKind::Main] {
            draft.tag(kind, "{prefix}-{branch}");
        }
        draft.note(
            Verdict::Equal,
            file,
            "tag.prefix",
            "`tags.prefix`; a branch and main publish `{prefix}-{branch}`, a pull request nothing",
        );
    }
    let plans: Vec<(&str, &Value)> = entries(spec.get("plans")).collect();
    for (key, image) in entries(spec.get("images")) {
        let context = join(home, key);
        let build = Build {
            key: key.to_owned(),
            names: text_at(image, "image_name").into_iter().collect(),
            dockerfile: dockerfile_of(&context, image),
            context,
            args: pairs(image.get("build_args")),
            parent: text_at(image, "depend_on"),
            info: texts(image.get("info_cmds")),
            file: file.to_owned(),
            ..Build::default()
        };
        if !tree.files.contains_key(&build.dockerfile) {
            draft.note(
                Verdict::Missing,
                file,
                format!("images.{key}"),
                format!("left out: there is no {}", build.dockerfile),
            );
            continue;
        }
        leftovers(file, key, image, draft);
        let suites = suites(tree, file, key, image, &build, draft);
        let build = Build { suites, ..build };
        if plans.is_empty() {
            draft.builds.push(build);
            continue;
        }
        let skipped = texts(image.get("skip_plans"));
        let env = image.get("dbuild_env");
        for (plan, settings) in &plans {
            if skipped.iter().any(|skipped| skipped == plan) {
                continue;
            }
            let mut args: BTreeMap<String, String> = build.args.clone();
            args.extend(pairs(env.and_then(|env| env.get("common"))));
            args.extend(pairs(env.and_then(|env| env.get(*plan))));
            draft.builds.push(Build {
                args,
                track: Some(((*plan).to_owned(), text_at(settings, "tag_prefix"))),
                ..build.clone()
            });
        }
    }
    if !plans.is_empty() {
        draft.note(
            Verdict::Equal,
            file,
            "plans",
            "each is a variant with its own `tags.prefix` under the same name",
        );
    }
    draft.note(
        Verdict::Differs,
        file,
        "rebuilding",
        "an image is rebuilt when what reaches it changed, on main too; `rebuild = \"on-main\"` in `[defaults]` runs every step there",
    );
    info(file, spec, draft);
    promotion(file, draft);
}

/// Commands about an image's contents, under the names that they have there.
fn info(file: &str, spec: &Value, draft: &mut Draft) {
    let commands: Vec<(&str, &Value)> = entries(spec.get("all_info_cmds")).collect();
    if commands.is_empty() {
        return;
    }
    for (name, settings) in commands {
        if let Some(command) = text_at(settings, "command") {
            let title = text_at(settings, "description");
            draft.info.insert(name.to_owned(), (title, command));
        }
    }
    draft.note(
        Verdict::Equal,
        file,
        "info_cmds, all_info_cmds",
        "`info` and `[info]`: sections of the images' pages that `--records` writes",
    );
}

/// The two steps to `stable`, which workflows of theirs take by hand.
fn promotion(file: &str, draft: &mut Draft) {
    if draft.prefix.is_none() {
        return;
    }
    draft.promote.extend(
        [
            "\"{prefix}-stable\" = { from = \"{prefix}-{branch}\" }",
            "stable = { from = \"{prefix}-stable\" }",
        ]
        .map(str::to_owned),
    );
    draft.note(
        Verdict::Equal,
        file,
        "stable tags",
        "`cairn promote 2026.3-main 2026.3-stable` and `cairn promote stable` give them; `tests = true` in `[promote]` demands that tests passed, and `workflow = \"workflow_tests\"` those that need a GPU",
    );
}

/// What an image says that has no place in a spec, or none yet.
fn leftovers(file: &str, key: &str, image: &Value, draft: &mut Draft) {
    for gone in ["prune", "prepull"] {
        if image.get(gone).is_some() {
            draft.note(
                Verdict::Differs,
                file,
                format!("images.{key}.{gone}"),
                "not needed: the store is bounded by `cairn gc`, and nothing is pulled to serve as a cache",
            );
        }
    }
}

/// The folders of tests of an image, which run as they are: on the host with `TEST_IMAGE` set,
/// but for the workflow tests, which run in the image.
fn suites(
    tree: &Tree,
    file: &str,
    key: &str,
    image: &Value,
    build: &Build,
    draft: &mut Draft,
) -> BTreeMap<&'static str, Vec<String>> {
    let has = |folder: &str| {
        let below = format!("{}/{folder}/", build.context);
        tree.files.keys().any(|path| path.starts_with(&below))
    };
    let on_host = |folder: &str| format!("{{ path = {}, on = \"host\" }}", path(build, folder));
    let mut suites = BTreeMap::new();
    let mut told = Vec::new();
    if has("test") {
        suites.insert("pytest", vec![on_host("test")]);
        told.push("test");
    }
    if has("integration_tests") {
        match image.get("integration_tests").and_then(Value::as_bool) {
            Some(true) => {
                suites.insert("integration", vec![on_host("integration_tests")]);
                told.push("integration_tests");
            }
            _ => draft.note(
                Verdict::Equal,
                file,
                format!("images.{key}: integration_tests"),
                "not switched on there, so not run here",
            ),
        }
    }
    if has("workflow_tests") {
        suites.insert("workflow", vec![path(build, "workflow_tests")]);
        let what = format!("images.{key}: workflow_tests");
        let why = "run in the image by `cairn test --workflow workflow_tests`; `gpu = true` leaves them out where there is no GPU";
        draft.note(Verdict::Equal, file, what, why);
    }
    if has("manual_tests") {
        suites.insert("manual", vec![path(build, "manual_tests")]);
    }
    if !told.is_empty() {
        draft.note(
            Verdict::Differs,
            file,
            format!("images.{key}: {}", told.join(", ")),
            ON_HOST,
        );
    }
    suites
}

/// What differs for tests that talk to Docker.
const ON_HOST: &str = "run on the host with `TEST_IMAGE` set, once for each content; a Docker client of theirs needs the image in Docker (`cairn export --format docker`)";

fn path(build: &Build, folder: &str) -> String {
    quoted(&join(&build.context, folder))
}

/// `tests_common` beside the spec is for every image.
fn common_suites(tree: &Tree, home: &str, draft: &mut Draft) {
    let folder = join(home, "tests_common");
    let below = format!("{folder}/");
    if tree.files.keys().any(|path| path.starts_with(&below)) {
        let suite = format!("{{ path = {}, on = \"host\" }}", quoted(&folder));
        draft.common_suites.push(suite);
        draft.note(
            Verdict::Differs,
            &join(home, "spec.yml"),
            "tests_common",
            ON_HOST,
        );
    }
}

fn ignored(tree: &Tree, home: &str, draft: &mut Draft) -> Result<(), ImportError> {
    common_suites(tree, home, draft);
    let file = join(home, "change_ignore.json");
    let Some(text) = tree.text(&file) else {
        return Ok(());
    };
    let rules = parse(&file, text)?;
    draft.from.push(file.clone());
    let globs = |key: &str| {
        let paths = texts(rules.get(key));
        paths
            .iter()
            .map(|path| join(home, path))
            .collect::<Vec<_>>()
    };
    draft.ignore.extend(globs("ChangeIgnore"));
    // The spec itself is compared value by value, so a change of it concerns what it touches.
    let own = [join(home, "spec.yml"), file.clone()];
    draft.build_all.extend(
        globs("BuildAll")
            .into_iter()
            .filter(|path| !own.contains(path)),
    );
    draft.note(
        Verdict::Equal,
        &file,
        "ChangeIgnore, BuildAll",
        "`changes.ignore` and `changes.build-all`",
    );
    draft.note(
        Verdict::Differs,
        &file,
        "BuildAll of spec.yml and change_ignore.json",
        "a change of cairn.toml concerns the images whose settings it changes, not all",
    );
    Ok(())
}
