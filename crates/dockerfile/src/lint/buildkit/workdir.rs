//! Relative working directories.
//!
//! On Windows a path may begin with its drive, which is `C:` in an image, and either slash.

use crate::ast::InstructionKind;
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// The first `WORKDIR` of a stage is absolute.
pub(in crate::lint) static WORKDIR_RELATIVE_PATH: Rule = Rule {
    name: "WorkdirRelativePath",
    aliases: &["DL3000"],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    why: "A relative directory starts from wherever the base image left off. When the base sets \
          another one some day, all files move.",
    bad: "FROM debian:13-slim\nWORKDIR app\n",
    good: "FROM debian:13-slim\nWORKDIR /app\n",
    check: relative,
};

fn relative(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        if stage.starts_with_workdir() {
            continue;
        }
        // The first one decides: with it the others are right or wrong.
        let first = stage
            .steps
            .iter()
            .find(|step| matches!(step.instruction.kind, InstructionKind::Workdir(_)));
        let Some(step) = first else {
            continue;
        };
        for word in stage.words(step, &facts.expander) {
            let path = &word.text;
            if !is_absolute(path, stage.is_windows) {
                let detail = format!(
                    "Relative workdir {path:?} can have unexpected results if the base image changes"
                );
                found.at(step.span, detail);
            }
        }
    }
}

/// Whether a path is absolute where it is used.
pub(in crate::lint) fn is_absolute(path: &str, is_windows: bool) -> bool {
    if !is_windows {
        return path.starts_with('/');
    }
    let drive = path.get(..2).filter(|it| it.eq_ignore_ascii_case("c:"));
    let path = drive.map_or(path, |drive| &path[drive.len()..]);
    path.starts_with(['/', '\\'])
}
