//! A plain tree of Dockerfiles: each is an image, its folder the context.

use super::draft::{Build, Draft};
use super::paths::{file_name, folder};
use super::{Tree, Verdict};

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

pub(super) fn read(tree: &Tree, name: &str, draft: &mut Draft) {
    let files: Vec<&str> = tree
        .texts()
        .map(|(path, _)| path)
        .filter(|path| is_dockerfile(path))
        .collect();
    for path in &files {
        let home = folder(path);
        let of_folder = match file_name(home) {
            "" => name,
            // A folder that only holds Dockerfiles says nothing of the image.
            "docker" => match file_name(folder(home)) {
                "" => name,
                above => above,
            },
            folder => folder,
        };
        let beside = files.iter().filter(|other| folder(other) == home).count();
        let key = match (beside, own_part(file_name(path))) {
            (1, _) | (_, None) => of_folder.to_owned(),
            (_, Some(part)) if home.is_empty() => part.to_owned(),
            (_, Some(part)) => format!("{of_folder}-{part}"),
        };
        draft.from.push((*path).to_owned());
        draft.builds.push(Build {
            key,
            context: home.to_owned(),
            dockerfile: (*path).to_owned(),
            file: (*path).to_owned(),
            ..Build::default()
        });
    }
    if let Some(first) = files.first() {
        draft.note(
            Verdict::Differs,
            first,
            "registries and tags",
            "Dockerfiles say nothing of where images go: add `registries` and `[tags]`",
        );
    }
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
