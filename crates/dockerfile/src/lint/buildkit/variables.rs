//! Variables that nobody set.

use crate::ast::InstructionKind;
use crate::expand::{Env, Expanded};
use crate::lint::facts::{Facts, Seen, StageFacts, Step};
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

/// So many variables are looked at for one that was meant.
const COMPARED_MAX: usize = 200;

fn undefined(facts: &Facts<'_>, found: &mut Findings) {
    for (stage, step) in facts.steps() {
        for word in stage.words(step, &facts.expander) {
            report(stage, step, &word, found);
        }
        if let InstructionKind::Arg(arg) = &step.instruction.kind {
            let mut before = Declared {
                before: stage.variables_at(step),
                own: Vec::new(),
            };
            for declaration in &arg.declarations {
                let is_given = facts.input.args.contains_key(declaration.name.as_str());
                if let Some(default) = declaration.default.as_ref().filter(|_| !is_given)
                    && let Ok(word) = facts.expander.word(default.as_str(), &before)
                {
                    report(stage, step, &word, found);
                    let name = declaration.name.value.clone();
                    before.own.push((name, word.text));
                }
            }
        }
    }
}

/// What the declarations of one `ARG` see: those before them in it, and what was set before it.
struct Declared<'a> {
    before: Seen<'a>,
    own: Vec<(String, String)>,
}

impl Env for Declared<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let own = self.own.iter().rev().find(|(known, _)| known == name);
        own.map(|(_, value)| value.as_str())
            .or_else(|| self.before.value(name))
    }
}

fn report(stage: &StageFacts<'_>, step: &Step<'_>, word: &Expanded, found: &mut Findings) {
    for name in &word.unmatched {
        if stage.declares(step, name) {
            continue;
        }
        let known = stage.variables_at(step).last_names(COMPARED_MAX);
        let near = suggest::nearest_variable(name, known);
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
