//! A stage while it is being lowered: its filesystem so far, its settings, its variables.

use std::sync::Arc;

use cairn_diagnostic::{Diagnostic, Label, Source, Span};
use cairn_dockerfile::ast::{Instruction, InstructionKind, Stage};
use cairn_oci::{Platform, RunConfig};

use super::dockerfile::FileLowering;
use super::env::EnvList;
use super::{DEFAULT_PATH, HistoryStep, LoweredImage, windows};
use crate::event::VertexId;
use crate::graph::{Fs, Op, Origin, Vertex};
use crate::request::Changes;
use crate::resolve::BaseImage;

/// The system that has neither `/bin/sh` nor the usual `PATH`.
const WINDOWS: &str = "windows";

/// What a stage is at one point of its Dockerfile.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    pub(super) fs: Fs,
    pub(super) platform: Platform,
    pub(super) config: RunConfig,
    pub(super) author: Option<String>,
    pub(super) history: Vec<HistoryStep>,
    /// What expansion and `RUN` see: the image's variables and the arguments declared so far.
    pub(super) env: EnvList,
    /// Declared arguments, in order, for the history.
    pub(super) args: Vec<(String, Option<String>)>,
    /// Whether this stage has set `CMD` itself: `ENTRYPOINT` then leaves it alone.
    pub(super) cmd_set: bool,
    name: String,
    step: u32,
    steps: u32,
}

impl StageState {
    /// `FROM scratch`.
    pub(super) fn scratch(platform: Platform) -> Self {
        Self {
            fs: Fs::Scratch,
            platform,
            config: RunConfig {
                working_dir: "/".to_owned(),
                ..RunConfig::default()
            },
            author: None,
            history: Vec::new(),
            env: EnvList::default(),
            args: Vec::new(),
            cmd_set: false,
            name: String::new(),
            step: 0,
            steps: 0,
        }
    }

    /// `FROM` an external image.
    pub(super) fn from_image(image: &Arc<BaseImage>, fs: Fs) -> Self {
        Self {
            fs,
            config: image.config.clone(),
            author: image.author.clone(),
            history: image
                .history
                .iter()
                .cloned()
                .map(HistoryStep::Inherited)
                .collect(),
            ..Self::scratch(image.platform.clone())
        }
    }

    /// `FROM` another image of the run: its configuration counts, its arguments do not.
    pub(super) fn from_sibling(image: &LoweredImage) -> Self {
        Self {
            fs: image.fs,
            config: image.config.clone(),
            author: image.author.clone(),
            history: image.history.clone(),
            ..Self::scratch(image.platform.clone())
        }
    }

    /// Turns the end of one stage into the start of another. Variables and arguments stay.
    pub(super) fn become_base(&mut self) {
        self.cmd_set = false;
    }

    /// Changes what an image from outside brings along, before anything is done on it.
    pub(super) fn change(&mut self, changes: &Changes) {
        if changes.drop_base_labels {
            self.config.labels.clear();
        }
        if changes.env.is_empty() {
            return;
        }
        let mut env = EnvList::from_config(&self.config.env);
        for (name, value) in &changes.env {
            env.set(name, value);
        }
        self.config.env = env.to_config();
    }

    /// Begins a stage: `PATH` is there on every system that has the usual one, and the image's
    /// variables can be used.
    pub(super) fn enter(&mut self, stage: &Stage, stages: usize) {
        let mut image_env = EnvList::from_config(&self.config.env);
        if image_env.get("PATH").is_none() && !self.is_windows() {
            image_env.set("PATH", DEFAULT_PATH);
            self.config.env = image_env.to_config();
        }
        for (name, value) in image_env.iter() {
            self.env.set(name, value);
        }
        self.name = match (stage.name(), stages) {
            (Some(name), _) => name.to_owned(),
            (None, 1) => String::new(),
            (None, _) => format!("stage-{}", stage.index),
        };
        self.step = 0;
    }

    /// Takes the `ONBUILD` triggers of the base: they run now, once.
    pub(super) fn take_triggers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.config.on_build)
    }

    /// Counts the steps to come, for titles.
    pub(super) fn count_steps<'i>(&mut self, instructions: impl Iterator<Item = &'i Instruction>) {
        let steps = instructions.filter(|instruction| {
            matches!(
                instruction.kind,
                InstructionKind::Run(_)
                    | InstructionKind::Copy(_)
                    | InstructionKind::Add(_)
                    | InstructionKind::Workdir(_)
            )
        });
        self.steps = u32::try_from(steps.count()).unwrap_or(u32::MAX);
    }

    /// Adds an entry to the history that leaves no layer.
    pub(super) fn note(&mut self, created_by: String) {
        self.history.push(HistoryStep::Own {
            created_by,
            vertex: None,
        });
    }

    /// Adds the vertex that an instruction became to the history, and stands on it.
    pub(super) fn advance(&mut self, created_by: String, vertex: VertexId) {
        self.fs = Fs::Of(vertex);
        self.history.push(HistoryStep::Own {
            created_by,
            vertex: Some(vertex),
        });
    }

    /// The directory that relative paths start from.
    pub(super) fn workdir(&self) -> String {
        let told = &self.config.working_dir;
        let plain = match self.is_windows() {
            true => windows::plain(told).unwrap_or_default(),
            false => told.clone(),
        };
        if plain.is_empty() {
            "/".to_owned()
        } else {
            plain
        }
    }

    /// Whether paths and shells are those of Windows.
    pub(super) fn is_windows(&self) -> bool {
        self.platform.os == WINDOWS
    }

    /// The shell that the shell forms run in.
    pub(super) fn shell(&self) -> Vec<String> {
        match &self.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ if self.is_windows() => words(&["cmd", "/S", "/C"]),
            _ => words(&["/bin/sh", "-c"]),
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Reads `ONBUILD` triggers as an image configuration holds them.
pub(super) fn parse_triggers(triggers: &[String]) -> Result<Vec<Instruction>, Box<Diagnostic>> {
    triggers
        .iter()
        .map(|trigger| {
            let source = Source::new("ONBUILD", trigger.as_str());
            cairn_dockerfile::parse_trigger(&source).map_err(|errors| {
                let reason = errors
                    .first()
                    .map_or("not an instruction", |e| e.message.as_str());
                let text = format!("onbuild trigger `{trigger}` of the base: {reason}");
                Box::new(Diagnostic::error(text))
            })
        })
        .collect()
}

/// Where an instruction stands, and what people call it.
pub(super) struct Place<'a> {
    pub(super) instruction: &'a Instruction,
    /// Number of the stage it runs in.
    pub(super) stage: usize,
    /// Its place in the Dockerfile: the `FROM` for a trigger.
    pub(super) span: Span,
}

impl FileLowering<'_, '_> {
    /// Lowers one instruction.
    pub(super) fn instruction(
        &mut self,
        state: &mut StageState,
        stage: usize,
        instruction: &Instruction,
        trigger_of: Option<Span>,
    ) -> Result<(), Box<Diagnostic>> {
        let place = Place {
            instruction,
            stage,
            span: trigger_of.unwrap_or(instruction.span),
        };
        let lowered = match &instruction.kind {
            InstructionKind::Run(run) => self.run(state, &place, run),
            InstructionKind::Copy(copy) => self.copy(state, &place, copy),
            InstructionKind::Add(add) => self.add(state, &place, add),
            InstructionKind::Workdir(path) => self.workdir(state, &place, path),
            _ => self.setting(state, &place),
        };
        lowered.map_err(|mut error| {
            if trigger_of.is_some() {
                // Spans of a trigger point into its own text: show the `FROM` instead.
                error.label = Some(Label {
                    source: self.file.source.clone(),
                    span: place.span,
                });
                error.hints.push(format!(
                    "It comes from the base: ONBUILD {}",
                    instruction.text
                ));
            }
            error
        })
    }

    /// Adds a vertex on top of the stage.
    pub(super) fn push(
        &mut self,
        state: &mut StageState,
        place: &Place<'_>,
        op: Op,
        created_by: String,
    ) {
        state.step += 1;
        let vertex = self.run.graph.add(Vertex {
            op,
            base: state.fs,
            origin: Origin {
                image: self.request.name.clone(),
                stage: state.name.clone(),
                step: (state.step, state.steps.max(state.step)),
                title: title(&place.instruction.text),
                label: Some(Label {
                    source: self.file.source.clone(),
                    span: place.span,
                }),
            },
        });
        state.advance(created_by, vertex);
    }

    /// Expands a word with the stage's variables.
    pub(super) fn expand(
        &self,
        state: &StageState,
        word: &str,
        span: Span,
    ) -> Result<String, Box<Diagnostic>> {
        self.expander
            .word(word, &state.env)
            .map(|word| word.text)
            .map_err(|error| self.error(error.to_string(), span))
    }
}

/// An instruction on one line, at a length that people read.
fn title(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    const LONGEST: usize = 200;
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST).collect::<String>() + "...";
    }
    line
}
