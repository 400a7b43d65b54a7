//! What readers found to images: builds of one name are its variants, tests lie where they lie.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Build, Draft, DraftImage};
use super::paths::{file_name, folder};
use super::{Tree, Verdict, machines, metadata};
use crate::scaffold::name_from;
use crate::stack::Affixes;

/// Makes images of the builds, in the order they were found.
pub(super) fn assemble(tree: &Tree, draft: &mut Draft) -> Vec<DraftImage> {
    let mut groups: Vec<Vec<Build>> = Vec::new();
    for build in std::mem::take(&mut draft.builds) {
        // The same image described twice, by Compose and by the pipeline, is one.
        let same = groups.iter_mut().flatten().find(|it| is_same(it, &build));
        if let Some(same) = same {
            for platform in build.platforms {
                if !same.platforms.contains(&platform) {
                    same.platforms.push(platform);
                }
            }
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
        .map(|group| image(tree, group, &mut taken, draft));
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

/// Whether two builds are variants of one image: published as one, of one folder and those below
/// it, or made by one Dockerfile, or by the one that a tag names, and called by one name.
fn is_family(one: &Build, other: &Build) -> bool {
    let home = |build: &Build| build.names.first().filter(|it| is_published(it)).cloned();
    if home(one).is_some() && home(one) == home(other) {
        return true;
    }
    if one.family.is_some() && one.family == other.family {
        return true;
    }
    let by_choice = one.choice.is_some() && other.choice.is_some();
    one.context == other.context
        && (one.dockerfile == other.dockerfile || by_choice)
        && match (one.names.first(), other.names.first()) {
            (Some(one), Some(other)) => file_name(one) == file_name(other),
            _ => one.key == other.key || one.track.is_some(),
        }
}

/// A name without a registry is for this machine only.
pub(super) fn is_published(name: &str) -> bool {
    name.contains('/')
}

fn image(
    tree: &Tree,
    group: Vec<Build>,
    taken: &mut BTreeSet<String>,
    draft: &mut Draft,
) -> DraftImage {
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
    let group = machines::together(with_targets(tree, group), draft);
    let first = &group[0];
    let members = match group.len() {
        1 if first.track.is_none() && first.choice.is_none() && !has_affixes(first) => {
            vec![(None, group[0].clone())]
        }
        _ => variants(group, &key, draft),
    };
    DraftImage {
        key,
        names,
        tests: Vec::new(),
        builds_on: None,
        members,
    }
}

fn has_affixes(build: &Build) -> bool {
    build.affixes.as_ref().is_some_and(|it| !it.is_empty())
}

/// What tells a build's tags, as a name: `cuda12` of `cuda12-`.
fn of_affixes(build: &Build) -> Option<String> {
    let affixes = build.affixes.as_ref()?;
    let parts = [&affixes.prefix, &affixes.suffix].map(|it| it.trim_matches(['-', '_', '.']));
    let parts: Vec<&str> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    Some(parts.join("-")).filter(|it| !it.is_empty())
}

/// Where builds of one Dockerfile are told apart by their stage, the one that asks for none has the
/// last.
fn with_targets(tree: &Tree, mut group: Vec<Build>) -> Vec<Build> {
    if group.iter().any(|build| build.target.is_some()) {
        for build in group.iter_mut().filter(|build| build.target.is_none()) {
            build.target = super::layout::last_stage(tree, &build.dockerfile);
        }
    }
    group
}

/// Names for variants: the track, the target, the tag, the folder, the values of a matrix, else
/// what it is called.
fn variants(mut group: Vec<Build>, key: &str, draft: &mut Draft) -> Vec<(Option<String>, Build)> {
    let mut taken = BTreeSet::new();
    let distinct = |of: &dyn Fn(&Build) -> Option<String>| {
        let names: BTreeSet<Option<String>> = group.iter().map(of).collect();
        names.len() == group.len() && !names.contains(&None)
    };
    let by_target = distinct(&|build| build.target.clone());
    let by_tag = distinct(&|build| build.fixed_tags.first().cloned());
    let by_folder = distinct(&|build| Some(build.context.clone()));
    let above = common_folder(&group);
    let axes = axes(&group);
    let of_axes = |build: &Build| -> Option<String> {
        let values: Option<Vec<&str>> = axes
            .iter()
            .map(|axis| build.values.get(axis).map(String::as_str))
            .collect();
        Some(values?.join("-")).filter(|it| !it.is_empty())
    };
    let by_values = distinct(&of_axes);
    let by_affixes = distinct(&of_affixes);
    // What several combinations have around their tags tells none of them.
    let all: Vec<Option<Affixes>> = group.iter().map(|it| it.affixes.clone()).collect();
    for build in &mut group {
        let same = all.iter().filter(|it| **it == build.affixes).count();
        build.affixes.take_if(|_| same > 1);
    }
    let is_told = |build: &Build| build.track.is_some() || build.choice.is_some();
    let is_by_folder =
        by_folder && !by_target && !by_tag && !by_affixes && !group.iter().any(is_told);
    for build in &mut group {
        build.is_default = is_by_folder && build.context == above;
    }
    let is_by_tag = by_tag && !by_affixes && !by_target && !group.iter().any(is_told);
    let mut made = Vec::new();
    for mut build in group {
        let name = match &build.track {
            Some((track, _)) => track.clone(),
            None if build.choice.is_some() => build.choice.clone().unwrap_or_default(),
            None if by_affixes => of_affixes(&build).unwrap_or_default(),
            None if by_target => build.target.clone().unwrap_or_default(),
            None if by_tag => build.fixed_tags.first().cloned().unwrap_or_default(),
            None if build.is_default => DEFAULT.to_owned(),
            None if by_folder => file_name(&build.context).to_owned(),
            None if by_values => of_axes(&build).unwrap_or_default(),
            None => build.key.clone(),
        };
        let short = name.strip_prefix(&format!("{key}-")).unwrap_or(&name);
        let mut name = crate::tags::safe(short);
        while !taken.insert(name.clone()) {
            name.push_str("-2");
        }
        // Published under the variant's name there, so it is here.
        if is_by_tag && build.fixed_tags.first() == Some(&name) {
            build.further_tags = build.fixed_tags[1..].to_vec();
            build.choice = Some(name.clone());
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
            match (&first.choice, by_folder) {
                (Some(_), _) if is_by_tag => format!("{key}: one name, a tag for each variant"),
                (Some(_), _) => format!("{key}: one name, a Dockerfile for each tag"),
                (None, true) => format!("{key}: one name, a folder for each variant"),
                (None, false) => format!("{key}: one name, several images"),
            },
            format!("variants {}", names.join(", ")),
        );
    }
    made
}

/// What the variant is called that lies above the others.
const DEFAULT: &str = "default";

/// The folder that all contexts lie in, if it is one of them.
fn common_folder(group: &[Build]) -> String {
    let shortest = group
        .iter()
        .map(|it| it.context.as_str())
        .min_by_key(|it| it.len());
    shortest.unwrap_or_default().to_owned()
}

/// The axes of a matrix that tell builds apart: one alone, the shortest, if there is one, else all
/// that differ.
fn axes(group: &[Build]) -> Vec<String> {
    let all: BTreeSet<&String> = group.iter().flat_map(|it| it.values.keys()).collect();
    let values = |axis: &str| -> BTreeSet<Option<&String>> {
        group.iter().map(|it| it.values.get(axis)).collect()
    };
    let length = |axis: &str| -> usize { values(axis).iter().flatten().map(|it| it.len()).sum() };
    let alone = all.iter().filter(|axis| {
        let values = values(axis);
        values.len() == group.len() && !values.contains(&None)
    });
    match alone.min_by_key(|axis| length(axis)) {
        Some(axis) => vec![(*axis).clone()],
        None => {
            let differing = all.into_iter().filter(|axis| values(axis).len() > 1);
            differing.cloned().collect()
        }
    }
}

/// Combinations of a matrix that are one image here push the same tags there, and the last one
/// has them. Here each variant has its own.
pub(super) fn tell_tags(images: &[DraftImage], draft: &mut Draft) {
    let goes_out = |image: &DraftImage| {
        image
            .members
            .iter()
            .filter(|(_, it)| !it.is_internal)
            .count()
            > 1
    };
    let several = images.iter().filter(|image| goes_out(image));
    let files: BTreeSet<&String> = several
        .flat_map(|image| image.members.iter().map(|(_, build)| &build.file))
        .collect();
    for note in &mut draft.notes {
        if note.why == metadata::SAME_TAGS && files.contains(&note.file) {
            note.verdict = Verdict::Differs;
            note.why = metadata::TAGS_OF_VARIANTS.to_owned();
        }
    }
}

/// Where a stack is published, what nobody publishes stays home: it is internal. One that is the
/// only variant to be published has its tags to itself.
pub(super) fn keep_home(images: &mut [DraftImage], draft: &mut Draft) {
    if images.iter().all(|image| image.names.is_empty()) {
        return;
    }
    for image in images {
        let is_alone = image.members.len() == 1;
        let has_home = !image.names.is_empty();
        let goes_out =
            |build: &Build| has_home && (is_alone || build.names.iter().any(|it| is_published(it)));
        let published = image.members.iter().filter(|(_, it)| goes_out(it)).count();
        let mut home = Vec::new();
        for (name, build) in &mut image.members {
            build.is_internal = !goes_out(build);
            build.is_only_published = !is_alone && published == 1 && !build.is_internal;
            if build.is_internal {
                home.push(name.clone().unwrap_or_else(|| image.key.clone()));
            }
        }
        if let (Some(name), Some((_, first))) = (home.first(), image.members.first()) {
            draft.note(
                Verdict::Equal,
                &first.file.clone(),
                format!("{}: where it goes", image.key),
                format!("nothing publishes `{name}`, so it is `internal`: built and tested, never published"),
            );
        }
    }
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
