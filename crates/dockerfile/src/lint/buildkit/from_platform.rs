//! Platforms of stages and of their bases.

use crate::lint::facts::{Base, Facts};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// No fixed platform in `FROM`.
pub(in crate::lint) static FROM_PLATFORM_FLAG_CONST_DISALLOWED: Rule = Rule {
    name: "FromPlatformFlagConstDisallowed",
    aliases: &["DL3029"],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "FROM --platform flag should not use a constant value",
    why: "A fixed platform makes the image one for that platform whatever a build asks for; \
          elsewhere it runs emulated, or not at all. Give the build `--platform`, or name the \
          stage after the platform if it is meant to be fixed.",
    bad: "FROM --platform=linux/amd64 debian:13-slim AS base\n",
    good: "FROM debian:13-slim AS base\n",
    check: constant,
};

fn constant(facts: &Facts<'_>, found: &mut Findings) {
    for stage in &facts.stages {
        let Some(word) = &stage.platform else {
            continue;
        };
        if !word.used.is_empty() || !word.unmatched.is_empty() {
            continue;
        }
        let Some((os, architecture)) = parts(&word.text, facts) else {
            continue;
        };
        let name = stage.stage.name().unwrap_or_default();
        if name.contains(&os) || name.contains(&architecture) {
            continue;
        }
        let detail = format!(
            "FROM --platform flag should not use constant value {:?}",
            word.text
        );
        found.at(stage.stage.from.span, detail);
    }
}

/// The operating system and architecture that a platform names; what it leaves out is the
/// builder's.
fn parts(text: &str, facts: &Facts<'_>) -> Option<(String, String)> {
    let builder = facts.input.build_platform;
    let fields: Vec<&str> = text.split('/').collect();
    if fields.iter().any(|field| field.is_empty()) {
        return None;
    }
    match fields.as_slice() {
        [one] if OPERATING_SYSTEMS.contains(one) => {
            Some(((*one).to_owned(), builder.architecture.to_owned()))
        }
        [one] => Some((builder.os.to_owned(), architecture(one))),
        [os, name] | [os, name, _] => Some(((*os).to_owned(), architecture(name))),
        _ => None,
    }
}

const OPERATING_SYSTEMS: [&str; 5] = ["linux", "windows", "darwin", "freebsd", "wasip1"];

fn architecture(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        "i386" => "386".to_owned(),
        "armhf" | "armel" => "arm".to_owned(),
        other => other.to_owned(),
    }
}

/// The base is for the platform that is built for.
pub(in crate::lint) static INVALID_BASE_IMAGE_PLATFORM: Rule = Rule {
    name: "InvalidBaseImagePlatform",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Base image platform does not match expected target platform",
    why: "Programs of another platform do not run, or run emulated and slowly. It happens when an \
          image that is for one platform only is asked for on another. Only `cairn build` reports \
          it: `cairn lint` opens no image.",
    bad: "# built for linux/amd64, where the registry has linux/arm64 alone\n\nFROM only-arm:1\n",
    good: "FROM debian:13-slim\n",
    check: base_platform,
};

fn base_platform(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        let Some(Base::Image(name)) = &stage.base else {
            continue;
        };
        let known = facts.input.bases.get(name);
        let Some(actual) = known.and_then(|base| base.platform.as_deref()) else {
            continue;
        };
        let target = facts.input.target_platform;
        let expected = match &stage.platform {
            Some(word) => word.text.clone(),
            None => format!("{}/{}", target.os, target.architecture),
        };
        let same = |one: &str, other: &str| parts(one, facts) == parts(other, facts);
        if !same(actual, &expected) {
            let detail = format!(
                "Base image {name} was pulled with platform {actual:?}, expected {expected:?} for current build"
            );
            found.at(stage.stage.from.span, detail);
        }
    }
}
