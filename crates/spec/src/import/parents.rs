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
    find_owner(tree, images, draft);
    let published: Vec<Published> = images
        .iter()
        .map(|image| Published {
            key: image.key.clone(),
            names: names_of(image).map(|it| draft.by_default(it)).collect(),
            called: image.members.iter().map(|(_, it)| it.key.clone()).collect(),
            tags: match image.members.as_slice() {
                [(_, build)] => build.fixed_tags.clone(),
                _ => Vec::new(),
            },
            choices: image
                .members
                .iter()
                .filter_map(|(name, build)| build.choice.as_ref().and(name.clone()))
                .collect(),
        })
        .collect();
    for image in images {
        for (variant, build) in &mut image.members {
            let text = tree.text(&build.dockerfile).unwrap_or_default().to_owned();
            for line in Lines::of(&text) {
                let child = (image.key.as_str(), variant.as_deref());
                // The last line that means an image of the stack is the one that is built on.
                let parent = line.connect(child, build, &published, draft);
                image.builds_on = parent.or(image.builds_on.take());
            }
        }
    }
}

/// The names of an image, those for one machine alone among them.
fn names_of(image: &DraftImage) -> impl Iterator<Item = &String> {
    let local = image.members.iter().flat_map(|(_, build)| &build.names);
    image
        .names
        .iter()
        .chain(local.filter(|it| !it.contains('/')))
}

/// An image as a `FROM` may name it.
struct Published {
    key: String,
    /// Where it is published, with the defaults of variables.
    names: Vec<String>,
    /// What its builds are called where they are described.
    called: Vec<String>,
    /// Its variants that are told apart by their tag.
    choices: Vec<String>,
    /// The tags that it is given by name, where it has no variants.
    tags: Vec<String>,
}

/// What the last stage of a Dockerfile builds on, by the defaults of its arguments.
pub(super) fn last_base(tree: &Tree, path: &str) -> Option<String> {
    let lines = Lines::of(tree.text(path)?);
    Some(lines.last()?.meant(&Build::default()))
}

/// Whether a Dockerfile that nothing describes belongs to what is described: it builds on an
/// image of that, or such an image builds on it.
pub(super) fn is_relative(tree: &Tree, path: &str, draft: &Draft, taken: &[Build]) -> bool {
    let text = tree.text(path).unwrap_or_default();
    let own = Build::default();
    let builds = || draft.builds.iter().chain(taken);
    let is_child = Lines::of(text).iter().any(|line| {
        let name = line.meant(&own);
        let (repository, _) = name_and_tag(&name);
        builds().any(|build| build.names.iter().any(|it| is_like(it, repository)))
    });
    let called = file_name(super::paths::folder(path));
    is_child
        || builds().any(|build| {
            let text = tree.text(&build.dockerfile).unwrap_or_default();
            Lines::of(text).iter().any(|line| {
                let name = draft.by_default(&line.meant(build));
                let (repository, _) = name_and_tag(&name);
                let is_beside = build.names.iter().any(|own| {
                    let (home, other) =
                        (super::paths::folder(own), super::paths::folder(repository));
                    !home.is_empty() && is_like(home, other)
                });
                file_name(repository) == called && is_beside
            })
        })
}

/// Whether a name may be a repository whose variables are not known: `gcr.io/${project_id}/base`
/// is like `gcr.io/panoptes-exp/base`.
fn is_like(name: &str, repository: &str) -> bool {
    values_in(name, repository).is_some()
}

/// The values that the variables of a name have, if it is to be a repository. What the image itself
/// is called must be known.
fn values_in(name: &str, repository: &str) -> Option<Vec<(String, String)>> {
    if file_name(name).starts_with("${") {
        return (name == repository).then(Vec::new);
    }
    let (mut parts, mut others) = (name.split('/'), repository.split('/'));
    let mut values = Vec::new();
    loop {
        let (part, other) = match (parts.next(), others.next()) {
            (None, None) => return Some(values),
            (Some(part), Some(other)) => (part, other),
            _ => return None,
        };
        if part == other {
            continue;
        }
        let variable = part.strip_prefix("${")?.strip_suffix('}')?;
        let value = match variable {
            // The owner and the repository in one.
            "github_repository" => {
                values.push(("github_repository_owner".to_owned(), other.to_owned()));
                format!("{other}/{}", others.next()?)
            }
            _ => other.to_owned(),
        };
        if value.split('/').any(str::is_empty) {
            return None;
        }
        values.push((variable.to_owned(), value));
    }
}

/// What a pipeline's account fills in - a project's name - is what Dockerfiles say in its place:
/// `FROM gcr.io/panoptes-exp/base` in a stack that is published to `gcr.io/${project_id}`.
fn find_owner(tree: &Tree, images: &[DraftImage], draft: &mut Draft) {
    let mut found = Vec::new();
    for (_, build) in images.iter().flat_map(|image| &image.members) {
        let text = tree.text(&build.dockerfile).unwrap_or_default();
        let own = Build::default();
        for line in Lines::of(text) {
            let name = line.meant(&own);
            let (repository, _) = name_and_tag(&name);
            let published = images.iter().flat_map(|image| &image.names);
            for values in published.filter_map(|name| values_in(name, repository)) {
                let of_file = values.into_iter();
                found.extend(of_file.map(|(name, value)| (name, value, build.dockerfile.clone())));
            }
        }
    }
    for (name, value, file) in found {
        let Some(variable) = draft.variables.get_mut(&name) else {
            continue;
        };
        if variable.is_guessed {
            variable.is_guessed = false;
            variable.default.clone_from(&value);
            draft.note(
                Verdict::Equal,
                &file,
                format!("FROM .../{value}/..."),
                format!("`{value}` is the default of the variable `{name}`"),
            );
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
    let is_run_only = |image: &DraftImage| image.members.iter().all(|(_, it)| it.is_of_compose);
    for image in images.iter_mut().filter(|image| !is_run_only(image)) {
        let name = format!("{home}/{}", image.key);
        for (_, build) in &mut image.members {
            build.names.push(name.clone());
        }
        image.names.push(name);
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
        child: (&str, Option<&str>),
        build: &mut Build,
        published: &[Published],
        draft: &mut Draft,
    ) -> Option<String> {
        let (key, variant) = child;
        let expanded = draft.by_default(&self.meant(build));
        let (repository, tag) = name_and_tag(expanded.trim_end_matches(':'));
        let is_named = |it: &Published| {
            it.names
                .iter()
                .any(|name| same_repository(name, repository))
        };
        // One name, and tags that tell its images apart: the tag is the variant.
        let of_tag = published.iter().filter(|it| is_named(it)).find_map(|it| {
            let choice = it.choices.iter().find(|name| Some(name.as_str()) == tag)?;
            let is_other = it.key != key || Some(choice.as_str()) != variant;
            is_other.then(|| format!("{}:{choice}", it.key))
        });
        // The name in full is what the variant is published as: nothing needs to be set.
        if let (Some(variant), None, None) = (
            &of_tag,
            whole_argument(&self.name),
            tag_argument(&self.name),
        ) {
            draft.note(
                Verdict::Equal,
                &build.dockerfile,
                format!("FROM {}", self.name),
                format!("means `{variant}` of this stack"),
            );
            return of_tag;
        }
        // One name for several images, each built for a tag of its own.
        let by_tag = |it: &&Published| {
            let is_called = it.names.iter().any(|name| name == file_name(repository));
            let is_told =
                tag.is_some_and(|tag| tag != "latest" && it.tags.iter().any(|it| it == tag));
            it.key != key && is_told && (is_called || is_named(it))
        };
        let meant = published.iter().find(by_tag).or_else(|| {
            published.iter().find(|it| {
                let is_parent = build
                    .parent
                    .as_ref()
                    .is_some_and(|parent| it.called.contains(parent));
                let is_whole = whole_argument(&self.name).is_some();
                // A parent that is said, under another name than it is published by now.
                let is_said = is_parent
                    && (file_name(repository) == it.key || (is_whole && repository.is_empty()));
                // A bare name for this machine, as `docker build -t wcm-runtime` gives it.
                let is_local = is_whole
                    && !repository.contains('/')
                    && repository
                        .strip_suffix(&it.key)
                        .is_some_and(|it| it.is_empty() || it.ends_with('-'));
                // Another name beside its own, which a pipeline fills in.
                let is_beside = is_whole
                    && file_name(repository) == it.key
                    && build.names.iter().any(|own| {
                        let home = super::paths::folder(repository);
                        !home.is_empty() && super::paths::folder(&draft.by_default(own)) == home
                    });
                it.key != key && (is_named(it) || is_said || is_local || is_beside)
            })
        });
        let parent = match (of_tag, meant) {
            (Some(variant), _) => variant,
            (None, Some(meant)) => meant.key.clone(),
            (None, None) => return None,
        };
        let is_there = repository == parent || meant.is_some_and(is_named);
        let is_newest = matches!(tag, None | Some("latest")) && !expanded.ends_with(':');
        let argument = whole_argument(&self.name);
        // What a pipeline fills in may be something else tomorrow; a sibling stays one.
        let is_filled_in = argument.is_some_and(|it| build.args.contains_key(it));
        if is_there && is_newest && !is_filled_in && !parent.contains(':') {
            draft.note(
                Verdict::Equal,
                &build.dockerfile,
                format!("FROM {}", self.name),
                format!("means `{parent}` of this stack"),
            );
            return Some(parent);
        }
        let (argument, value) = match (argument, tag_argument(&self.name)) {
            (Some(argument), _) => (argument, parent.as_str()),
            (None, Some(argument)) if is_there => (argument, "latest"),
            _ => {
                draft.note(
                    Verdict::Differs,
                    &build.dockerfile,
                    format!("FROM {}", self.name),
                    format!("a fixed tag means the published image; write `FROM {parent}` to build on the one just built"),
                );
                return None;
            }
        };
        build.args.insert(argument.to_owned(), value.to_owned());
        draft.note(
            Verdict::Equal,
            &build.dockerfile,
            format!("FROM {}", self.name),
            format!("`{argument}` is set to `{value}`, so it means `{parent}` of this stack"),
        );
        Some(parent)
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
