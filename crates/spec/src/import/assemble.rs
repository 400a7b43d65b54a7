//! What readers found to images: builds of one name are its variants, tests lie where they lie.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Build, Draft, DraftImage};
use super::paths::{file_name, folder};
use super::{Tree, Verdict};
use crate::scaffold::name_from;

/// Makes images of the builds, in the order they were found.
pub(super) fn assemble(tree: &Tree, draft: &mut Draft) -> Vec<DraftImage> {
    let mut groups: Vec<Vec<Build>> = Vec::new();
    for build in std::mem::take(&mut draft.builds) {
        // The same image described twice, by Compose and by the pipeline, is one.
        let same = groups.iter_mut().flatten().find(|it| is_same(it, &build));
        if let Some(same) = same {
            for name in build.names {
                if is_published(&name) && !same.names.contains(&name) {
                    same.names.push(name);
                }
            }
            continue;
        }
        let group = groups.iter_mut().find(|group| is_family(&group[0], &build));
        match group {
            Some(group) => group.push(build),
            None => groups.push(vec![build]),
        }
    }
    let mut taken = BTreeSet::new();
    let images = groups
        .into_iter()
        .map(|group| image(group, &mut taken, draft));
    let mut images: Vec<DraftImage> = images.collect();
    attach_tests(tree, &mut images, draft);
    images
}

fn is_same(one: &Build, other: &Build) -> bool {
    one.context == other.context
        && one.dockerfile == other.dockerfile
        && one.target == other.target
        && one.track == other.track
        && match one.file == other.file {
            true => {
                one.args == other.args
                    && one.names == other.names
                    && (!one.names.is_empty() || one.key == other.key)
            }
            // The pipeline and a developer's file may well differ in an argument's value.
            false => true,
        }
}

/// Whether two builds are variants of one image: made by one Dockerfile, called by one name.
fn is_family(one: &Build, other: &Build) -> bool {
    one.context == other.context
        && one.dockerfile == other.dockerfile
        && match (one.names.first(), other.names.first()) {
            (Some(one), Some(other)) => file_name(one) == file_name(other),
            _ => one.key == other.key || one.track.is_some(),
        }
}

/// A name without a registry is for this machine only.
fn is_published(name: &str) -> bool {
    name.contains('/')
}

fn image(group: Vec<Build>, taken: &mut BTreeSet<String>, draft: &mut Draft) -> DraftImage {
    let first = &group[0];
    let wanted = match group.len() {
        1 => first.key.as_str(),
        _ if first.track.is_some() => first.key.as_str(),
        _ => first
            .names
            .first()
            .map_or(first.key.as_str(), |name| file_name(name)),
    };
    let base = name_from(wanted).unwrap_or_else(|| "image".to_owned());
    let mut key = base.clone();
    let mut number = 2;
    while !taken.insert(key.clone()) {
        key = format!("{base}-{number}");
        number += 1;
    }
    let mut names: Vec<String> = Vec::new();
    for name in group.iter().flat_map(|build| &build.names) {
        if is_published(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    let members = match group.len() {
        1 if first.track.is_none() => vec![(None, group[0].clone())],
        _ => variants(group, &key, draft),
    };
    DraftImage {
        key,
        names,
        tests: Vec::new(),
        members,
    }
}

/// Names for variants: the track, the target, the tag, else what it is called.
fn variants(group: Vec<Build>, key: &str, draft: &mut Draft) -> Vec<(Option<String>, Build)> {
    let mut taken = BTreeSet::new();
    let distinct = |of: &dyn Fn(&Build) -> Option<String>| {
        let names: BTreeSet<Option<String>> = group.iter().map(of).collect();
        names.len() == group.len() && !names.contains(&None)
    };
    let by_target = distinct(&|build| build.target.clone());
    let by_tag = distinct(&|build| build.fixed_tags.first().cloned());
    let mut made = Vec::new();
    for build in group {
        let name = match &build.track {
            Some((track, _)) => track.clone(),
            None if by_target => build.target.clone().unwrap_or_default(),
            None if by_tag => build.fixed_tags.first().cloned().unwrap_or_default(),
            None => build.key.clone(),
        };
        let short = name.strip_prefix(&format!("{key}-")).unwrap_or(&name);
        let mut name = crate::tags::safe(short);
        while !taken.insert(name.clone()) {
            name.push_str("-2");
        }
        made.push((Some(name), build));
    }
    let names: Vec<&str> = made
        .iter()
        .filter_map(|(name, _)| name.as_deref())
        .collect();
    if let Some((_, first)) = made.first() {
        draft.note(
            Verdict::Equal,
            &first.file.clone(),
            format!("{key}: one Dockerfile, several images"),
            format!("variants {}", names.join(", ")),
        );
    }
    made
}

/// Structure tests belong to the images of their folder, or to the only image.
fn attach_tests(tree: &Tree, images: &mut [DraftImage], draft: &mut Draft) {
    let tests: Vec<String> = tree
        .texts()
        .filter(|(path, text)| {
            path.ends_with("ml")
                && text
                    .lines()
                    .any(|line| line.trim_start().starts_with("schemaVersion"))
        })
        .map(|(path, _)| path.to_owned())
        .collect();
    let mut attached: BTreeMap<&str, usize> = BTreeMap::new();
    for test in &tests {
        let only = images.len() == 1;
        for image in images.iter_mut() {
            let build = &image.members[0].1;
            let near = [build.context.as_str(), folder(&build.dockerfile)];
            let is_near = near
                .iter()
                .any(|home| !home.is_empty() && test.starts_with(&format!("{home}/")));
            if only || is_near {
                image.tests.push(test.clone());
                *attached.entry(test).or_default() += 1;
            }
        }
        let (verdict, why) = match attached.get(test.as_str()) {
            Some(_) => (Verdict::Equal, "run by Cairn itself, without a daemon"),
            None => (
                Verdict::Missing,
                "which image it tests cannot be told; add it to its `tests.structure`",
            ),
        };
        draft.note(verdict, test, "structure tests", why);
    }
}
