//! `CMD`, `ENTRYPOINT` and `HEALTHCHECK`.

use cairn_diagnostic::Span;

use crate::ast::{CommandLine, InstructionKind};
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// `CMD ["program", "argument"]`, not `CMD program argument`.
pub(in crate::lint) static JSON_ARGS_RECOMMENDED: Rule = Rule {
    name: "JSONArgsRecommended",
    aliases: &["DL3025"],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    why: "The shell form starts a shell that starts the program. Signals reach the shell and not \
          the program, so that stopping a container takes the ten seconds until it is killed and \
          a job has no chance to write its checkpoint. With SHELL the choice is the author's.",
    bad: "FROM debian:13-slim\nCMD python3 serve.py\n",
    good: "FROM debian:13-slim\nCMD [\"python3\", \"serve.py\"]\n",
    check: json_arguments,
};

fn json_arguments(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        let mut has_shell = stage.starts_with_shell();
        for step in &stage.steps {
            let line = match &step.instruction.kind {
                InstructionKind::Shell(_) => {
                    has_shell = true;
                    continue;
                }
                InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => line,
                _ => continue,
            };
            if matches!(line, CommandLine::Shell(_)) && !has_shell {
                let detail = format!(
                    "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                    step.instruction.keyword.value
                );
                found.at(step.span, detail);
            }
        }
    }
}

/// Each of them once in a stage.
pub(in crate::lint) static MULTIPLE_INSTRUCTIONS_DISALLOWED: Rule = Rule {
    name: "MultipleInstructionsDisallowed",
    aliases: &["DL3012", "DL4003", "DL4004"],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Multiple instructions of the same type should not be used in the same stage",
    why: "Of several CMD, ENTRYPOINT or HEALTHCHECK only the last one counts; the others are left \
          over, or somebody believes that they run.",
    bad: "FROM debian:13-slim\nCMD [\"one\"]\nCMD [\"two\"]\n",
    good: "FROM debian:13-slim\nCMD [\"two\"]\n",
    check: multiple,
};

fn multiple(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        // Command, entrypoint, health check: where the last one stood.
        let mut last: [Option<Span>; 3] = [None; 3];
        for step in &stage.steps {
            let slot = match &step.instruction.kind {
                InstructionKind::Cmd(_) => 0,
                InstructionKind::Entrypoint(_) => 1,
                InstructionKind::Healthcheck(_) => 2,
                _ => continue,
            };
            // The one before is the one without effect.
            if let Some(before) = last[slot].replace(step.span) {
                let detail = format!(
                    "Multiple {} instructions should not be used in the same stage because only the last one will be used",
                    step.instruction.keyword.value
                );
                found.at(before, detail);
            }
        }
    }
}
