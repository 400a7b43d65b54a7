//! Names of stages that collide.

use std::collections::HashSet;

use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// Each name once.
pub(in crate::lint) static DUPLICATE_STAGE_NAME: Rule = Rule {
    name: "DuplicateStageName",
    aliases: &["DL3024"],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Stage names should be unique",
    why: "Of two stages with one name, the later one answers to it from there on. A stage put \
          between them changes what a `COPY --from` means.",
    bad: "FROM debian:13-slim AS app\nRUN make\nFROM debian:13-slim AS app\n",
    good: "FROM debian:13-slim AS build\nRUN make\nFROM debian:13-slim AS app\n",
    check: duplicates,
};

fn duplicates(facts: &Facts<'_>, found: &mut Findings) {
    let mut before = HashSet::new();
    for stage in &facts.file.stages {
        let Some(name) = stage.name() else {
            continue;
        };
        if !before.insert(name) {
            let detail = format!("Duplicate stage name {name:?}, stage names should be unique");
            found.at(stage.from.span, detail);
        }
    }
}

/// Names that mean something else in `FROM` and `COPY --from`.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// No stage called `scratch` or `context`.
pub(in crate::lint) static RESERVED_STAGE_NAME: Rule = Rule {
    name: "ReservedStageName",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Reserved words should not be used as stage names",
    why: "`scratch` is the empty image and `context` the build context: a stage that takes one of \
          these names hides it.",
    bad: "FROM debian:13-slim AS scratch\n",
    good: "FROM debian:13-slim AS minimal\n",
    check: reserved,
};

fn reserved(facts: &Facts<'_>, found: &mut Findings) {
    for stage in &facts.file.stages {
        if let Some(name) = stage.name().filter(|name| RESERVED.contains(name)) {
            let detail =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            found.at(stage.from.span, detail);
        }
    }
}
