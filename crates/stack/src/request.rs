//! A loaded stack to what the engine is asked to build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use cairn_build::context::Context;
use cairn_build::graph::{BuildArgs, ContextId};
use cairn_build::request::{Changes, DockerfileRecipe, ImageRequest, Lister, Named, Recipe};
use cairn_build::resolve::DebianBase;
use cairn_oci::{Platform, annotation, rfc3339};
use cairn_spec::written::Spanned;
use cairn_spec::{ImageId, ImageSource, NetworkPolicy};
use cairn_store::Store;

use crate::contexts::open_directory;
use crate::load::LoadedStack;
use crate::single::SingleError;

/// When images were made where neither the spec, the environment nor a commit says anything:
/// 1980-01-01, the oldest time that ZIP archives, and so Python wheels, can hold.
pub const DEFAULT_EPOCH: i64 = 315_532_800;

/// How a stack is turned into requests.
#[derive(Debug, Clone)]
pub struct RequestOptions {
    /// The platform of this machine.
    pub build_platform: Platform,
    /// `SOURCE_DATE_EPOCH` of the environment.
    pub epoch: Option<i64>,
    /// Whether every step runs, whatever the store holds.
    pub no_cache: bool,
    /// The images whose steps all run, whatever the store holds.
    pub again: BTreeSet<ImageId>,
    /// Who lists the images' packages.
    pub lister: Lister,
}

/// What is to be built for one platform.
pub struct Part<'a> {
    /// The stack, as it was loaded for the platform.
    pub loaded: &'a LoadedStack,
    /// The images that were asked for.
    pub selected: &'a [ImageId],
    /// The Debian bases among them and what they build on.
    pub bases: BTreeMap<ImageId, Arc<DebianBase>>,
}

/// Requests in an order in which they can be built, and the contexts that they name.
pub struct Requests {
    /// One for each image and platform.
    pub images: Vec<ImageRequest>,
    /// The contexts.
    pub contexts: Vec<Context>,
    /// The Dockerfile that each context is for.
    pub dockerfiles: Vec<PathBuf>,
}

/// The images for each platform with everything they build on, by the number of the part: an image
/// may build on a sibling that is for another platform (`FROM --platform=$BUILDPLATFORM`).
pub fn with_ancestors(loaded: &[&LoadedStack], selected: &[&[ImageId]]) -> Vec<(usize, ImageId)> {
    let mut needed: BTreeSet<(usize, ImageId)> = BTreeSet::new();
    let asked = selected.iter().enumerate();
    let mut open: Vec<(usize, ImageId)> = asked
        .flat_map(|(part, images)| images.iter().map(move |id| (part, *id)))
        .collect();
    while let Some(one) = open.pop() {
        if needed.insert(one) {
            open.extend(parents(loaded, one));
        }
    }
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for (part, stack) in loaded.iter().enumerate() {
        for &id in stack.graph.order() {
            if needed.contains(&(part, id)) {
                visit(loaded, (part, id), &mut seen, &mut order);
            }
        }
    }
    order
}

fn parents(loaded: &[&LoadedStack], (part, id): (usize, ImageId)) -> Vec<(usize, ImageId)> {
    let elsewhere = loaded[part].parents_elsewhere(id);
    let elsewhere = elsewhere.filter_map(|(parent, platform)| {
        let there = loaded.iter().position(|it| it.platform == *platform)?;
        Some((there, parent))
    });
    let here = loaded[part].parents_here(id).into_iter();
    elsewhere.chain(here.map(|parent| (part, parent))).collect()
}

fn visit(
    loaded: &[&LoadedStack],
    one: (usize, ImageId),
    seen: &mut BTreeSet<(usize, ImageId)>,
    order: &mut Vec<(usize, ImageId)>,
) {
    if seen.insert(one) {
        for parent in parents(loaded, one) {
            visit(loaded, parent, seen, order);
        }
        order.push(one);
    }
}

/// Makes requests for the images and everything they build on.
pub fn requests(
    store: &Store,
    parts: &[Part<'_>],
    external: &BTreeMap<String, String>,
    options: &RequestOptions,
) -> Result<Requests, SingleError> {
    let mut made = Requests {
        images: Vec::new(),
        contexts: Vec::new(),
        dockerfiles: Vec::new(),
    };
    let mut context_ids = BTreeMap::new();
    let loaded: Vec<&LoadedStack> = parts.iter().map(|part| part.loaded).collect();
    let selected: Vec<&[ImageId]> = parts.iter().map(|part| part.selected).collect();
    for (part, id) in with_ancestors(&loaded, &selected) {
        let (loaded, bases) = (parts[part].loaded, &parts[part].bases);
        let image = &loaded.stack[id];
        let recipe = match loaded.source(id) {
            ImageSource::Debian(_) => Recipe::Debian(bases[&id].clone()),
            ImageSource::Dockerfile(spec) => {
                let file = &loaded.dockerfiles[&id];
                // The Dockerfile is part of the identity: it may have an ignore file of its own.
                let context = match context_ids.get(&file.path) {
                    Some(context) => *context,
                    None => {
                        let context = ContextId(made.contexts.len().try_into().unwrap_or(u32::MAX));
                        made.contexts
                            .push(open_directory(store, &file.context, Some(&file.path))?);
                        made.dockerfiles.push(file.path.clone());
                        context_ids.insert(file.path.clone(), context);
                        context
                    }
                };
                let edges = loaded.graph.edges(id).iter();
                let siblings = edges.map(|edge| {
                    let sibling = loaded.stack[edge.parent].name.to_string();
                    (edge.name.clone(), Named::Sibling(sibling))
                });
                let outside = loaded.external.get(&id).into_iter().flatten();
                let locked = outside.filter_map(|name| {
                    let digest = external.get(name)?;
                    Some((name.clone(), Named::Image(format!("{name}@{digest}"))))
                });
                Recipe::Dockerfile(Box::new(DockerfileRecipe {
                    lister: options.lister.clone(),
                    dockerfile: file.dockerfile.clone(),
                    context,
                    names: siblings.chain(locked).collect(),
                    target: spec.target.as_ref().map(|target| target.value.clone()),
                    args: args(loaded, &spec.args),
                    no_cache: options.no_cache || options.again.contains(&id),
                    no_cache_stages: Vec::new(),
                    network_none: loaded.stack.build.network == NetworkPolicy::None,
                    build_platform: options.build_platform.clone(),
                }))
            }
        };
        let (epoch, epoch_is_given) = epoch(loaded, options);
        made.images.push(ImageRequest {
            name: loaded.label(id),
            called: image.name.to_string(),
            recipe,
            platform: loaded.platform.clone(),
            labels: labels(loaded, id),
            annotations: annotations(loaded, id, epoch),
            changes: Changes::default(),
            epoch,
            epoch_is_given,
        });
    }
    Ok(made)
}

/// The spec's build arguments, and the commit under the names that BOR-14 gives it. A Dockerfile
/// that does not declare them never sees them; one that declares them last rebuilds no layer.
fn args(loaded: &LoadedStack, written: &BTreeMap<String, Spanned<String>>) -> BuildArgs {
    let mut args: BuildArgs = written
        .iter()
        .map(|(name, value)| (name.clone(), value.value.clone()))
        .collect();
    if let Some(commit) = &loaded.commit {
        let mut add = |name: &str, value: String| {
            args.entry(name.to_owned()).or_insert(value);
        };
        add("git_hash", commit.hash.clone());
        if let Some(branch) = &commit.branch {
            add("git_branch", branch.clone());
        }
        add("timestamp", compact(commit.time));
    }
    args
}

/// A time as BOR-15 writes it: `20261121.183000`, in UTC.
fn compact(seconds: i64) -> String {
    let text = rfc3339(seconds);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    format!("{}.{}", digits(date), digits(time))
}

/// The time that a stack's images get: the spec's, the environment's, the commit's, or a fixed
/// one, in this order; with it, whether somebody gave it.
pub fn epoch(loaded: &LoadedStack, options: &RequestOptions) -> (i64, bool) {
    let given = loaded.stack.epoch.or(options.epoch);
    let commit = loaded.commit.as_ref().map(|commit| commit.time);
    let seconds = given.or(commit).unwrap_or(DEFAULT_EPOCH);
    (seconds, given.is_some())
}

/// Labels of the spec, and the commit.
fn labels(loaded: &LoadedStack, id: ImageId) -> BTreeMap<String, String> {
    let mut labels = loaded.stack[id].labels.clone();
    if let Some(commit) = &loaded.commit {
        labels
            .entry(annotation::REVISION.to_owned())
            .or_insert_with(|| commit.hash.clone());
    }
    labels
}

/// Annotations: what OCI names for where an image comes from, and the spec's labels (BOR-16).
fn annotations(loaded: &LoadedStack, id: ImageId, epoch: i64) -> BTreeMap<String, String> {
    let image = &loaded.stack[id];
    let mut annotations = image.labels.clone();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            annotations.entry(name.to_owned()).or_insert(value);
        }
    };
    let commit = loaded.commit.as_ref();
    add(annotation::TITLE, Some(image.name.to_string()));
    add(annotation::CREATED, Some(rfc3339(epoch)));
    add(
        annotation::REVISION,
        commit.map(|commit| commit.hash.clone()),
    );
    add(
        annotation::SOURCE,
        commit.and_then(|commit| commit.remote.clone()),
    );
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_sort_them() {
        assert_eq!(compact(1_700_000_000), "20231114.221320");
    }
}
