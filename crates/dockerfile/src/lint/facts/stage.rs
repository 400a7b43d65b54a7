//! One stage: its base, its instructions with what they see, and the triggers it inherits.

use std::cell::OnceCell;
use std::rc::Rc;

use cairn_diagnostic::Span;

use super::bases::DEFAULT_PATH;
use super::scope::{Moment, Scope, Seen};
use super::words;
use super::work::Work;
use super::{Base, Facts};
use crate::ast::{ArgDeclaration, Instruction, InstructionKind, Run, Stage, Word};
use crate::expand::{Expanded, Expander};
use crate::lint::reference;

/// A stage and what follows from it.
pub(crate) struct StageFacts<'a> {
    /// The stage.
    pub(crate) stage: &'a Stage,
    /// Whether its instructions are checked.
    pub(crate) is_reached: bool,
    /// Whether its files end up in an image, rather than being copied from only.
    pub(crate) is_shipped: bool,
    /// What it starts from; `None` if the name cannot be known.
    pub(crate) base: Option<Base>,
    /// The name in `FROM` with its variables expanded.
    pub(crate) image: Option<Expanded>,
    /// `--platform=` with its variables expanded.
    pub(crate) platform: Option<Expanded>,
    /// Its instructions, triggers of its base first.
    pub(crate) steps: Vec<Step<'a>>,
    /// Whether all variables of its base are known: there is no image from outside below it, or
    /// its config is known, or it is one that sets nothing but `PATH`.
    pub(crate) has_known_variables: bool,
    /// The lowest stage of those it stands on; itself if it stands on none.
    pub(crate) bottom: usize,
    /// Whether its steps are those of Windows.
    pub(crate) is_windows: bool,
    scope: Rc<Scope>,
    triggers: Vec<&'a Instruction>,
    /// Whether a shell was set, at the start and at the end.
    shell: (bool, bool),
    last_shell: Option<&'a [Word]>,
    /// Whether a working directory was set by this file, at the start and at the end.
    workdir: (bool, bool),
}

/// An instruction in a stage.
pub(crate) struct Step<'a> {
    /// The instruction.
    pub(crate) instruction: &'a Instruction,
    /// Its place; for a trigger, that of the `FROM` which sets it off.
    pub(crate) span: Span,
    /// Whether a base set it off, and it stands elsewhere.
    pub(crate) is_trigger: bool,
    /// The last `SHELL` before it.
    shell: Option<&'a [Word]>,
    work: OnceCell<Work>,
    /// The directory it works in, where a rule asked: all before it has to be read for that.
    workdir: OnceCell<String>,
    /// When it is.
    moment: Moment,
}

impl Step<'_> {
    /// The last `SHELL` before it.
    pub(crate) fn last_shell(&self) -> Option<&[Word]> {
        self.shell
    }

    /// The directory it works in, as `find` tells it the first time.
    pub(crate) fn workdir_by(&self, find: impl FnOnce() -> String) -> &str {
        self.workdir.get_or_init(find)
    }

    /// What the step does, if it is this `RUN`.
    pub(crate) fn work(&self, run: &Run, facts: &Facts<'_>) -> &Work {
        self.work.get_or_init(|| {
            let escape = facts.file.directives.escape;
            Work::read(
                run,
                self.instruction,
                self.shell,
                &facts.file.source,
                escape,
            )
        })
    }
}

impl<'a> StageFacts<'a> {
    pub(super) fn new(stage: &'a Stage, is_reached: bool, facts: &Facts<'a>) -> Self {
        let globals = facts.globals.as_slice();
        let expand = |text: &str| facts.expander.word(text, &globals).ok();
        let clause = &stage.from.kind;
        let image = expand(clause.image.as_str());
        let base = image.as_ref().and_then(|name| base(name, stage, facts));
        let below = match &base {
            Some(Base::Stage(index)) => Some(Rc::clone(&facts.stages[*index].scope)),
            _ => None,
        };
        let mut scope = Scope::over(below);
        let mut new = Self {
            stage,
            is_reached,
            is_shipped: false,
            platform: clause
                .platform
                .as_ref()
                .and_then(|word| expand(word.as_str())),
            image,
            steps: Vec::new(),
            has_known_variables: false,
            bottom: stage.index,
            is_windows: false,
            scope: Rc::default(),
            triggers: Vec::new(),
            shell: (false, false),
            last_shell: None,
            workdir: (false, false),
            base,
        };
        new.is_windows = new.is_of_windows(facts);
        let triggers = new.inherit(&mut scope, facts);
        for instruction in triggers {
            new.step(instruction, Some(stage.from.span), &mut scope, facts);
        }
        for instruction in &stage.instructions {
            new.step(instruction, None, &mut scope, facts);
        }
        new.scope = Rc::new(scope);
        new
    }

    /// The variables that an instruction sees.
    pub(crate) fn variables_at(&self, step: &Step<'_>) -> Seen<'_> {
        self.scope.at(step.moment)
    }

    /// The value that a variable has once an instruction of this stage is done.
    pub(crate) fn value_after(&self, step: &Step<'_>, name: &str) -> Option<&str> {
        let next = self
            .steps
            .partition_point(|other| other.moment <= step.moment);
        let end = self.steps.get(next).map(|later| later.moment);
        self.scope
            .at(end.unwrap_or_else(|| self.scope.now()))
            .value(name)
    }

    /// Whether an argument of this name was declared, with a value or without.
    pub(crate) fn declares(&self, step: &Step<'_>, name: &str) -> bool {
        self.variables_at(step).declares(name)
    }

    /// Whether a shell is set where the stage starts.
    pub(crate) fn starts_with_shell(&self) -> bool {
        self.shell.0
    }

    /// Whether this file has set a working directory before the stage starts.
    pub(crate) fn starts_with_workdir(&self) -> bool {
        self.workdir.0
    }

    /// The words of an instruction that BuildKit expands.
    pub(crate) fn words(&self, step: &Step<'_>, expander: &Expander) -> Vec<Expanded> {
        words::expanded(step.instruction, &self.variables_at(step), expander)
    }

    /// By its own platform, by that of what it starts from, or by the one that is built for.
    fn is_of_windows(&self, facts: &Facts<'a>) -> bool {
        match (&self.platform, &self.base) {
            (Some(platform), _) => is_windows(&platform.text),
            (None, Some(Base::Stage(index))) => facts.stages[*index].is_windows,
            (None, _) => is_windows(facts.input.target_platform.os),
        }
    }

    /// Takes over what the base leaves behind; gives the triggers that go off.
    fn inherit(&mut self, scope: &mut Scope, facts: &Facts<'a>) -> Vec<&'a Instruction> {
        let mut triggers = Vec::new();
        match &self.base {
            Some(Base::Stage(index)) => {
                let below = &facts.stages[*index];
                self.bottom = below.bottom;
                self.shell = (below.shell.1, below.shell.1);
                self.last_shell = below.last_shell;
                self.workdir = (below.workdir.1, below.workdir.1);
                self.has_known_variables = below.has_known_variables;
                triggers.clone_from(&below.triggers);
                // `PATH` is set at the bottom.
                return triggers;
            }
            Some(Base::Image(name)) => match facts.input.bases.get(name) {
                Some(known) => {
                    for (name, value) in &known.env {
                        scope.set(name.clone(), value.clone());
                    }
                    self.shell = (known.has_shell, known.has_shell);
                    self.has_known_variables = true;
                }
                None => self.has_known_variables = sets_path_only(name),
            },
            Some(Base::Scratch) => self.has_known_variables = true,
            None => {}
        }
        if scope.all().value("PATH").is_none() {
            scope.set("PATH".to_owned(), DEFAULT_PATH.to_owned());
        }
        triggers
    }

    fn step(
        &mut self,
        instruction: &'a Instruction,
        trigger: Option<Span>,
        scope: &mut Scope,
        facts: &Facts<'a>,
    ) {
        let step = Step {
            instruction,
            span: trigger.unwrap_or(instruction.span),
            is_trigger: trigger.is_some(),
            shell: self.last_shell,
            work: OnceCell::new(),
            workdir: OnceCell::new(),
            moment: scope.now(),
        };
        match &instruction.kind {
            InstructionKind::Env(_) => {
                let words = words::expanded(instruction, &scope.all(), &facts.expander);
                for pair in words.chunks_exact(2) {
                    let (name, value) = (pair[0].text.clone(), pair[1].text.clone());
                    scope.set(name, value);
                }
            }
            InstructionKind::Arg(arg) => {
                arg.declarations
                    .iter()
                    .for_each(|declaration| declare(declaration, scope, facts));
            }
            InstructionKind::Shell(words) => {
                self.shell.1 = true;
                self.last_shell = Some(words);
            }
            InstructionKind::Workdir(_) => self.workdir.1 = true,
            InstructionKind::OnBuild(trigger) => self.triggers.push(&trigger.instruction),
            _ => {}
        }
        self.steps.push(step);
    }
}

fn declare(declaration: &ArgDeclaration, scope: &mut Scope, facts: &Facts<'_>) {
    let name = declaration.name.as_str();
    let global = || {
        let mut globals = facts.globals.iter().rev();
        globals.find(|(known, _)| known == name)
    };
    let value = match (facts.input.args.get(name), &declaration.default) {
        (Some(given), _) => Some(given.clone()),
        (None, Some(default)) => {
            let expanded = facts.expander.word(default.as_str(), &scope.all());
            expanded.ok().map(|word| word.text)
        }
        (None, None) => global().map(|(_, value)| value.clone()),
    };
    if let Some(value) = value {
        scope.set(name.to_owned(), value);
    }
    scope.declare(name);
}

fn base(name: &Expanded, stage: &Stage, facts: &Facts<'_>) -> Option<Base> {
    let text = name.text.as_str();
    if let Some(index) = facts.names.before(stage.index, text) {
        return Some(Base::Stage(index));
    }
    match text {
        "" => None,
        "scratch" => Some(Base::Scratch),
        // A part of the name is missing: it comes from an argument that only a build gives.
        _ if !name.unmatched.is_empty() => None,
        name => Some(Base::Image(name.to_owned())),
    }
}

/// Whether a platform, or the name of a system, is Windows': `windows(10.0.1)/amd64`.
fn is_windows(platform: &str) -> bool {
    platform.split(['/', '(']).next() == Some("windows")
}

/// Distributions whose images set no variable but `PATH`.
const BARE: [&str; 10] = [
    "almalinux",
    "alpine",
    "amazonlinux",
    "archlinux",
    "busybox",
    "centos",
    "debian",
    "opensuse/leap",
    "rockylinux",
    "ubuntu",
];

fn sets_path_only(image: &str) -> bool {
    let (name, ..) = reference::parts(image);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let last = name.rsplit_once("library/").map_or(name, |(_, last)| last);
    BARE.contains(&last)
}
