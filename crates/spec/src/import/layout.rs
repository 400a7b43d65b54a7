//! What a Dockerfile tells of the tree around it: the folder that it copies from, its last stage.

use cairn_diagnostic::Source;
use cairn_dockerfile::Dockerfile;
use cairn_dockerfile::ast::{CopySource, InstructionKind};

use super::Tree;
use super::dockerfiles::is_dockerfile;
use super::paths::{file_name, folder, join};

fn parsed(tree: &Tree, path: &str) -> Option<Dockerfile> {
    let text = tree.text(path)?;
    cairn_dockerfile::parse(&Source::new(path, text)).ok()
}

/// The name of the stage that is built when none is asked for.
pub(super) fn last_stage(tree: &Tree, path: &str) -> Option<String> {
    let dockerfile = parsed(tree, path)?;
    dockerfile.stages.last()?.name().map(str::to_owned)
}

/// The folder that a Dockerfile is built in where nobody says so: the nearest one, from its own up
/// to the root, that has most of what it copies. One that copies "all" and lies alone in its
/// folder is built in the root.
pub(super) fn context_of(tree: &Tree, path: &str) -> String {
    let own = folder(path);
    let sources = parsed(tree, path)
        .map(|it| sources(&it))
        .unwrap_or_default();
    let named: Vec<&str> = sources
        .iter()
        .map(|source| source.trim_matches('/'))
        .filter(|source| !matches!(*source, "" | "."))
        .collect();
    if named.is_empty() {
        let beside = format!("{own}/");
        let is_alone = !tree
            .files
            .keys()
            .any(|file| file.starts_with(&beside) && !is_dockerfile(file) && !is_ignore(file));
        return match !sources.is_empty() && is_alone {
            true => String::new(),
            false => own.to_owned(),
        };
    }
    let found = |home: &str| named.iter().filter(|it| is_there(tree, home, it)).count();
    let (mut home, mut best) = (own, (own, found(own)));
    while !home.is_empty() {
        home = folder(home);
        let count = found(home);
        if count > best.1 {
            best = (home, count);
        }
    }
    best.0.to_owned()
}

/// What it copies from its context, as far as it can be told without arguments.
fn sources(dockerfile: &Dockerfile) -> Vec<String> {
    let lines = dockerfile.stages.iter().flat_map(|it| &it.instructions);
    let files = lines.filter_map(|line| match &line.kind {
        InstructionKind::Copy(copy) if copy.from.is_none() => Some(&copy.files),
        InstructionKind::Add(add) => Some(&add.files),
        _ => None,
    });
    let paths = files.flat_map(|it| &it.sources).filter_map(|it| match it {
        CopySource::Path(word) => Some(word.as_str().trim_matches(['"', '\''])),
        CopySource::Heredoc(_) => None,
    });
    paths
        .filter(|path| !path.contains(['$', ':']))
        .map(|path| join("", path))
        .collect()
}

/// Whether a folder has a file, or anything that a wildcard may mean.
fn is_there(tree: &Tree, home: &str, source: &str) -> bool {
    let fixed = source.split(['*', '?', '[']).next().unwrap_or_default();
    let path = match home {
        "" => fixed.to_owned(),
        home => format!("{home}/{fixed}"),
    };
    match fixed.len() == source.len() {
        true => {
            let below = format!("{path}/");
            tree.files.contains_key(&path) || tree.files.keys().any(|it| it.starts_with(&below))
        }
        false => tree.files.keys().any(|it| it.starts_with(&path)),
    }
}

fn is_ignore(path: &str) -> bool {
    file_name(path).ends_with("ignore")
}
