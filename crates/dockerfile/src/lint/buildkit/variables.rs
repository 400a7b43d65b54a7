//! Variables that nobody set.

use crate::ast::InstructionKind;
use crate::expand::Expanded;
use crate::lint::facts::{Facts, StageFacts, Step};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::suggest;

/// Variables are set before they are used.
pub(in crate::lint) static UNDEFINED_VAR: Rule = Rule {
    name: "UndefinedVar",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Variables should be defined before their use",
    why: "A variable that is not set is empty, and nothing fails: files land in another directory, \
          or a search path loses its parts. An `ARG` above `FROM` has to be declared again inside \
          the stage.",
    bad: "FROM debian:13-slim\nENV PATH=$PAHT:/opt/bin\n",
    good: "FROM debian:13-slim\nENV PATH=$PATH:/opt/bin\n",
    check: undefined,
};

fn undefined(facts: &Facts<'_>, found: &mut Findings) {
    for (stage, step) in facts.steps() {
        for word in stage.words(step, &facts.expander) {
            report(stage, step, &word, found);
        }
        if let InstructionKind::Arg(arg) = &step.instruction.kind {
            let mut before: Vec<(String, String)> = stage.variables_at(step).to_vec();
            for declaration in &arg.declarations {
                let is_given = facts.input.args.contains_key(declaration.name.as_str());
                if let Some(default) = declaration.default.as_ref().filter(|_| !is_given)
                    && let Ok(word) = facts.expander.word(default.as_str(), &before)
                {
                    report(stage, step, &word, found);
                    before.push((declaration.name.value.clone(), word.text));
                }
            }
        }
    }
}

fn report(stage: &StageFacts<'_>, step: &Step<'_>, word: &Expanded, found: &mut Findings) {
    for name in &word.unmatched {
        if stage.declares(step, name) {
            continue;
        }
        let known = stage.variables_at(step).iter();
        let near = suggest::nearest_variable(name, known.map(|(name, _)| name.as_str()));
        let mut detail = format!("Usage of undefined variable '${name}'");
        if let Some(near) = near {
            detail.push_str(&format!(" (did you mean ${near}?)"));
        }
        // An image whose settings we do not know may well set it, and something in front of a name
        // makes another name rather than a slip: golang's `GOPATH` is no `PATH`.
        let is_slip = near.is_some_and(|near| !name.ends_with(near));
        match is_slip || stage.has_known_variables {
            true => found.at(step.span, detail),
            false => found.doubtful(step.span, detail),
        }
    }
}
