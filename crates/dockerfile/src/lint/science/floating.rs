//! Bases that are another image tomorrow (BOR-24).

use cairn_diagnostic::Span;

use crate::ast::InstructionKind;
use crate::lint::facts::{Base, Facts, StageFacts};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::lint::{installs, reference};

/// A tag that stays, or a digest.
pub(in crate::lint) static FLOATING_BASE: Rule = Rule {
    name: "FloatingBase",
    aliases: &["DL3006", "DL3007"],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "A base image should have a tag that stays, or a digest",
    why: "Without a tag the tag `latest` is meant, which is a name like any other and not the \
          newest image. It is moved with each release: the same Dockerfile gives another Python \
          or another C library next year, and a colleague gets another image than you. Images of \
          the same stack and those that `cairn.lock` pins are fine. It is only a note where a \
          busybox or alpine is used for its shell and nothing is installed on it.",
    bad: "FROM python:latest\nCOPY model.py /\n",
    good: "FROM python:3.13.1-slim\nCOPY model.py /\n",
    check,
};

/// Tags that are moved as a matter of course.
const MOVING: [&str; 12] = [
    "latest", "stable", "edge", "rolling", "devel", "dev", "nightly", "main", "master", "testing",
    "unstable", "current",
];

/// Images with little in them but a shell.
const BARE: [&str; 2] = ["alpine", "busybox"];

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        if let Some(Base::Image(name)) = &stage.base {
            let span = stage.stage.from.kind.image.span;
            let is_named = stage
                .stage
                .name()
                .is_some_and(|own| facts.input.pinned.contains(own));
            if !is_named {
                report(facts, name, span, !is_bare_use(facts, stage, name), found);
            }
        }
        for step in stage.steps.iter().filter(|step| !step.is_trigger) {
            let froms: Vec<(&str, Span)> = match &step.instruction.kind {
                InstructionKind::Copy(copy) => {
                    let from = copy.from.iter();
                    from.map(|word| (word.as_str(), word.span)).collect()
                }
                InstructionKind::Run(run) => {
                    let mounts = run.mounts.iter();
                    mounts
                        .filter_map(|mount| Some((mount.from.as_deref()?, mount.span())))
                        .collect()
                }
                _ => continue,
            };
            for (name, span) in froms {
                let is_own = facts.names.from(name).is_some() || name.parse::<usize>().is_ok();
                if !is_own && name != "scratch" && !name.contains('$') {
                    let (repository, ..) = reference::parts(name);
                    let is_bare = BARE.contains(&last_part(repository));
                    report(facts, name, span, !is_bare, found);
                }
            }
        }
    }
}

fn report(facts: &Facts<'_>, name: &str, span: Span, matters: bool, found: &mut Findings) {
    if facts.input.pinned.contains(name) {
        return;
    }
    let detail = match reference::parts(name) {
        (_, _, Some(_)) => return,
        (_, None, None) => {
            format!("{name} has no tag, so it is whatever `latest` points to on the day")
        }
        (_, Some(tag), None) if MOVING.contains(&tag) => {
            format!("{name} is moved with each release")
        }
        _ => return,
    };
    match matters {
        true => found.at(span, detail),
        false => found.doubtful(span, detail),
    }
}

/// Whether a bare image is used as it is: nothing is installed, in this stage or one upon it.
fn is_bare_use(facts: &Facts<'_>, stage: &StageFacts<'_>, name: &str) -> bool {
    let (repository, ..) = reference::parts(name);
    if !BARE.contains(&last_part(repository)) {
        return false;
    }
    // It starts from an image, so it is the lowest of what stands on it.
    let upon = facts.stages.iter();
    let upon = upon.filter(|other| other.bottom == stage.stage.index);
    !upon.flat_map(|stage| facts.runs_of(stage)).any(|run| {
        run.work.commands().any(|command| {
            let invocation = &command.invocation;
            invocation.program == "apk" && invocation.subcommand() == Some("add")
                || installs::pip_install(invocation).is_some()
        })
    })
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
