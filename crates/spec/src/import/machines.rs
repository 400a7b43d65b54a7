//! Builds that are one image for several machines: a pipeline without buildx builds
//! `app:amd64` and `app:arm32v7`, and puts them under one name afterwards.

use std::collections::BTreeMap;

use super::Verdict;
use super::draft::{Build, Draft};
use super::paths::relative;

/// What is different on one platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OnMachine {
    /// The Dockerfile from the context, if it is another one.
    pub(super) dockerfile: Option<String>,
    pub(super) target: Option<String>,
    pub(super) args: BTreeMap<String, String>,
}

/// One build for all platforms, where each build of a group is tagged with a platform of its own.
pub(super) fn together(group: Vec<Build>, draft: &mut Draft) -> Vec<Build> {
    let platforms: Option<Vec<&str>> = group.iter().map(machine).collect();
    let Some(platforms) = platforms.filter(|_| group.len() > 1) else {
        return group;
    };
    let mut distinct = platforms.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let first = &group[0];
    let one_context = group.iter().all(|it| it.context == first.context);
    if distinct.len() < group.len() || !one_context {
        return group;
    }
    let mut made = first.clone();
    let is_everywhere = |name: &String, value: &String| {
        let mut all = group.iter();
        all.all(|it| it.args.get(name) == Some(value))
    };
    made.args.retain(|name, value| is_everywhere(name, value));
    for (platform, build) in platforms.iter().zip(&group) {
        let own = build
            .args
            .iter()
            .filter(|(name, _)| !made.args.contains_key(*name));
        let on = OnMachine {
            dockerfile: (build.dockerfile != first.dockerfile)
                .then(|| relative(&build.context, &build.dockerfile)),
            target: build
                .target
                .clone()
                .filter(|_| build.target != first.target),
            args: own
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        };
        if on != OnMachine::default() {
            made.on.insert((*platform).to_owned(), on);
        }
    }
    made.platforms = platforms.iter().map(|it| (*it).to_owned()).collect();
    let tags: Vec<&str> = group.iter().map(|it| it.fixed_tags[0].as_str()).collect();
    let what = format!("{}: tags {}", made.key, tags.join(", "));
    let why = "one image for these platforms, published as an index under the tags of its event";
    draft.note(Verdict::Equal, &made.file.clone(), what, why);
    made.fixed_tags.clear();
    vec![made]
}

/// The platform that a build's only tag is called by.
fn machine(build: &Build) -> Option<&'static str> {
    let [tag] = build.fixed_tags.as_slice() else {
        return None;
    };
    if !build.platforms.is_empty() || build.track.is_some() || build.choice.is_some() {
        return None;
    }
    Some(match tag.as_str() {
        "amd64" | "x86_64" => "linux/amd64",
        "arm64" | "arm64v8" | "aarch64" => "linux/arm64",
        "arm32v7" | "armv7" | "armhf" => "linux/arm/v7",
        "arm32v6" | "armv6" => "linux/arm/v6",
        "i386" => "linux/386",
        "ppc64le" => "linux/ppc64le",
        "riscv64" => "linux/riscv64",
        "s390x" => "linux/s390x",
        _ => return None,
    })
}
