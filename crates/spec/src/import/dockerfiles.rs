//! Dockerfiles of a tree that nothing describes: each is an image.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Build, Draft};
use super::layout::context_of;
use super::paths::{file_name, folder};
use super::{Tree, Verdict, parents};

/// Whether a file is a Dockerfile by its name.
pub(super) fn is_dockerfile(path: &str) -> bool {
    let name = file_name(path);
    let lower = name.to_ascii_lowercase();
    let ignore = lower.ends_with(".dockerignore");
    let is_named = ["dockerfile", "containerfile"].iter().any(|word| {
        lower == *word
            || lower.starts_with(&format!("{word}."))
            || lower.ends_with(&format!(".{word}"))
    });
    is_named && !ignore
}

/// Takes the Dockerfiles that nothing describes: all of them where there is no pipeline - Compose
/// files and scripts tell of a few images, not which there are -, else those that belong to its
/// images.
pub(super) fn read(tree: &Tree, name: &str, draft: &mut Draft) {
    let files: Vec<&str> = tree
        .texts()
        .map(|(path, _)| path)
        .filter(|path| is_dockerfile(path) && !is_hidden(path))
        .collect();
    let is_described = |path: &str| draft.builds.iter().any(|it| it.dockerfile == path);
    let mut open: Vec<&str> = files
        .iter()
        .copied()
        .filter(|it| !is_described(it))
        .collect();
    let is_of_pipeline = |it: &Build| !it.is_of_compose && !it.is_by_hand;
    let has_pipeline = draft.builds.iter().any(is_of_pipeline);
    let describes_none = draft.builds.is_empty();
    // Dockerfiles that lie together are built in one folder.
    let mut contexts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for build in &draft.builds {
        let home = folder(&build.dockerfile).to_owned();
        contexts
            .entry(home)
            .or_default()
            .insert(build.context.clone());
    }
    let build_of = |path: &str| {
        let mut made = build_of(path, name, &files, tree);
        let of_others = contexts.get(folder(path)).filter(|it| it.len() == 1);
        if let Some(context) = of_others.and_then(|it| it.first()) {
            made.context.clone_from(context);
        }
        made
    };
    let mut taken = Vec::new();
    if has_pipeline {
        // A grandchild may come before the child that makes it one of the family.
        while let Some(at) = open
            .iter()
            .position(|path| parents::is_relative(tree, path, draft, &taken))
        {
            let path = open.remove(at);
            taken.push(build_of(path));
        }
        left_out(&open, draft);
    } else {
        taken = open.iter().map(|path| build_of(path)).collect();
    }
    draft
        .from
        .extend(taken.iter().map(|it| it.dockerfile.clone()));
    draft.builds.append(&mut taken);
    if let (Some(first), true) = (files.first(), describes_none) {
        draft.note(
            Verdict::Differs,
            first,
            "registries and tags",
            "Dockerfiles say nothing of where images go: add `registries` and `[tags]`",
        );
    }
}

fn build_of(path: &str, name: &str, files: &[&str], tree: &Tree) -> Build {
    let home = folder(path);
    let of_folder = match file_name(home) {
        "" => name,
        // A folder that only holds Dockerfiles says nothing of the image.
        "docker" | "binder" => match file_name(folder(home)) {
            "" => name,
            above => above,
        },
        folder => folder,
    };
    let beside = files.iter().filter(|other| folder(other) == home).count();
    // `pytorch/cuda12` beside `pytorch/Dockerfile` is `pytorch-cuda12`, or a variant of `pytorch`
    // where both build on the same.
    let above = folder(home);
    let is_image = !matches!(file_name(above), "" | "docker");
    let mut of_above = files
        .iter()
        .filter(|other| is_image && folder(other) == above);
    let image_above = of_above.next().filter(|_| of_above.next().is_none());
    let is_variant = beside == 1
        && image_above.is_some_and(|other| {
            let base = parents::last_base(tree, path);
            base.is_some() && base == parents::last_base(tree, other)
        });
    let of_folder = match (is_variant, image_above) {
        (true, _) => file_name(above).to_owned(),
        (false, Some(_)) => format!("{}-{of_folder}", file_name(above)),
        (false, None) => of_folder.to_owned(),
    };
    let family = match is_variant {
        true => above,
        false => home,
    };
    let key = match (beside, own_part(file_name(path))) {
        (1, _) | (_, None) => of_folder,
        (_, Some(part)) if home.is_empty() => part.to_owned(),
        (_, Some(part)) => format!("{of_folder}-{part}"),
    };
    let context = match file_name(home) {
        // repo2docker builds it in the repository.
        "binder" => above.to_owned(),
        _ => context_of(tree, path),
    };
    Build {
        key,
        context,
        dockerfile: path.to_owned(),
        file: path.to_owned(),
        family: Some(family.to_owned()).filter(|it| beside == 1 && !it.is_empty()),
        ..Build::default()
    }
}

fn left_out(paths: &[&str], draft: &mut Draft) {
    for path in paths {
        draft.note(
            Verdict::Missing,
            path,
            "this Dockerfile",
            "left out: nothing here builds it; if it is an image of the stack, `[image.NAME]` with `context` adds it",
        );
    }
}

/// `.devcontainer` and the like are tools, not images.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// `gpu` of `gpu.Dockerfile` and of `Dockerfile.gpu`.
fn own_part(name: &str) -> Option<&str> {
    let (before, behind) = name.rsplit_once('.')?;
    let is_word = |part: &str| {
        part.eq_ignore_ascii_case("dockerfile") || part.eq_ignore_ascii_case("containerfile")
    };
    match (is_word(before), is_word(behind)) {
        (true, _) => Some(behind),
        (_, true) => Some(before),
        _ => None,
    }
}
