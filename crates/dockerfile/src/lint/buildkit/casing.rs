//! Upper and lower case of keywords and stage names.

use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Fix, Level};
use crate::lint::rule::{Group, Rule};

/// Stage names in lower case.
pub(in crate::lint) static STAGE_NAME_CASING: Rule = Rule {
    name: "StageNameCasing",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Stage names should be lowercase",
    why: "Stage names mean the same in any case, and are printed in lower case: one that is \
          written otherwise cannot be found again in the output.",
    bad: "FROM debian:13-slim AS BuilderBase\n",
    good: "FROM debian:13-slim AS builder-base\n",
    check: stage_names,
};

fn stage_names(facts: &Facts<'_>, found: &mut Findings) {
    for stage in &facts.file.stages {
        let Some(name) = &stage.from.kind.written_name else {
            continue;
        };
        if name.value.to_lowercase() != name.value {
            let detail = format!("Stage name '{}' should be lowercase", name.value);
            let fix = Fix::replace(name.span, name.value.to_lowercase());
            found.fixable(stage.from.span, detail, Some(fix));
        }
    }
}

/// `FROM x AS y` or `from x as y`.
pub(in crate::lint) static FROM_AS_CASING: Rule = Rule {
    name: "FromAsCasing",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "The 'as' keyword should match the case of the 'from' keyword",
    why: "Two keywords of one line in two styles are hard to read.",
    bad: "FROM debian:13-slim as builder\n",
    good: "FROM debian:13-slim AS builder\n",
    check: from_as,
};

fn from_as(facts: &Facts<'_>, found: &mut Findings) {
    for stage in &facts.file.stages {
        let Some(keyword) = &stage.from.kind.as_keyword else {
            continue;
        };
        let from = stage.from.keyword.value.as_str();
        let expected = match Casing::of(from) {
            Casing::Lower => keyword.value.to_lowercase(),
            Casing::Upper => keyword.value.to_uppercase(),
            // Another rule speaks of the keyword itself.
            Casing::Mixed => continue,
        };
        if keyword.value != expected {
            let detail = format!(
                "'{}' and '{from}' keywords' casing do not match",
                keyword.value
            );
            let fix = Fix::replace(keyword.span, expected);
            found.fixable(stage.from.span, detail, Some(fix));
        }
    }
}

/// One case for all keywords.
pub(in crate::lint) static CONSISTENT_INSTRUCTION_CASING: Rule = Rule {
    name: "ConsistentInstructionCasing",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "All commands within the Dockerfile should use the same casing (either upper or lower)",
    why: "Keywords mean the same in any case. Written in one case throughout, upper by custom, \
          they are told from what follows them at a glance.",
    bad: "FROM debian:13-slim\nrun make\nCOPY a /a\n",
    good: "FROM debian:13-slim\nRUN make\nCOPY a /a\n",
    check: consistent,
};

fn consistent(facts: &Facts<'_>, found: &mut Findings) {
    let keywords = || {
        facts.file.stages.iter().flat_map(|stage| {
            let steps = stage.instructions.iter();
            std::iter::once((&stage.from.keyword, stage.from.span))
                .chain(steps.map(|step| (&step.keyword, step.span)))
        })
    };
    let count = |casing| {
        let all = keywords();
        all.filter(|(keyword, _)| Casing::of(&keyword.value) == casing)
            .count()
    };
    let (expected, name) = match count(Casing::Lower) > count(Casing::Upper) {
        true => (Casing::Lower, "lowercase"),
        false => (Casing::Upper, "uppercase"),
    };
    for (keyword, span) in keywords() {
        if Casing::of(&keyword.value) != expected {
            let detail = format!(
                "Command '{}' should match the case of the command majority ({name})",
                keyword.value
            );
            let fixed = match expected {
                Casing::Lower => keyword.value.to_lowercase(),
                _ => keyword.value.to_uppercase(),
            };
            found.fixable(span, detail, Some(Fix::replace(keyword.span, fixed)));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Casing {
    Lower,
    Upper,
    Mixed,
}

impl Casing {
    fn of(keyword: &str) -> Self {
        let lower = keyword.chars().any(|ch| ch.is_ascii_lowercase());
        let upper = keyword.chars().any(|ch| ch.is_ascii_uppercase());
        match (lower, upper) {
            (_, false) => Self::Lower,
            (false, true) => Self::Upper,
            (true, true) => Self::Mixed,
        }
    }
}
