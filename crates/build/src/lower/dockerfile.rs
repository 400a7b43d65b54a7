//! One Dockerfile: its target, the stages that needs, and what names in it mean.

use std::iter::successors;
use std::sync::Arc;

use cairn_diagnostic::{Diagnostic, Span};
use cairn_dockerfile::ast::{Dockerfile, Stage};
use cairn_dockerfile::expand::Expander;
use cairn_dockerfile::suggest::{self, nearest, nearest_variable};
use cairn_oci::Platform;

use super::env::EnvList;
use super::stage::StageState;
use super::{HistoryStep, LoweredImage, Run, args};
use crate::graph::{ContextId, FileSource, Fs, Op, Origin, Vertex};
use crate::request::{DockerfileRecipe, ImageRequest, Named};
use crate::resolve::{BaseImage, ResolveError};

/// Lowers the target of a Dockerfile and the stages it needs.
pub(super) fn lower(
    run: &mut Run<'_>,
    request: &ImageRequest,
    recipe: &DockerfileRecipe,
) -> Result<LoweredImage, Box<Diagnostic>> {
    let file = recipe.dockerfile.clone();
    let target = find_target(&file, recipe.target.as_deref())?;
    let stage_name = match &recipe.target {
        Some(name) => name.as_str(),
        None => target.name().unwrap_or(""),
    };
    let expander = Expander::new(file.directives.escape);
    let mut globals = args::predefined(
        &recipe.build_platform,
        &request.platform,
        stage_name,
        &recipe.args,
    );
    args::add_global(
        &mut globals,
        &file.global_args,
        &recipe.args,
        &expander,
        &file.source,
    )?;
    let given = args::epoch(&recipe.args, &globals)?;

    let target_index = target.index;
    let mut lowering = FileLowering {
        run,
        request,
        recipe,
        stages: vec![StageSlot::Untouched; file.stages.len()],
        file: file.clone(),
        globals,
        expander,
    };
    let state = lowering.stage(target_index)?;
    let scan = lowering.scan(&state, target_index)?;
    Ok(LoweredImage {
        name: request.name.clone(),
        fs: state.fs,
        platform: state.platform,
        config: state.config,
        author: state.author,
        history: state.history,
        annotations: std::collections::BTreeMap::new(),
        squash: false,
        epoch: given.unwrap_or(request.epoch),
        epoch_is_given: given.is_some() || request.epoch_is_given,
        scan,
    })
}

pub(super) fn find_target<'a>(
    file: &'a Dockerfile,
    wanted: Option<&str>,
) -> Result<&'a Stage, Box<Diagnostic>> {
    let Some(wanted) = wanted else {
        return file.stages.last().ok_or_else(|| {
            Box::new(
                Diagnostic::error("dockerfile contains no stages to build")
                    .at(&file.source, Span::new(0, 0))
                    .hint("Start with `FROM image` or `FROM scratch`."),
            )
        });
    };
    file.stage(wanted).ok_or_else(|| {
        let names: Vec<_> = file.stages.iter().filter_map(Stage::name).collect();
        let near = suggest::in_words(nearest(wanted, names.iter().copied()));
        let text = format!("target stage \"{wanted}\" could not be found{near}");
        let mut error = Diagnostic::error(text);
        if !names.is_empty() {
            error = error.hint(format!(
                "Stages of {}: {}.",
                file.source.name,
                names.join(", ")
            ));
        }
        Box::new(error)
    })
}

/// How far a stage has been lowered.
#[derive(Debug, Clone)]
enum StageSlot {
    Untouched,
    /// Being lowered further up the call stack: needing it again is a cycle.
    Open,
    Done(Arc<StageState>),
}

/// Lowering of one Dockerfile.
pub(super) struct FileLowering<'a, 'run> {
    pub(super) run: &'a mut Run<'run>,
    pub(super) request: &'a ImageRequest,
    pub(super) recipe: &'a DockerfileRecipe,
    pub(super) file: Arc<Dockerfile>,
    pub(super) globals: EnvList,
    pub(super) expander: Expander,
    stages: Vec<StageSlot>,
}

impl FileLowering<'_, '_> {
    /// Gives a stage's state, lowering it first if nobody has, and before it what it stands on:
    /// from the lowest up, since a chain of stages may be longer than the call stack.
    fn stage(&mut self, index: usize) -> Result<StageState, Box<Diagnostic>> {
        let untouched_below = |above: &usize| {
            let below = self.stage_below(*above)?;
            matches!(self.stages[below], StageSlot::Untouched).then_some(below)
        };
        let below: Vec<usize> = match self.stages[index] {
            StageSlot::Untouched => successors(untouched_below(&index), untouched_below).collect(),
            _ => Vec::new(),
        };
        for below in below.into_iter().rev() {
            self.next_stage(below)?;
        }
        self.next_stage(index)
    }

    /// The stage that a stage's `FROM` names. What is wrong with the `FROM` is told when the stage
    /// itself is lowered.
    fn stage_below(&self, index: usize) -> Option<usize> {
        let stage = &self.file.stages[index];
        let clause = &stage.from.kind;
        if self.replaced(stage).is_some() {
            return None;
        }
        if let Some(word) = &clause.platform {
            self.platform(word.as_str(), word.span).ok()?;
        }
        let image = &clause.image;
        let name = self.expand_global(image.as_str(), image.span).ok()?;
        self.earlier_stage(index, &name)
    }

    fn next_stage(&mut self, index: usize) -> Result<StageState, Box<Diagnostic>> {
        match &self.stages[index] {
            StageSlot::Done(state) => return Ok(StageState::clone(state)),
            StageSlot::Open => {
                let from = &self.file.stages[index].from;
                return Err(self.error("circular dependency between stages", from.span));
            }
            StageSlot::Untouched => {}
        }
        self.stages[index] = StageSlot::Open;
        let state = self.lower_stage(index)?;
        self.stages[index] = StageSlot::Done(Arc::new(state.clone()));
        Ok(state)
    }

    fn lower_stage(&mut self, index: usize) -> Result<StageState, Box<Diagnostic>> {
        let file = self.file.clone();
        let stage = &file.stages[index];
        if let Some(name) = self.replaced(stage) {
            let mut state = self.image_state(&name, self.request.platform.clone(), stage)?;
            state.change(&self.request.changes);
            state.enter(stage, file.stages.len());
            return Ok(state);
        }
        let mut state = self.base_of(stage)?;
        state.enter(stage, file.stages.len());
        let triggers = state.take_triggers();
        let triggered = super::stage::parse_triggers(&triggers)
            .map_err(|error| Box::new((*error).at(&file.source, stage.from.span)))?;
        state.count_steps(triggered.iter().chain(&stage.instructions));
        for instruction in &triggered {
            // A trigger's own text is elsewhere: point at the `FROM` that pulled it.
            self.instruction(&mut state, index, instruction, Some(stage.from.span))?;
        }
        for instruction in &stage.instructions {
            self.instruction(&mut state, index, instruction, None)?;
        }
        Ok(state)
    }

    /// The state that a stage starts from: what its `FROM` names.
    fn base_of(&mut self, stage: &Stage) -> Result<StageState, Box<Diagnostic>> {
        let clause = &stage.from.kind;
        let name = self.expand_global(clause.image.as_str(), clause.image.span)?;
        if name.is_empty() {
            let text = format!("base name ({}) should not be blank", clause.image.value);
            let finding = self.error(text, clause.image.span);
            return Err(Box::new(finding.hint(
                "Give the argument a value with `--build-arg NAME=IMAGE`, or a default before the \
                 first `FROM`: `ARG NAME=IMAGE`.",
            )));
        }
        let platform = match &clause.platform {
            Some(word) => Some(self.platform(word.as_str(), word.span)?),
            None => None,
        };
        if let Some(earlier) = self.earlier_stage(stage.index, &name) {
            let mut state = self.stage(earlier)?;
            state.become_base();
            return Ok(state);
        }
        let platform = platform.unwrap_or_else(|| self.request.platform.clone());
        let mut state = match name.as_str() {
            "scratch" => StageState::scratch(platform),
            _ => self.image_state(&name, platform, stage)?,
        };
        state.change(&self.request.changes);
        Ok(state)
    }

    /// The state that a name from outside stands for.
    fn image_state(
        &mut self,
        name: &str,
        platform: Platform,
        stage: &Stage,
    ) -> Result<StageState, Box<Diagnostic>> {
        let clause = &stage.from.kind;
        match self.recipe.named(name).cloned() {
            Some(Named::Sibling(sibling)) => self.sibling(&sibling, &platform, clause.image.span),
            Some(Named::Files(context)) => Ok(self.files_as_base(context, platform, stage)),
            Some(Named::Opened(image)) => Ok(self.image_as_base(&image, stage)),
            Some(Named::Stage(other)) => {
                let mut state = self.stage(self.given_stage(&other, clause.image.span)?)?;
                state.become_base();
                Ok(state)
            }
            Some(Named::Image(other)) if other == "scratch" => Ok(StageState::scratch(platform)),
            Some(Named::Image(other)) => {
                let image = self.open_image(&other, &platform, clause.image.span)?;
                Ok(self.image_as_base(&image, stage))
            }
            None => {
                let image = self.open_image(name, &platform, clause.image.span)?;
                Ok(self.image_as_base(&image, stage))
            }
        }
    }

    /// The name of a stage that a named context replaces: nothing of such a stage is run, its
    /// `FROM` is not looked at, and whoever names it gets the context.
    fn replaced(&self, stage: &Stage) -> Option<String> {
        let name = stage.name().filter(|name| self.recipe.replaces(name))?;
        Some(name.to_owned())
    }

    fn earlier_stage(&self, before: usize, name: &str) -> Option<usize> {
        self.file.stages[..before]
            .iter()
            .rev()
            .find(|stage| {
                stage
                    .name()
                    .is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .map(|stage| stage.index)
    }

    /// What `COPY --from` and `from=` name: a stage, its number, a named context or an image.
    pub(super) fn file_source(
        &mut self,
        name: &str,
        user: usize,
        span: Span,
    ) -> Result<FileSource, Box<Diagnostic>> {
        if let Some(stage) = self.stage_by_name_or_number(name, span)? {
            if stage >= user {
                let own = self.file.stages[user]
                    .name()
                    .unwrap_or("this stage")
                    .to_owned();
                return Err(self.error(
                    format!(
                        "cannot copy from stage \"{name}\", it needs to be defined before current stage \"{own}\""
                    ),
                    span,
                ));
            }
            if let Some(replaced) = self.replaced(&self.file.stages[stage]) {
                return self.outside(&replaced, span);
            }
            return Ok(FileSource::Fs(self.stage(stage)?.fs));
        }
        self.outside(name, span)
    }

    /// The files of what a name from outside stands for.
    fn outside(&mut self, name: &str, span: Span) -> Result<FileSource, Box<Diagnostic>> {
        if name == "scratch" {
            return Ok(FileSource::Fs(Fs::Scratch));
        }
        let platform = self.request.platform.clone();
        match self.recipe.named(name).cloned() {
            Some(Named::Files(context)) => Ok(FileSource::Context(context)),
            Some(Named::Sibling(sibling)) => {
                Ok(FileSource::Fs(self.sibling(&sibling, &platform, span)?.fs))
            }
            Some(Named::Opened(image)) => Ok(FileSource::Fs(self.image_vertex(&image, name, None))),
            Some(Named::Stage(other)) => {
                let index = self.given_stage(&other, span)?;
                Ok(FileSource::Fs(self.stage(index)?.fs))
            }
            Some(Named::Image(other)) if other == "scratch" => Ok(FileSource::Fs(Fs::Scratch)),
            Some(Named::Image(other)) => {
                let image = self.open_image(&other, &platform, span)?;
                Ok(FileSource::Fs(self.image_vertex(&image, &other, None)))
            }
            None => {
                let image = self.open_image(name, &platform, span)?;
                Ok(FileSource::Fs(self.image_vertex(&image, name, None)))
            }
        }
    }

    /// The stage that a named context stands for.
    fn given_stage(&self, name: &str, span: Span) -> Result<usize, Box<Diagnostic>> {
        match find_target(&self.file, Some(name)) {
            Ok(stage) => Ok(stage.index),
            Err(error) => Err(Box::new(error.at(&self.file.source, span))),
        }
    }

    fn stage_by_name_or_number(
        &self,
        name: &str,
        span: Span,
    ) -> Result<Option<usize>, Box<Diagnostic>> {
        if let Ok(number) = name.parse::<usize>() {
            if number >= self.file.stages.len() {
                return Err(self.error(format!("invalid stage index {number}"), span));
            }
            return Ok(Some(number));
        }
        Ok(self
            .file
            .stages
            .iter()
            .rev()
            .find(|stage| {
                stage
                    .name()
                    .is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .map(|stage| stage.index))
    }

    fn sibling(
        &self,
        name: &str,
        platform: &Platform,
        span: Span,
    ) -> Result<StageState, Box<Diagnostic>> {
        let key = (name.to_owned(), platform.clone());
        match self.run.done.get(&key) {
            Some(image) => Ok(StageState::from_sibling(image)),
            None => Err(self.error(
                format!("image `{name}` of this stack cannot be built for {platform}"),
                span,
            )),
        }
    }

    /// The stages that the target needs, as they end, without the target.
    pub(super) fn stages_below(&self, target: usize) -> Vec<(usize, Arc<StageState>)> {
        let stages = self.stages.iter().enumerate();
        let done = stages.filter_map(|(index, slot)| match slot {
            StageSlot::Done(state) if index != target => Some((index, state.clone())),
            _ => None,
        });
        done.collect()
    }

    fn open_image(
        &self,
        reference: &str,
        platform: &Platform,
        span: Span,
    ) -> Result<Arc<BaseImage>, Box<Diagnostic>> {
        self.run.images.open(reference, platform).map_err(|error| {
            let finding = Diagnostic::error(error.to_string()).at(&self.file.source, span);
            Box::new(match error {
                ResolveError::Unknown { near, .. } | ResolveError::Offline { near, .. } => {
                    unknown_image(finding, reference, &near, &self.file)
                }
                ResolveError::Pull { near, source, .. } => {
                    let hints = source.hints().into_iter();
                    let finding = hints.fold(finding, Diagnostic::hint);
                    unknown_image(finding, reference, &near, &self.file)
                }
                ResolveError::Untrusted { advice, .. } => finding.hint(advice),
                _ => finding,
            })
        })
    }

    fn image_as_base(&mut self, image: &Arc<BaseImage>, stage: &Stage) -> StageState {
        let fs = self.image_vertex(image, &image.name, Some(stage));
        StageState::from_image(image, fs)
    }

    pub(super) fn image_vertex(
        &mut self,
        image: &Arc<BaseImage>,
        name: &str,
        stage: Option<&Stage>,
    ) -> Fs {
        if image.layers.is_empty() {
            return Fs::Scratch;
        }
        let label = stage.map(|stage| cairn_diagnostic::Label {
            source: self.file.source.clone(),
            span: stage.from.span,
        });
        Fs::Of(self.run.graph.add(Vertex {
            op: Op::Image(image.clone()),
            base: Fs::Scratch,
            origin: Origin {
                image: self.request.name.clone(),
                stage: stage.and_then(Stage::name).unwrap_or("").to_owned(),
                step: (1, 1),
                title: format!("FROM {name}"),
                label,
            },
        }))
    }

    /// A directory as a base: all its files on nothing.
    fn files_as_base(
        &mut self,
        context: ContextId,
        platform: Platform,
        stage: &Stage,
    ) -> StageState {
        let mut state = StageState::scratch(platform);
        let copy = crate::graph::CopyOp::everything(context);
        let vertex = self.run.graph.add(Vertex {
            op: Op::Copy(Box::new(copy)),
            base: Fs::Scratch,
            origin: Origin {
                image: self.request.name.clone(),
                stage: stage.name().unwrap_or("").to_owned(),
                step: (1, 1),
                title: stage.from.text.clone(),
                label: Some(cairn_diagnostic::Label {
                    source: self.file.source.clone(),
                    span: stage.from.span,
                }),
            },
        });
        state.fs = Fs::Of(vertex);
        state.history.push(HistoryStep::Own {
            created_by: format!("FROM {} # buildkit", stage.from.kind.image.value),
            vertex: Some(vertex),
        });
        state
    }

    fn platform(&self, word: &str, span: Span) -> Result<Platform, Box<Diagnostic>> {
        let expanded = self
            .expander
            .word(word, &self.globals)
            .map_err(|error| self.error(error.to_string(), span))?;
        let near = expanded.unmatched.iter().find_map(|name| {
            let names = self.globals.iter().map(|(name, _)| name);
            nearest_variable(name, names)
        });
        let near = suggest::in_words(near);
        let text = expanded.text;
        if text.is_empty() {
            let text = format!("empty platform value from expression {word}{near}");
            return Err(self.error(text, span));
        }
        text.parse().map_err(|error: cairn_oci::PlatformError| {
            let text = match text.split('/').any(str::is_empty) {
                true => format!(
                    "failed to parse platform {word}: \"\" is an invalid component of {text:?}: \
                     platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid \
                     argument{near}"
                ),
                false => format!("failed to parse platform {text}: {error}{near}"),
            };
            self.error(text, span)
        })
    }

    fn expand_global(&self, word: &str, span: Span) -> Result<String, Box<Diagnostic>> {
        self.expander
            .word(word, &self.globals)
            .map(|word| word.text)
            .map_err(|error| self.error(error.to_string(), span))
    }

    pub(super) fn error(&self, message: impl Into<String>, span: Span) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(message).at(&self.file.source, span))
    }
}

fn unknown_image(
    finding: Diagnostic,
    wanted: &str,
    near: &[String],
    file: &Dockerfile,
) -> Diagnostic {
    let mut finding = finding;
    let stages: Vec<_> = file.stages.iter().filter_map(Stage::name).collect();
    if let Some(stage) = nearest(wanted, stages.iter().copied()) {
        // Likelier than anything that the network has to do with it.
        let hint = format!("Did you mean the stage `{stage}`?");
        finding.hints.insert(0, hint);
        return finding;
    }
    if !near.is_empty() {
        finding = finding.hint(format!("The store has {}.", near.join(", ")));
    }
    if !stages.is_empty() {
        finding = finding.hint(format!("Stages of this file: {}.", stages.join(", ")));
    }
    finding.hint(
        "Without a registry, load it: `cairn load -t NAME oci:DIR|docker-archive:FILE|tar:FILE`; or give it \
         with `--build-context NAME=...`.",
    )
}
