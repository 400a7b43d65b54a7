//! What a target takes from outside: arguments with their values, secrets and agents.
//!
//! As BuildKit's `frontend.outline` tells it: the `ARG`s of the stages that the target needs, and
//! those before the first `FROM` that these stages use, directly or through the default of
//! another. An argument is told once, as it was declared last. Nothing is asked of base images:
//! variables that come with them are not set here.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::Span;

use crate::ast::{ArgDeclaration, Dockerfile, InstructionKind, Run, Stage};
use crate::expand::{ExpandError, Expander};
use crate::mount::Mount;

/// What a target takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// Arguments, in the order of the text.
    pub args: Vec<OutlineArg>,
    /// Secrets, in the order of the text.
    pub secrets: Vec<OutlineMount>,
    /// Agents, in the order of the text.
    pub agents: Vec<OutlineMount>,
}

/// An argument that a target takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// What a comment above says of it.
    pub description: String,
    /// The value it has, given or by default.
    pub value: String,
    /// The instruction that declares it.
    pub span: Span,
}

/// A secret or an agent that a target takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its name.
    pub name: String,
    /// Whether a step fails without it.
    pub required: bool,
    /// The instruction that wants it first.
    pub span: Span,
}

/// Tells what a stage takes; `given` are the build arguments, `predefined` the values that
/// `FROM` sees without an `ARG`.
pub fn outline(
    file: &Dockerfile,
    target: &Stage,
    given: &BTreeMap<String, String>,
    predefined: &[(&'static str, String)],
) -> Result<Outline, ExpandError> {
    let mut globals = Scope::default();
    for (name, value) in predefined {
        let value = given.get(*name).unwrap_or(value);
        globals.set(name, value);
    }
    let mut survey = Survey {
        file,
        given,
        expander: Expander::new(file.directives.escape),
        outline: Outline::default(),
        told: BTreeSet::new(),
        seen: BTreeSet::new(),
    };
    for instruction in &file.global_args {
        for declaration in &instruction.kind.declarations {
            survey.declare(&mut globals, declaration, instruction.span, None)?;
        }
    }
    survey.stage(target, &globals)?;
    let mut outline = survey.outline;
    outline.args.sort_by_key(|arg| arg.span.start);
    outline.secrets.sort_by_key(|secret| secret.span.start);
    outline.agents.sort_by_key(|agent| agent.span.start);
    Ok(outline)
}

/// Variables, and the arguments among them.
#[derive(Debug, Clone, Default)]
struct Scope {
    variables: Vec<(String, String)>,
    args: BTreeMap<String, Known>,
}

/// An argument as it was declared last.
#[derive(Debug, Clone)]
struct Known {
    arg: OutlineArg,
    /// The variables in its default.
    uses: BTreeSet<String>,
}

impl Scope {
    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.variables.iter().rev();
        found
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

struct Survey<'a> {
    file: &'a Dockerfile,
    given: &'a BTreeMap<String, String>,
    expander: Expander,
    outline: Outline,
    told: BTreeSet<String>,
    seen: BTreeSet<usize>,
}

impl<'a> Survey<'a> {
    /// Adds what a stage takes, then what the stages below and beside it take. Gives the
    /// variables at its end.
    fn stage(&mut self, stage: &Stage, globals: &Scope) -> Result<Scope, ExpandError> {
        let clause = &stage.from.kind;
        let image = self
            .expander
            .word(clause.image.as_str(), &globals.variables)?;
        let mut used = image.used;
        if let Some(platform) = &clause.platform {
            let platform = self.expander.word(platform.as_str(), &globals.variables)?;
            used.extend(platform.used);
        }
        // A name that a stage needs twice is told by the one nearest to the target; so the stage
        // below is read for its variables first, and its arguments are told last.
        let below = self.stage_before(stage.index, &image.text);
        let mut scope = Scope {
            variables: match below {
                Some(below) => Survey::quiet(self).stage(below, globals)?.variables,
                None => Vec::new(),
            },
            args: globals.args.clone(),
        };
        let is_new = self.seen.insert(stage.index);
        let mut beside = Vec::new();
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Arg(arg) => {
                    for declaration in &arg.declarations {
                        let span = instruction.span;
                        self.declare(&mut scope, declaration, span, Some(globals))?;
                        used.insert(declaration.name.value.clone());
                    }
                }
                InstructionKind::Env(pairs) => {
                    let before = scope.variables.clone();
                    for pair in pairs {
                        let name = self.expander.word(pair.key.as_str(), &before)?.text;
                        let value = self.expander.word(pair.value.as_str(), &before)?.text;
                        scope.set(&name, &value);
                    }
                }
                InstructionKind::Run(run) => {
                    let names = run.mounts.iter().filter_map(|mount| mount.from.as_deref());
                    beside.extend(names.filter_map(|name| self.file.stage(name)));
                    self.mounts(run, instruction.span, &scope);
                }
                InstructionKind::Copy(copy) => {
                    let from = copy.from.as_ref().map(|from| from.as_str());
                    beside.extend(from.and_then(|name| self.file.stage(name)));
                }
                _ => {}
            }
        }
        if is_new {
            self.tell(&used, &scope);
            for other in below.into_iter().chain(beside) {
                if !self.seen.contains(&other.index) && other.index < stage.index {
                    self.stage(other, globals)?;
                }
            }
        }
        Ok(scope)
    }

    /// The same survey for a look at variables: nothing that it finds is kept.
    fn quiet(&self) -> Self {
        Self {
            file: self.file,
            given: self.given,
            expander: self.expander,
            outline: Outline::default(),
            told: BTreeSet::new(),
            // Everything was seen: nothing beside a stage is followed.
            seen: (0..self.file.stages.len()).collect(),
        }
    }

    fn stage_before(&self, before: usize, name: &str) -> Option<&'a Stage> {
        let is_called = |stage: &&Stage| {
            stage
                .name()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        self.file.stages[..before].iter().rev().find(is_called)
    }

    /// Folds in an `ARG`. In a stage, one without a value that was declared before the first
    /// `FROM` is that one.
    fn declare(
        &self,
        scope: &mut Scope,
        declaration: &ArgDeclaration,
        span: Span,
        globals: Option<&Scope>,
    ) -> Result<(), ExpandError> {
        let name = declaration.name.as_str();
        let mut uses = BTreeSet::new();
        let value = match (self.given.get(name), &declaration.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => {
                let word = self.expander.word(default.as_str(), &scope.variables)?;
                uses = word.used;
                Some(word.text)
            }
            (None, None) => {
                let inherited = globals.and_then(|globals| globals.get(name));
                if let Some(inherited) = inherited {
                    scope.set(name, inherited);
                    return Ok(());
                }
                None
            }
        };
        if let Some(value) = &value {
            scope.set(name, value);
        }
        // What an argument was made of before is part of what it is made of now.
        if let Some(before) = scope.args.get(name).filter(|_| uses.contains(name)) {
            uses.extend(before.uses.clone());
        }
        let arg = OutlineArg {
            name: name.to_owned(),
            description: declaration.description.clone().unwrap_or_default(),
            value: value.unwrap_or_default(),
            span,
        };
        scope.args.insert(name.to_owned(), Known { arg, uses });
        Ok(())
    }

    /// Notes arguments by their names, with those that their defaults use.
    fn tell(&mut self, used: &BTreeSet<String>, scope: &Scope) {
        let mut open: Vec<&str> = used.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            let Some(known) = scope.args.get(name) else {
                continue;
            };
            if self.told.insert(name.to_owned()) {
                self.outline.args.push(known.arg.clone());
                open.extend(known.uses.iter().map(String::as_str));
            }
        }
    }

    /// Notes the secrets and agents of a `RUN`. A mount that means nothing is told by the build.
    fn mounts(&mut self, run: &Run, span: Span, scope: &Scope) {
        for mount in &run.mounts {
            let mut expand = |text: &str| Ok(self.expander.word(text, &scope.variables)?.text);
            let (list, name, required) = match mount.resolve(&mut expand) {
                Ok(Mount::Secret { id, required, .. }) => (&mut self.outline.secrets, id, required),
                Ok(Mount::Ssh { id, required, .. }) => {
                    let id = id.unwrap_or_else(|| "default".to_owned());
                    (&mut self.outline.agents, id, required)
                }
                _ => continue,
            };
            if !list.iter().any(|known| known.name == name) {
                list.push(OutlineMount {
                    name,
                    required,
                    span,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Source;

    use super::*;

    fn outlined(text: &str, target: &str, given: &[(&str, &str)]) -> (Outline, Source) {
        let source = Source::new("Dockerfile", text);
        let file = crate::parse(&source).unwrap();
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let outline = outline(&file, file.stage(target).unwrap(), &given, &[]).unwrap();
        (outline, source)
    }

    /// `line name=value: description` of each argument.
    fn args(text: &str, target: &str, given: &[(&str, &str)]) -> Vec<String> {
        let (outline, source) = outlined(text, target, given);
        let line = |arg: &OutlineArg| {
            let line = source.position(arg.span.start).line;
            let text = format!("{line} {}={}: {}", arg.name, arg.value, arg.description);
            text.trim_end_matches([':', ' ']).to_owned()
        };
        outline.args.iter().map(line).collect()
    }

    #[test]
    fn arguments_are_those_of_the_stages_that_are_needed() {
        let text = "ARG used=box\nARG unused=x\n# suffix is at the end\nARG suffix=\"usy${used}\"\n\
                    FROM b${suffix} AS first\nARG FOO=1\n# BAR is a number\nARG BAR=2\n\
                    FROM alpine${unused} AS second\nARG BAZ\n\
                    FROM scratch AS third\nARG ABC=a\n\
                    FROM third AS end\nCOPY --from=first /a /\n";
        assert_eq!(
            args(text, "end", &[("BAR", "678")]),
            [
                "1 used=box",
                "4 suffix=usybox: is at the end",
                "6 FOO=1",
                "8 BAR=678: is a number",
                "12 ABC=a",
            ]
        );
        assert_eq!(args(text, "second", &[]), ["2 unused=x", "10 BAZ="]);
    }

    #[test]
    fn an_argument_is_told_once_with_all_that_it_is_made_of() {
        let text = "ARG FOO=1\nARG ABC=a\nARG DEF=d\nARG FOO=${FOO}${ABC}\nARG BAR=${FOO}4\n\
                    ARG FOO=${FOO}5${BAR}\nFROM scratch AS s\nARG FOO\nARG IN=1\nARG IN=${IN}2\n";
        assert_eq!(
            args(text, "s", &[]),
            ["2 ABC=a", "5 BAR=1a4", "6 FOO=1a51a4", "10 IN=12"]
        );
    }

    #[test]
    fn secrets_and_agents_are_told_with_the_first_step_that_wants_them() {
        let text = "FROM x AS first\n\
                    RUN --mount=type=secret,target=/etc/key,required --mount=type=ssh true\n\
                    FROM x AS other\nRUN --mount=type=secret,id=unused true\n\
                    FROM scratch AS third\nARG N\nRUN --mount=type=secret,id=s${N} true\n\
                    FROM third AS end\nCOPY --from=first /a /\n\
                    RUN --mount=type=ssh,id=own,required true\n";
        let (outline, _) = outlined(text, "end", &[("N", "7")]);
        let told = |list: &[OutlineMount]| {
            let one = |mount: &OutlineMount| format!("{} {}", mount.name, mount.required);
            list.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(told(&outline.secrets), ["key true", "s7 false"]);
        assert_eq!(told(&outline.agents), ["default false", "own true"]);
    }
}
