//! Runs written to the history, and `why` read from it.
//!
//! A step's inputs are kept with the cause that made it run, so that `cairn why` tells what a run
//! did long after the files have changed again.

use std::time::Duration;

use cairn_build::event::Outcome;
use cairn_build::run::Prepared;
use cairn_build::solve::SolvedStep;
use cairn_store::{BuiltImage, RunRecord, StepRecord, Store, StoreError};
use serde::Serialize;

use crate::plan::in_words;
use crate::run::{ImageState, RunReport};

/// The name under which a step's cause is kept among its inputs.
const CAUSE: &str = "because";

/// A run to be written down.
#[derive(Debug, Clone)]
pub struct RunNote {
    /// Its name; also that of its logs.
    pub run: String,
    /// What was run.
    pub command: String,
    /// The stack, if it was about one.
    pub stack: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
}

/// Writes a run down: its steps, and the images it made or found.
pub fn record(
    store: &Store,
    note: &RunNote,
    prepared: &Prepared<'_>,
    report: &RunReport,
) -> Result<(), StoreError> {
    let history = store.history()?;
    let finished_ms = note.started_ms + milliseconds(report.elapsed);
    history.start_run(&RunRecord {
        run: note.run.clone(),
        command: note.command.clone(),
        stack: note.stack.clone(),
        started_ms: note.started_ms,
        finished_ms: Some(finished_ms),
        outcome: Some(
            if report.is_success() {
                "succeeded"
            } else {
                "failed"
            }
            .to_owned(),
        ),
    })?;
    // A step counts for every image that needs it: a change of a base explains its children.
    let mut steps = Vec::new();
    for image in &prepared.lowered.images {
        let vertices = prepared.vertices_of(image);
        let needed = report
            .steps
            .iter()
            .filter(|step| vertices.contains(&step.vertex));
        steps.extend(needed.map(|step| step_record(note, prepared, &image.name, step)));
    }
    history.record_steps(&steps)?;
    let images = report.images.iter().filter_map(|image| match &image.state {
        ImageState::Ready { record, ran, .. } => Some(BuiltImage {
            run: note.run.clone(),
            image: image.name.clone(),
            digest: record.content().to_string(),
            platform: record.platform.to_string(),
            built_ms: finished_ms,
            is_new: *ran > 0,
        }),
        ImageState::Failed { .. } => None,
    });
    history.record_images(&images.collect::<Vec<_>>())
}

fn step_record(
    note: &RunNote,
    prepared: &Prepared<'_>,
    image: &str,
    step: &SolvedStep,
) -> StepRecord {
    let origin = &prepared.lowered.graph.vertex(step.vertex).origin;
    let mut inputs = step
        .inputs
        .as_ref()
        .map(|inputs| inputs.0.clone())
        .unwrap_or_default();
    if let Some(cause) = &step.cause {
        inputs.push((CAUSE.to_owned(), in_words(cause)));
    }
    StepRecord {
        run: note.run.clone(),
        image: image.to_owned(),
        stage: if origin.image == image {
            origin.stage.clone()
        } else {
            format!("{} {}", origin.image, origin.stage)
                .trim_end()
                .to_owned()
        },
        step: origin.step.0,
        title: origin.title.clone(),
        key: step.inputs.as_ref().map(|inputs| inputs.key().to_string()),
        inputs,
        outcome: match &step.outcome {
            Outcome::Cached => "cached",
            Outcome::Done { unchanged: true } => "unchanged",
            Outcome::Done { unchanged: false } => "done",
            Outcome::Failed { .. } => "failed",
            Outcome::Skipped { .. } => "skipped",
        }
        .to_owned(),
        started_ms: note.started_ms,
        duration_ms: u64::try_from(step.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Why the steps of an image ran when any of them last did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhyReport {
    /// The image.
    pub image: String,
    /// The run that is told of.
    pub run: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// Its steps that were not simply found.
    pub steps: Vec<WhyStep>,
}

/// Why one step ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhyStep {
    /// The stage, with the image it belongs to if that is another one; may be empty.
    pub stage: String,
    /// Its number.
    pub step: u32,
    /// The instruction.
    pub title: String,
    /// How it ended.
    pub outcome: String,
    /// Why it ran, in words; empty where it did not come to its end.
    pub because: String,
    /// How long it took.
    pub duration_ms: u64,
}

/// Reads why an image was last rebuilt; `None` if nothing is known of it.
pub fn why(store: &Store, image: &str) -> Result<Option<WhyReport>, StoreError> {
    let steps = store.history()?.last_steps(image)?;
    let Some(first) = steps.first() else {
        return Ok(None);
    };
    let (run, started_ms) = (first.run.clone(), first.started_ms);
    let steps = steps
        .into_iter()
        .filter(|step| step.outcome != "cached")
        .map(|step| {
            let because = step
                .inputs
                .into_iter()
                .rev()
                .find(|(name, _)| name == CAUSE);
            WhyStep {
                stage: step.stage,
                step: step.step,
                title: step.title,
                outcome: step.outcome,
                because: because.map(|(_, text)| text).unwrap_or_default(),
                duration_ms: step.duration_ms,
            }
        });
    Ok(Some(WhyReport {
        image: image.to_owned(),
        run,
        started_ms,
        steps: steps.collect(),
    }))
}
