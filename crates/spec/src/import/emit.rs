//! A draft to the text of a spec: only what differs from what holds anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::draft::{Build, Draft, DraftImage};
use super::paths::relative;
use crate::stack::Affixes;

/// Writes the spec.
pub(super) fn emit(name: &str, images: &[DraftImage], draft: &Draft) -> String {
    let mut out = String::new();
    let mut from = draft.from.clone();
    from.sort();
    from.dedup();
    let registries = shared_registries(images);
    let platforms = shared_platforms(images);
    let _ = writeln!(out, "# Imported from {}.", from.join(", "));
    let _ = writeln!(out, "\n[stack]\nname = {}", quoted(name));
    if !registries.is_empty() {
        let _ = writeln!(out, "registries = {}", list(&registries));
    }
    if !platforms.is_empty() {
        let _ = writeln!(out, "platforms = {}", list(&platforms));
    }
    let is_used = |name: &str| {
        let written = format!("${{{name}}}");
        let builds = images.iter().flat_map(|image| &image.members);
        let mut values = builds.flat_map(|(_, it)| {
            let on = it.on.values().flat_map(|on| on.args.values());
            it.args.values().chain(it.labels.values()).chain(on)
        });
        let mut names = images.iter().flat_map(|image| &image.names);
        values.any(|it| it.contains(&written)) || names.any(|it| it.contains(&written))
    };
    let variables: Vec<_> = draft
        .variables
        .iter()
        .filter(|(it, _)| is_used(it))
        .collect();
    if !variables.is_empty() {
        out.push_str("\n[variables]\n");
        for (name, variable) in variables {
            let (env, default) = (quoted(&variable.env), quoted(&variable.default));
            let _ = writeln!(out, "{name} = {{ env = {env}, default = {default} }}");
        }
    }
    if !draft.cache_from.is_empty() {
        let _ = writeln!(out, "\n[build]\ncache-from = {}", list(&draft.cache_from));
    }
    tags(&mut out, draft);
    if !draft.ignore.is_empty() || !draft.build_all.is_empty() {
        out.push_str("\n[changes]\n");
        for (key, globs) in [("ignore", &draft.ignore), ("build-all", &draft.build_all)] {
            if !globs.is_empty() {
                let _ = writeln!(out, "{key} = {}", list(globs));
            }
        }
    }
    if !draft.common_suites.is_empty() {
        out.push_str("\n[defaults]\n");
        let _ = writeln!(out, "tests.pytest = [{}]", draft.common_suites.join(", "));
    }
    if !draft.promote.is_empty() {
        let _ = writeln!(out, "\n[promote]\n{}", draft.promote.join("\n"));
    }
    if !draft.info.is_empty() {
        out.push_str("\n[info]\n");
        for (name, (title, command)) in &draft.info {
            let command = quoted(&literal(command, draft));
            let title = title.as_ref().map_or(String::new(), |title| {
                format!("title = {}, ", quoted(&literal(title, draft)))
            });
            let _ = writeln!(out, "{} = {{ {title}command = {command} }}", key(name));
        }
    }
    for image in images {
        emit_image(&mut out, image, &registries, &platforms, draft);
    }
    out
}

fn tags(out: &mut String, draft: &Draft) {
    if draft.prefix.is_none() && draft.tags.is_empty() {
        return;
    }
    out.push_str("\n[tags]\n");
    if let Some(prefix) = &draft.prefix {
        let _ = writeln!(out, "prefix = {}", quoted(prefix));
    }
    if !draft.main_branches.is_empty() {
        let _ = writeln!(out, "main-branches = {}", list(&draft.main_branches));
    }
    for (kind, rules) in &draft.tags {
        let _ = writeln!(out, "{kind} = {}", list(rules));
    }
}

fn emit_image(
    out: &mut String,
    image: &DraftImage,
    registries: &[String],
    platforms: &[String],
    draft: &Draft,
) {
    let table = format!("image.{}", key(&image.key));
    let _ = writeln!(out, "\n[{table}]");
    let builds: Vec<&Build> = image.members.iter().map(|(_, build)| build).collect();
    let first = builds[0];
    let context = match first.context.as_str() {
        "" => ".",
        context => context,
    };
    let one_context = builds.iter().all(|it| it.context == first.context);
    if one_context {
        let _ = writeln!(out, "context = {}", quoted(context));
    }
    let dockerfile = relative(&first.context, &first.dockerfile);
    let one_dockerfile = builds
        .iter()
        .all(|it| relative(&it.context, &it.dockerfile) == dockerfile);
    if one_dockerfile && dockerfile != "Dockerfile" {
        let _ = writeln!(out, "dockerfile = {}", quoted(&dockerfile));
    }
    if first.choice.is_some() {
        out.push_str("tags = { main = [\"{variant}\"] }\n");
    }
    if builds.iter().all(|it| it.is_internal) {
        out.push_str("internal = true\n");
    }
    let shared = |of: fn(&Build) -> &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let pairs = of(first).iter();
        let everywhere = pairs.filter(|(k, v)| builds.iter().all(|it| of(it).get(*k) == Some(*v)));
        everywhere.map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let (args, labels) = (shared(|it| &it.args), shared(|it| &it.labels));
    if builds.len() == 1
        && let Some(target) = &first.target
    {
        let _ = writeln!(out, "target = {}", quoted(target));
    }
    pairs(out, "args", &args, draft);
    pairs(out, "labels", &labels, draft);
    let own: Vec<String> = split(&image.names)
        .into_iter()
        .map(|(registry, _)| registry)
        .collect();
    if !own.is_empty() && own != registries {
        let _ = writeln!(out, "registries = {}", list(&own));
    }
    names(out, image);
    let own_platforms = &first.platforms;
    if !own_platforms.is_empty() && own_platforms != platforms {
        let _ = writeln!(out, "platforms = {}", list(own_platforms));
    }
    for (platform, on) in &first.on {
        let mut settings: Vec<String> = Vec::new();
        for (name, value) in [("dockerfile", &on.dockerfile), ("target", &on.target)] {
            settings.extend(value.iter().map(|it| format!("{name} = {}", quoted(it))));
        }
        if !on.args.is_empty() {
            settings.push(format!("args = {{ {} }}", in_line(&on.args, draft)));
        }
        let _ = writeln!(out, "on.{} = {{ {} }}", key(platform), settings.join(", "));
    }
    if !first.info.is_empty() {
        let _ = writeln!(out, "info = {}", list(&first.info));
    }
    match (image.tests.is_empty(), first.suites.is_empty()) {
        (true, true) => {}
        (false, true) => {
            let _ = writeln!(out, "tests = {{ structure = {} }}", list(&image.tests));
        }
        (_, false) => suites(out, image, first),
    }
    for (name, build) in &image.members {
        let Some(name) = name else { continue };
        let _ = writeln!(out, "\n[{table}.variant.{}]", key(name));
        if let Some((_, Some(prefix))) = &build.track {
            let _ = writeln!(out, "tags = {{ prefix = {} }}", quoted(prefix));
        }
        affixes(out, name, build);
        if build.is_internal && !builds.iter().all(|it| it.is_internal) {
            out.push_str("internal = true\n");
        }
        if !one_context {
            let context = match build.context.as_str() {
                "" => ".",
                context => context,
            };
            let _ = writeln!(out, "context = {}", quoted(context));
        }
        if build.platforms != first.platforms && !build.platforms.is_empty() {
            let _ = writeln!(out, "platforms = {}", list(&build.platforms));
        }
        if !one_dockerfile {
            let dockerfile = relative(&build.context, &build.dockerfile);
            let _ = writeln!(out, "dockerfile = {}", quoted(&dockerfile));
        }
        if let Some(target) = &build.target {
            let _ = writeln!(out, "target = {}", quoted(target));
        }
        let without = |all: &BTreeMap<String, String>, shared: &BTreeMap<String, String>| {
            let rest = all.iter().filter(|(key, _)| !shared.contains_key(*key));
            rest.map(|(k, v)| (k.clone(), v.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        pairs(out, "args", &without(&build.args, &args), draft);
        pairs(out, "labels", &without(&build.labels, &labels), draft);
    }
}

/// What stands around a variant's tags, where it is not `-` and its name.
fn affixes(out: &mut String, name: &str, build: &Build) {
    let none = Affixes::default();
    let is_plain = build.track.is_some()
        || build.is_only_published
        || build.is_default
        || !build.further_tags.is_empty();
    let affixes = match (is_plain, &build.affixes) {
        (true, _) => &none,
        (false, Some(affixes)) => affixes,
        (false, None) => return,
    };
    if !affixes.prefix.is_empty() {
        let _ = writeln!(out, "prefix = {}", quoted(&affixes.prefix));
    }
    let by_default = match affixes.prefix.is_empty() {
        true => format!("-{name}"),
        false => String::new(),
    };
    if affixes.suffix != by_default {
        let _ = writeln!(out, "suffix = {}", quoted(&affixes.suffix));
    }
    if !build.further_tags.is_empty() {
        let mut tags = vec!["{variant}".to_owned()];
        tags.extend(build.further_tags.iter().cloned());
        let _ = writeln!(out, "tags = {{ main = {} }}", list(&tags));
    }
}

fn suites(out: &mut String, image: &DraftImage, build: &Build) {
    if !image.tests.is_empty() {
        let _ = writeln!(out, "tests.structure = {}", list(&image.tests));
    }
    for (kind, suites) in &build.suites {
        let _ = writeln!(out, "tests.{kind} = [{}]", suites.join(", "));
    }
}

/// `names`, where an image is published under another name than its key.
fn names(out: &mut String, image: &DraftImage) {
    let split = split(&image.names);
    let differing: Vec<&(String, String)> = split
        .iter()
        .filter(|(_, name)| *name != image.key)
        .collect();
    let distinct: BTreeSet<&str> = split.iter().map(|(_, name)| name.as_str()).collect();
    match (differing.as_slice(), distinct.len()) {
        ([], _) => {}
        ([(_, name), ..], 1) => {
            let _ = writeln!(out, "names = {}", quoted(name));
        }
        (differing, _) => {
            let table: Vec<String> = differing
                .iter()
                .map(|(registry, name)| format!("{} = {}", quoted(registry), quoted(name)))
                .collect();
            let _ = writeln!(out, "names = {{ {} }}", table.join(", "));
        }
    }
}

/// Registry with namespace, and name. `a/b` without a registry is on Docker's.
fn split(names: &[String]) -> Vec<(String, String)> {
    let split = names.iter().filter_map(|name| {
        let (registry, name) = name.rsplit_once('/')?;
        let host = registry.split('/').next().unwrap_or_default();
        let is_host = host.contains(['.', ':', '$']) || host == "localhost";
        let registry = match is_host {
            true => registry.to_owned(),
            false => format!("docker.io/{registry}"),
        };
        Some((registry, name.to_owned()))
    });
    split.collect()
}

/// The registries that most images go to.
fn shared_registries(images: &[DraftImage]) -> Vec<String> {
    let all = images.iter().map(|image| {
        split(&image.names)
            .into_iter()
            .map(|(registry, _)| registry)
            .collect::<Vec<_>>()
    });
    most(all)
}

fn shared_platforms(images: &[DraftImage]) -> Vec<String> {
    most(
        images
            .iter()
            .map(|image| image.members[0].1.platforms.clone()),
    )
}

fn most(lists: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut counted: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for list in lists.filter(|list| !list.is_empty()) {
        *counted.entry(list).or_default() += 1;
    }
    let most = counted.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(list, _)| list).unwrap_or_default()
}

fn pairs(out: &mut String, name: &str, pairs: &BTreeMap<String, String>, draft: &Draft) {
    if pairs.is_empty() {
        return;
    }
    let _ = writeln!(out, "{name} = {{ {} }}", in_line(pairs, draft));
}

fn in_line(pairs: &BTreeMap<String, String>, draft: &Draft) -> String {
    let pairs = pairs.iter();
    let written: Vec<String> = pairs
        .map(|(k, v)| format!("{} = {}", key(k), quoted(&literal(v, draft))))
        .collect();
    written.join(", ")
}

/// A value in which `${...}` that is no variable of the spec stands for itself.
fn literal(value: &str, draft: &Draft) -> String {
    let mut parts = value.split("${");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = part.split_once('}').map(|(name, _)| name);
        let is_variable = name.is_some_and(|name| draft.variables.contains_key(name));
        made.push_str(if is_variable { "${" } else { "$${" });
        made.push_str(part);
    }
    made
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
