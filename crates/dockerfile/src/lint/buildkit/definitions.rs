//! Comments that describe stages and arguments.

use cairn_diagnostic::Span;

use crate::ast::{Arg, InstructionKind, Word};
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// `# name what it is` above `ARG name` and `FROM ... AS name`.
pub(in crate::lint) static INVALID_DEFINITION_DESCRIPTION: Rule = Rule {
    name: "InvalidDefinitionDescription",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: true,
    summary: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    why: "Tools show the comment above a stage or an argument as its description when it begins \
          with its name.",
    bad: "# check=experimental=all\n\n# the release\nARG RELEASE=13\nFROM debian:${RELEASE}\n",
    good: "# check=experimental=all\n\n# RELEASE of Debian\nARG RELEASE=13\nFROM debian:${RELEASE}\n",
    check: descriptions,
};

fn descriptions(facts: &Facts<'_>, found: &mut Findings) {
    for line in &facts.file.global_args {
        check("ARG", &names(&line.kind), &line.comments, line.span, found);
    }
    for stage in &facts.file.stages {
        let from = &stage.from;
        let name: Vec<&str> = stage.name().into_iter().collect();
        check("FROM", &name, &from.comments, from.span, found);
        for line in &stage.instructions {
            if let InstructionKind::Arg(arg) = &line.kind {
                check("ARG", &names(arg), &line.comments, line.span, found);
            }
        }
    }
}

fn names(arg: &Arg) -> Vec<&str> {
    let names = arg.declarations.iter();
    names.map(|declaration| declaration.name.as_str()).collect()
}

fn check(instruction: &str, names: &[&str], comments: &[Word], span: Span, found: &mut Findings) {
    let Some(comment) = comments.last() else {
        return;
    };
    let first = comment.value.split(' ').next().unwrap_or_default();
    let example = match names {
        [] => return,
        names if names.contains(&first) => return,
        [name] => name,
        _ => "<arg_key>",
    };
    let detail =
        format!("Comment for {instruction} should follow the format: `# {example} <description>`");
    found.at(span, detail);
}
