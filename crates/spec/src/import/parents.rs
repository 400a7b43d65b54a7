//! Parents: a Dockerfile whose `FROM` names an image of the stack builds on it, unedited.
//!
//! A name in `FROM` is made of arguments more often than not (`FROM ghcr.io/lab/base:${BASE_TAG}`).
//! Where its repository is one that the stack publishes, the argument is set so that the name
//! means the image of the stack: a tag's to `latest`, a whole name's to the image's own.

use std::collections::BTreeMap;

use super::draft::{Build, Draft, DraftImage};
use super::paths::{file_name, name_and_tag};
use super::{Tree, Verdict};

pub(super) fn connect(tree: &Tree, images: &mut [DraftImage], draft: &mut Draft) {
    find_home(tree, images, draft);
    let published: Vec<(String, Vec<String>, Vec<String>)> = images
        .iter()
        .map(|image| {
            let called = image.members.iter().map(|(_, build)| build.key.clone());
            (image.key.clone(), image.names.clone(), called.collect())
        })
        .collect();
    for image in images {
        for (_, build) in &mut image.members {
            let text = tree.text(&build.dockerfile).unwrap_or_default().to_owned();
            for line in Lines::of(&text) {
                line.connect(&image.key, build, &published, draft);
            }
        }
    }
}

/// Where nothing says how images are published, a `FROM` that ends in a sibling's name does:
/// `FROM $REGISTRY/$OWNER/base-notebook` in a tree that has `base-notebook`.
fn find_home(tree: &Tree, images: &mut [DraftImage], draft: &mut Draft) {
    if images.iter().any(|image| !image.names.is_empty()) {
        return;
    }
    let mut homes = BTreeMap::new();
    for image in images.iter() {
        for (_, build) in &image.members {
            let text = tree.text(&build.dockerfile).unwrap_or_default();
            for line in Lines::of(text) {
                let name = line.meant(build);
                let (repository, _) = name_and_tag(name.trim_end_matches(':'));
                let Some((home, last)) = repository.rsplit_once('/') else {
                    continue;
                };
                let is_sibling = |other: &&DraftImage| other.key == last && other.key != image.key;
                if images.iter().any(|other| is_sibling(&other)) {
                    homes.insert(home.to_owned(), build.dockerfile.clone());
                }
            }
        }
    }
    let Some((home, file)) = homes.pop_first().filter(|_| homes.is_empty()) else {
        return;
    };
    for image in images {
        image.names.push(format!("{home}/{}", image.key));
    }
    draft.note(
        Verdict::Equal,
        &file,
        format!("FROM {home}/..."),
        "images of this tree are looked for there, so that is where they are published",
    );
}

/// A `FROM` line with the arguments that are declared above it.
struct Lines {
    name: String,
    args: BTreeMap<String, String>,
}

impl Lines {
    fn of(text: &str) -> Vec<Self> {
        let mut args = BTreeMap::new();
        let mut found = Vec::new();
        let mut is_global = true;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let instruction = words.next().unwrap_or_default();
            if instruction.eq_ignore_ascii_case("ARG") && is_global {
                for word in words {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let default = default.trim_matches(['"', '\'']);
                    let default = expanded(default, &|name: &str| {
                        args.get(name).cloned().unwrap_or_default()
                    });
                    args.insert(name.to_owned(), default);
                }
            } else if instruction.eq_ignore_ascii_case("FROM") {
                is_global = false;
                let name = words.find(|word| !word.starts_with("--"));
                found.extend(name.map(|name| Self {
                    name: name.to_owned(),
                    args: args.clone(),
                }));
            }
        }
        found
    }

    /// The name with the values that its arguments have.
    fn meant(&self, build: &Build) -> String {
        expanded(&self.name, &|name| {
            let given = build.args.get(name).or_else(|| self.args.get(name));
            given.cloned().unwrap_or_default()
        })
    }

    fn connect(
        &self,
        key: &str,
        build: &mut Build,
        published: &[(String, Vec<String>, Vec<String>)],
        draft: &mut Draft,
    ) {
        let expanded = self.meant(build);
        let (repository, tag) = name_and_tag(expanded.trim_end_matches(':'));
        let meant = published.iter().find(|(other, names, called)| {
            let is_named = names.iter().any(|name| same_repository(name, repository));
            let is_parent = build
                .parent
                .as_ref()
                .is_some_and(|parent| called.contains(parent));
            let is_whole = whole_argument(&self.name).is_some();
            // A parent that is said, under another name than it is published by now.
            let is_said = is_parent
                && (file_name(repository) == other || (is_whole && repository.is_empty()));
            other != key && (is_named || is_said)
        });
        let Some((parent, names, _)) = meant else {
            return;
        };
        let is_there =
            repository == parent || names.iter().any(|name| same_repository(name, repository));
        if is_there && matches!(tag, None | Some("latest")) && !expanded.ends_with(':') {
            draft.note(
                Verdict::Equal,
                &build.dockerfile,
                format!("FROM {}", self.name),
                format!("means `{parent}` of this stack"),
            );
            return;
        }
        let (argument, value) = match (whole_argument(&self.name), tag_argument(&self.name)) {
            (Some(argument), _) => (argument, parent.as_str()),
            (None, Some(argument)) if is_there => (argument, "latest"),
            _ => {
                draft.note(
                    Verdict::Differs,
                    &build.dockerfile,
                    format!("FROM {}", self.name),
                    format!("a fixed tag means the published image; write `FROM {parent}` to build on the one just built"),
                );
                return;
            }
        };
        build.args.insert(argument.to_owned(), value.to_owned());
        draft.note(
            Verdict::Equal,
            &build.dockerfile,
            format!("FROM {}", self.name),
            format!("`{argument}` is set to `{value}`, so it means `{parent}` of this stack"),
        );
    }
}

/// `image_url` of `FROM ${image_url}`.
fn whole_argument(name: &str) -> Option<&str> {
    let inside = name.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
    let inside = inside.or_else(|| name.strip_prefix('$'))?;
    let argument = inside.split(':').next()?;
    is_argument(argument).then_some(argument)
}

/// `BASE_TAG` of `FROM a/b:${BASE_TAG}`.
fn tag_argument(name: &str) -> Option<&str> {
    let (_, tag) = name.split_once(":$")?;
    let argument = tag
        .trim_start_matches('{')
        .trim_end_matches('}')
        .split(':')
        .next()?;
    is_argument(argument).then_some(argument)
}

fn is_argument(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn same_repository(one: &str, other: &str) -> bool {
    let plain = |name: &str| {
        name.trim_start_matches("docker.io/")
            .trim_start_matches("index.docker.io/")
            .to_owned()
    };
    plain(one) == plain(other)
}

fn expanded(name: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut made = String::new();
    let mut rest = name;
    while let Some(at) = rest.find('$') {
        made.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (inside, after) = match behind.strip_prefix('{').and_then(|it| it.split_once('}')) {
            Some(split) => split,
            None => {
                let end = behind
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(behind.len());
                behind.split_at(end)
            }
        };
        let (argument, default) = inside.split_once(":-").unwrap_or((inside, ""));
        let given = value(argument);
        made.push_str(if given.is_empty() { default } else { &given });
        rest = after;
    }
    made + rest
}
