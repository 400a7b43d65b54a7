//! A run over a stack: what was asked for is built, named, and written to the history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_build::engine::Engine;
use cairn_build::event::{Event, Outcome, VertexId};
use cairn_build::failure::Failure;
use cairn_build::filesystem::Filesystem;
use cairn_build::image::ImageRecord;
use cairn_build::image::named::{Others, save};
use cairn_build::image::source::StoreImages;
use cairn_build::key::KeyInputs;
use cairn_build::lint::Warnings;
use cairn_build::lower::LoweredImage;
use cairn_build::run::Prepared;
use cairn_build::solve::{Solved, SolvedStep};
use cairn_store::{CacheKey, Store, StoreError};

use crate::made_of::MadeOf;

/// One image of a run.
#[derive(Debug, Clone)]
pub struct ImageResult {
    /// Its name in the stack.
    pub name: String,
    /// How it went.
    pub state: ImageState,
    /// Its own steps that were not simply there.
    pub steps: Vec<StepResult>,
}

/// One step of an image.
#[derive(Debug, Clone)]
pub struct StepResult {
    /// Which: also the name of its log.
    pub vertex: VertexId,
    /// The instruction.
    pub title: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran.
    pub elapsed: Duration,
}

/// The steps of an image that are told of it and not of one it builds on: over all images of a run
/// they are those of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnSteps {
    /// How many of them ran.
    pub ran: usize,
    /// How many were there.
    pub cached: usize,
}

/// How an image went.
#[derive(Debug, Clone)]
pub enum ImageState {
    /// It is there.
    Ready {
        /// What it is.
        record: Box<ImageRecord>,
        /// How many of its steps ran.
        ran: usize,
        /// How many of its steps were there.
        cached: usize,
        /// Of both, those that no image before it needs.
        own: OwnSteps,
    },
    /// It is not there.
    Failed {
        /// One line that says why.
        reason: String,
    },
}

/// What a run came to.
#[derive(Debug)]
pub struct RunReport {
    /// All images, in graph order.
    pub images: Vec<ImageResult>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// How every step went that was not decided before the run.
    pub steps: Vec<SolvedStep>,
    /// How many steps ran.
    pub ran: usize,
    /// How many steps were there.
    pub cached: usize,
    /// What the checker says of the Dockerfiles.
    pub warnings: Vec<Warnings>,
    /// How long it took.
    pub elapsed: Duration,
    /// The filesystem of each vertex that has one.
    pub results: HashMap<VertexId, Arc<Filesystem>>,
    /// What images were made of, by their names; empty unless somebody asked.
    pub made_of: BTreeMap<String, MadeOf>,
}

impl RunReport {
    /// Whether every image is there.
    pub fn is_success(&self) -> bool {
        self.images
            .iter()
            .all(|image| matches!(image.state, ImageState::Ready { .. }))
    }

    /// What the steps took that ran, and what those took that were there when they ran. Steps are
    /// those of [`RunReport::made_of`].
    pub fn cost(&self, store: &Store) -> (Duration, Duration) {
        let has_run = |step: &&SolvedStep| matches!(step.outcome, Outcome::Done { .. });
        let ran = self.steps.iter().filter(has_run);
        let mut seen: BTreeSet<CacheKey> = BTreeSet::new();
        let mut sum = Duration::ZERO;
        for step in ran {
            seen.extend(step.inputs.as_ref().map(KeyInputs::key));
            sum += step.elapsed;
        }
        let steps = self.made_of.values().flat_map(|it| &it.steps);
        let known = steps.filter_map(|step| {
            let key = KeyInputs(step.inputs.clone()).key();
            let record = seen.insert(key).then(|| store.get_record(&key)).flatten()?;
            Some(Duration::from_millis(record.cost_ms))
        });
        (sum, known.sum())
    }

    /// The image of that name, if it is there.
    pub fn record(&self, name: &str) -> Option<&ImageRecord> {
        self.images
            .iter()
            .find(|image| image.name == name)
            .and_then(|image| match &image.state {
                ImageState::Ready { record, .. } => Some(record.as_ref()),
                ImageState::Failed { .. } => None,
            })
    }
}

/// What the images of a run are called in the store.
#[derive(Debug, Clone)]
pub struct Names {
    /// The references of each image, by its name in the run. Images for several platforms have
    /// them in common.
    pub of: BTreeMap<String, Vec<String>>,
    /// What becomes of the images for other platforms that have the names now.
    pub others: Others,
}

/// Builds what was prepared and makes each name lead to its images.
pub fn run(
    prepared: &Prepared<'_>,
    engine: &Engine<'_>,
    names: &Names,
) -> Result<RunReport, StoreError> {
    let started = Instant::now();
    let solved = prepared.solve(engine);
    let mut images = Vec::new();
    for image in &prepared.lowered.images {
        let state = finish_image(prepared, engine, image, &solved, names)?;
        images.push(ImageResult {
            name: image.name.clone(),
            state,
            steps: own_steps(prepared, image, &solved),
        });
    }
    name_images(engine, &images, names)?;
    let ran = solved.ran();
    let all = prepared.lowered.graph.steps();
    let missing = solved.failures.len() + solved.skipped.len();
    let report = RunReport {
        images,
        ran,
        cached: all.saturating_sub(ran + missing),
        failures: solved.failures,
        steps: solved.steps,
        warnings: prepared.warnings.clone(),
        elapsed: started.elapsed(),
        results: solved.results,
        made_of: BTreeMap::new(),
    };
    Ok(report)
}

/// A name that is to lead to these images alone moves when all of them are there.
fn name_images(
    engine: &Engine<'_>,
    images: &[ImageResult],
    names: &Names,
) -> Result<(), StoreError> {
    let mut meant: BTreeMap<&[String], Vec<ImageRecord>> = BTreeMap::new();
    let mut torn: BTreeSet<&[String]> = BTreeSet::new();
    for image in images {
        let Some(references) = names.of.get(&image.name).map(Vec::as_slice) else {
            continue;
        };
        match &image.state {
            // What is not here cannot be run by a name.
            ImageState::Ready { record, .. } if !record.absent.is_empty() => {
                torn.insert(references);
            }
            ImageState::Ready { record, .. } => {
                meant
                    .entry(references)
                    .or_default()
                    .push((**record).clone());
            }
            ImageState::Failed { .. } => {
                torn.insert(references);
            }
        }
    }
    for (references, records) in meant {
        if names.others != Others::Go || !torn.contains(references) {
            save(engine.store, references, &records, &names.others)?;
        }
    }
    Ok(())
}

/// How many of the steps ran that reach an image. Those of another image that it copies from do so
/// only if what they made is not what was copied before.
fn ran_for(prepared: &Prepared<'_>, image: &LoweredImage, solved: &Solved) -> usize {
    let has_run = |step: &&SolvedStep| matches!(step.outcome, Outcome::Done { .. });
    let ran = solved.steps.iter().filter(has_run);
    let ran: BTreeSet<VertexId> = ran.map(|step| step.vertex).collect();
    let mut seen = BTreeSet::new();
    let mut open: Vec<VertexId> = prepared.parts_of(image).into_iter().collect();
    while let Some(id) = open.pop() {
        if seen.insert(id) && ran.contains(&id) {
            open.extend(prepared.lowered.graph.vertex(id).inputs());
        }
    }
    ran.intersection(&seen).count()
}

fn own_steps(prepared: &Prepared<'_>, image: &LoweredImage, solved: &Solved) -> Vec<StepResult> {
    let graph = &prepared.lowered.graph;
    let steps = solved.steps.iter().filter_map(|step| {
        let origin = &graph.vertex(step.vertex).origin;
        (origin.image == image.name && graph.is_step(step.vertex)).then(|| StepResult {
            vertex: step.vertex,
            title: origin.title.clone(),
            outcome: step.outcome.clone(),
            elapsed: step.elapsed,
        })
    });
    steps.collect()
}

fn finish_image(
    prepared: &Prepared<'_>,
    engine: &Engine<'_>,
    image: &LoweredImage,
    solved: &Solved,
    names: &Names,
) -> Result<ImageState, StoreError> {
    let vertices = prepared.vertices_of(image);
    let Some(mut record) = prepared.assemble(engine, image, solved) else {
        let failure = solved
            .failures
            .iter()
            .find(|failure| vertices.contains(&failure.vertex));
        let skipped = vertices.iter().find_map(|id| solved.skipped.get(id));
        let reason = match (failure, skipped) {
            (Some(failure), _) => failure.diagnostic.message.clone(),
            (None, Some(reason)) => reason.clone(),
            (None, None) => "the run was stopped".to_owned(),
        };
        let event = Event::ImageFailed {
            image: image.name.clone(),
            reason: reason.clone(),
        };
        engine.events.emit(event);
        return Ok(ImageState::Failed { reason });
    };
    prepared.squash(engine.store, image, solved, &mut record)?;
    if engine.settings.inline_cache {
        // Without them the image is the same, but nobody saves anything by it.
        record.results = prepared.inline(engine, image, solved).unwrap_or_default();
    }
    let name = names.of.get(&image.name).and_then(|names| names.first());
    let images = StoreImages {
        store: engine.store,
    };
    let last = name.and_then(|name| images.find_for(name, &image.platform).ok()?);
    if last.is_none_or(|last| last.content() != record.content()) {
        prepared.remember(image, solved, engine)?;
    }
    if record.absent.is_empty() {
        record.save(engine.store, &[])?;
    }
    let ran = ran_for(prepared, image, solved);
    engine.events.emit(Event::ImageReady {
        image: image.name.clone(),
        id: record.is_known().then(|| record.id().to_string()),
        cached: ran == 0,
    });
    let graph = &prepared.lowered.graph;
    let steps = vertices.iter().filter(|id| graph.is_step(**id)).count();
    let cached = steps - ran;
    // A step that several images need is told of the first one alone.
    let is_own = |id: &VertexId| graph.vertex(*id).origin.image == image.name;
    let own_steps = vertices
        .iter()
        .filter(|id| graph.is_step(**id) && is_own(id))
        .count();
    let own_ran = solved
        .steps
        .iter()
        .filter(|step| vertices.contains(&step.vertex) && is_own(&step.vertex))
        .filter(|step| matches!(step.outcome, Outcome::Done { .. }))
        .count();
    Ok(ImageState::Ready {
        record: Box::new(record),
        ran,
        cached,
        own: OwnSteps {
            ran: own_ran,
            cached: own_steps.saturating_sub(own_ran),
        },
    })
}
