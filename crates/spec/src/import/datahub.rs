//! DataHub's `spec.yml` and `change_ignore.json`: a folder of images, each in a folder of its
//! own, with parents, tracks ("plans") and a year.quarter prefix.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Build, Draft};
use super::paths::{folder, join};
use super::yaml::{entries, pairs, parse, text, text_at, texts};
use super::{ImportError, Tree, Verdict};
use crate::settings::EventKind;

pub(super) fn read(tree: &Tree, draft: &mut Draft) -> Result<(), ImportError> {
    let specs = tree
        .texts()
        .filter(|(path, _)| path.ends_with("spec.yml") || path.ends_with("spec.yaml"));
    for (file, text) in specs {
        if !text.contains("image_name") {
            continue;
        }
        let spec = parse(file, text)?;
        if spec.get("images").is_some_and(Value::is_object) {
            images(tree, file, &spec, draft);
            ignored(tree, folder(file), draft)?;
        }
    }
    Ok(())
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
        let dockerfile = text_at(image, "dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
        let build = Build {
            key: key.to_owned(),
            names: text_at(image, "image_name").into_iter().collect(),
            dockerfile: join(&context, &dockerfile),
            context,
            args: pairs(image.get("build_args")),
            parent: text_at(image, "depend_on"),
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
        leftovers(tree, file, key, image, &build, draft);
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
    if spec.get("all_info_cmds").is_some() {
        draft.note(
            Verdict::Missing,
            file,
            "info_cmds",
            "pages about an image's contents are not there yet",
        );
    }
}

/// What an image says that has no place in a spec, or none yet.
fn leftovers(tree: &Tree, file: &str, key: &str, image: &Value, build: &Build, draft: &mut Draft) {
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
    let folders = [
        "test",
        "integration_tests",
        "workflow_tests",
        "manual_tests",
    ];
    let has = |name: &&str| {
        let below = format!("{}/{name}/", build.context);
        tree.files.keys().any(|path| path.starts_with(&below))
    };
    let there: Vec<&str> = folders.iter().copied().filter(|name| has(name)).collect();
    if !there.is_empty() {
        draft.note(
            Verdict::Missing,
            file,
            format!("images.{key}: {}", there.join(", ")),
            "tests run by pytest are not there yet",
        );
    }
}

fn ignored(tree: &Tree, home: &str, draft: &mut Draft) -> Result<(), ImportError> {
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
