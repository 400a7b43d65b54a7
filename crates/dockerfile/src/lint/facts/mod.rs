//! What the rules look at: stages with their bases, and the variables at each instruction.
//!
//! Variables are folded as BuildKit folds them while it lowers a stage. Those of a stage stand in
//! one [`scope`], and an instruction sees what was set before it.

mod bases;
mod names;
mod scope;
mod stage;
mod words;
mod work;

use std::collections::BTreeMap;

use cairn_diagnostic::Diagnostic;

use super::input::{Input, Reach};
use crate::ast::{Dockerfile, InstructionKind, Run, Stage};
use crate::expand::Expander;
use crate::mount::Mount;
use crate::predefined::platform_args;

pub(super) use bases::Base;
pub(super) use names::Names;
pub(super) use scope::Seen;
pub(super) use stage::{StageFacts, Step};
pub(super) use work::{Found, PlacedScript, Work};

/// A `RUN` in its stage.
#[derive(Clone, Copy)]
pub(super) struct RunStep<'f, 'a> {
    /// The stage.
    pub(super) stage: &'f StageFacts<'a>,
    /// The instruction in it.
    pub(super) step: &'f Step<'a>,
    /// What the instruction says.
    pub(super) run: &'a Run,
    /// What it does.
    pub(super) work: &'f Work,
}

impl RunStep<'_, '_> {
    /// The directories that stay out of the layer: cache and tmpfs mounts.
    pub(super) fn kept_out(&self, facts: &Facts<'_>) -> Vec<String> {
        let variables = self.stage.variables_at(self.step);
        let mounts = self.run.mounts.iter().filter_map(|mount| {
            let mut expand = |text: &str| Ok(facts.expander.word(text, &variables)?.text);
            mount.resolve(&mut expand).ok()
        });
        mounts
            .filter_map(|mount| match mount {
                Mount::Cache { target, .. } | Mount::Tmpfs { target, .. } => Some(target),
                _ => None,
            })
            .collect()
    }
}

/// Variables in the order they were set; the last of a name counts.
pub(super) type Variables = Vec<(String, String)>;

/// A Dockerfile with everything that follows from it and from the input.
pub(super) struct Facts<'a> {
    /// The file.
    pub(super) file: &'a Dockerfile,
    /// What was given with it.
    pub(super) input: &'a Input<'a>,
    /// How its words are expanded.
    pub(super) expander: Expander,
    /// The names of its stages.
    pub(super) names: Names<'a>,
    /// The variables that `FROM` sees.
    pub(super) globals: Variables,
    /// The same if no build argument were given.
    pub(super) default_globals: Variables,
    /// Its stages, in order.
    pub(super) stages: Vec<StageFacts<'a>>,
}

impl<'a> Facts<'a> {
    /// Works the facts out. Fails if the target does not exist.
    pub(super) fn new(file: &'a Dockerfile, input: &'a Input<'a>) -> Result<Self, Box<Diagnostic>> {
        let expander = Expander::new(file.directives.escape);
        let none = BTreeMap::new();
        let mut facts = Self {
            file,
            input,
            expander,
            names: Names::of(file),
            globals: globals(file, input, input.args, &expander),
            default_globals: globals(file, input, &none, &expander),
            stages: Vec::new(),
        };
        let reached = reached(file, input.reach, &facts)?;
        for (stage, is_reached) in file.stages.iter().zip(reached) {
            let stage = StageFacts::new(stage, is_reached, &facts);
            facts.stages.push(stage);
        }
        facts.note_shipped();
        Ok(facts)
    }

    /// Marks the stages whose files end up in an image: those that no other stage needs, or the
    /// target, with all that is below them.
    fn note_shipped(&mut self) {
        let last = match self.input.reach {
            Reach::Target(Some(name)) => self.names.from(name),
            Reach::Target(None) => self.stages.len().checked_sub(1),
            Reach::AllStages => None,
        };
        let mut is_needed = vec![false; self.stages.len()];
        for stage in &self.file.stages {
            for index in needs(stage, self) {
                is_needed[index] |= index != stage.index;
            }
        }
        for (start, is_needed) in is_needed.into_iter().enumerate() {
            if last.map_or(!is_needed, |last| last == start) {
                let mut at = Some(start);
                while let Some(index) = at {
                    let is_again = std::mem::replace(&mut self.stages[index].is_shipped, true);
                    at = match self.stages[index].base {
                        Some(Base::Stage(below)) if !is_again => Some(below),
                        _ => None,
                    };
                }
            }
        }
    }

    /// The image from outside that a stage stands on, through the stages between.
    pub(super) fn root<'f>(&'f self, stage: &'f StageFacts<'a>) -> Option<&'f str> {
        match &self.bottom(stage).base {
            Some(Base::Image(name)) => Some(name),
            _ => None,
        }
    }

    /// The lowest of the stages that a stage stands on, or itself.
    pub(super) fn bottom<'f>(&'f self, stage: &StageFacts<'a>) -> &'f StageFacts<'a> {
        &self.stages[stage.bottom]
    }

    /// Whether something holds for a stage or for one below it, for each stage; `own` tells it of a
    /// stage by itself.
    pub(super) fn in_or_below(&self, own: impl Fn(&StageFacts<'a>) -> bool) -> Vec<bool> {
        let mut holds = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let is_below = match stage.base {
                Some(Base::Stage(below)) => holds[below],
                _ => false,
            };
            holds.push(is_below || own(stage));
        }
        holds
    }

    /// The instructions before an instruction in its stage and in those below, nearest stage
    /// last.
    pub(super) fn history(&self, stage: &StageFacts<'a>) -> Vec<(&StageFacts<'a>, &Step<'a>)> {
        let mut chain = vec![stage.stage.index];
        while let Some(Base::Stage(below)) = self.stages[chain[chain.len() - 1]].base {
            chain.push(below);
        }
        let chain = chain.into_iter().rev().map(|index| &self.stages[index]);
        chain
            .flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)))
            .collect()
    }

    /// The `RUN`s that stand in checked stages themselves, with what they do.
    pub(super) fn runs(&self) -> impl Iterator<Item = RunStep<'_, 'a>> {
        self.reached().flat_map(move |stage| self.runs_of(stage))
    }

    /// The `RUN`s of one stage.
    pub(super) fn runs_of<'f>(
        &'f self,
        stage: &'f StageFacts<'a>,
    ) -> impl Iterator<Item = RunStep<'f, 'a>> {
        stage
            .steps
            .iter()
            .filter_map(move |step| match &step.instruction.kind {
                InstructionKind::Run(run) if !step.is_trigger => Some(RunStep {
                    stage,
                    step,
                    run,
                    work: step.work(run, self),
                }),
                _ => None,
            })
    }

    /// The stages that are checked instruction by instruction.
    pub(super) fn reached(&self) -> impl Iterator<Item = &StageFacts<'a>> {
        self.stages.iter().filter(|stage| stage.is_reached)
    }

    /// The instructions of all those stages.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&StageFacts<'a>, &Step<'a>)> {
        self.reached()
            .flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)))
    }
}

/// The predefined arguments and the `ARG`s before the first `FROM`.
fn globals(
    file: &Dockerfile,
    input: &Input<'_>,
    args: &BTreeMap<String, String>,
    expander: &Expander,
) -> Variables {
    let target = match input.reach {
        Reach::Target(Some(name)) => Some(name),
        _ => file.stages.last().and_then(Stage::name),
    };
    let mut globals: Variables =
        platform_args(&input.build_platform, &input.target_platform, target)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
    for (name, value) in &mut globals {
        if let Some(given) = args.get(name) {
            value.clone_from(given);
        }
    }
    for declaration in file
        .global_args
        .iter()
        .flat_map(|arg| &arg.kind.declarations)
    {
        let name = declaration.name.as_str();
        let value = match (args.get(name), &declaration.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => expander
                .word(default.as_str(), &globals.as_slice())
                .ok()
                .map(|word| word.text),
            (None, None) => None,
        };
        if let Some(value) = value {
            globals.push((name.to_owned(), value));
        }
    }
    globals
}

/// Which stages are to be checked.
fn reached(
    file: &Dockerfile,
    reach: Reach<'_>,
    facts: &Facts<'_>,
) -> Result<Vec<bool>, Box<Diagnostic>> {
    let Reach::Target(target) = reach else {
        return Ok(vec![true; file.stages.len()]);
    };
    let first = match target {
        Some(name) => file.stage(name).ok_or_else(|| {
            let text = format!("target stage {name:?} could not be found");
            let names: Vec<_> = file.stages.iter().filter_map(Stage::name).collect();
            let error = Diagnostic::error(text);
            Box::new(match names.is_empty() {
                true => error,
                false => error.hint(format!(
                    "Stages of {}: {}.",
                    file.source.name,
                    names.join(", ")
                )),
            })
        })?,
        None => match file.stages.last() {
            Some(last) => last,
            None => return Ok(Vec::new()),
        },
    };
    let mut reached = vec![false; file.stages.len()];
    let mut open = vec![first.index];
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            open.extend(needs(&file.stages[index], facts));
        }
    }
    Ok(reached)
}

/// The stages that a stage starts from, copies from or mounts.
fn needs(stage: &Stage, facts: &Facts<'_>) -> Vec<usize> {
    let mut needed: Vec<usize> = Vec::new();
    let image = stage.from.kind.image.as_str();
    if let Ok(image) = facts.expander.word(image, &facts.globals.as_slice()) {
        needed.extend(facts.names.before(stage.index, &image.text));
    }
    for step in &stage.instructions {
        match &step.kind {
            InstructionKind::Copy(copy) => {
                needed.extend(
                    copy.from
                        .as_ref()
                        .and_then(|from| facts.names.from(from.as_str())),
                );
            }
            InstructionKind::Run(run) => {
                let names = run.mounts.iter().filter_map(|mount| mount.from.as_deref());
                needed.extend(names.filter_map(|name| facts.names.from(name)));
            }
            _ => {}
        }
    }
    needed
}
