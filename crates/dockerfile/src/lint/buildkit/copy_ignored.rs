//! Sources that the ignore file keeps out of the context.

use crate::ast::{CopySource, InstructionKind};
use crate::ignore::{self, Pattern, Patterns};
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// What is copied is not ignored.
pub(in crate::lint) static COPY_IGNORED_FILE: Rule = Rule {
    name: "CopyIgnoredFile",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Attempting to Copy file that is excluded by .dockerignore",
    why: "A file that `.dockerignore` excludes is not in the context: the copy fails, or copies \
          nothing. The check stays silent where the ignore file takes something back with `!`.",
    bad: "# with the line `*.md` in .dockerignore\n\nFROM debian:13-slim\nCOPY notes.md /\n",
    good: "# with the line `*.md` in .dockerignore\n\nFROM debian:13-slim\nCOPY model.py /\n",
    check: ignored_sources,
};

fn ignored_sources(facts: &Facts<'_>, found: &mut Findings) {
    let Some(patterns) = facts.input.ignore.filter(|patterns| is_plain(patterns)) else {
        return;
    };
    for (stage, step) in facts.steps() {
        let (verb, files) = match &step.instruction.kind {
            InstructionKind::Copy(copy) if copy.from.is_none() => ("Copy", &copy.files),
            InstructionKind::Add(add) => ("Add", &add.files),
            _ => continue,
        };
        for source in &files.sources {
            let CopySource::Path(word) = source else {
                continue;
            };
            let variables = stage.variables_at(step);
            let Ok(path) = facts.expander.word(word.as_str(), &variables) else {
                continue;
            };
            if is_remote(&path.text) {
                continue;
            }
            let path = ignore::clean(&path.text);
            let is_ignored = match path.as_str() {
                // The context itself is never ignored, only what is in it: all of it, perhaps.
                "." => patterns.patterns().iter().any(is_everything),
                path => patterns.matches(path),
            };
            if is_ignored {
                let detail =
                    format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
                found.at(step.span, detail);
            }
        }
    }
}

/// Whether a pattern means every file there is.
fn is_everything(pattern: &Pattern) -> bool {
    matches!(pattern.text(), "*" | "**" | "**/*" | "*/**")
}

/// Whether the patterns only exclude.
fn is_plain(patterns: &Patterns) -> bool {
    !patterns.is_empty() && !patterns.patterns().iter().any(Pattern::is_exception)
}

/// Whether a source of `ADD` is an address.
pub(in crate::lint) fn is_remote(source: &str) -> bool {
    const STARTS: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];
    STARTS.iter().any(|start| source.starts_with(start))
}
