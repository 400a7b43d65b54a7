//! Runs written to the history, and `why` read from it.
//!
//! A step's inputs are kept with the cause that made it run, so that `cairn why` tells what a run
//! did long after the files have changed again.

use std::time::Duration;

use cairn_build::event::Outcome;
use cairn_build::run::Prepared;
use cairn_build::solve::{Solved, SolvedStep};
use cairn_store::{BuiltImage, RunRecord, StepRecord, Store, StoreError, TestRecord};
use serde::Serialize;

use crate::check::ImageCheck;
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

impl RunNote {
    fn ended(&self, finished_ms: i64, is_success: bool) -> RunRecord {
        RunRecord {
            run: self.run.clone(),
            command: self.command.clone(),
            stack: self.stack.clone(),
            started_ms: self.started_ms,
            finished_ms: Some(finished_ms),
            outcome: Some(if is_success { "succeeded" } else { "failed" }.to_owned()),
        }
    }
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
    history.start_run(&note.ended(finished_ms, report.is_success()))?;
    history.record_steps(&step_records(note, prepared, &report.steps))?;
    let images = report.images.iter().filter_map(|image| match &image.state {
        // Who asks later what was built could not be shown it.
        ImageState::Ready { record, .. } if !record.absent.is_empty() => None,
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

/// Writes down the steps that were run to know something, and no image came of.
pub fn record_settled(
    store: &Store,
    note: &RunNote,
    finished_ms: i64,
    prepared: &Prepared<'_>,
    solved: &Solved,
) -> Result<(), StoreError> {
    let history = store.history()?;
    history.start_run(&note.ended(finished_ms, solved.failures.is_empty()))?;
    history.record_steps(&step_records(note, prepared, &solved.steps))
}

/// A step counts for every image that needs it: a change of a base explains its children.
fn step_records(note: &RunNote, prepared: &Prepared<'_>, solved: &[SolvedStep]) -> Vec<StepRecord> {
    let mut steps = Vec::new();
    for image in &prepared.lowered.images {
        let vertices = prepared.vertices_of(image);
        let needed = solved.iter().filter(|step| vertices.contains(&step.vertex));
        steps.extend(needed.map(|step| step_record(note, prepared, &image.name, step)));
    }
    steps
}

/// Writes down the tests of a run that were run, and how it ended with them. A run that ran none
/// leaves no trace here.
pub fn record_tests(
    store: &Store,
    note: &RunNote,
    finished_ms: i64,
    is_success: bool,
    checks: &[ImageCheck],
) -> Result<(), StoreError> {
    let mut tests = Vec::new();
    for check in checks {
        for file in &check.files {
            let Some(digest) = file.digest else { continue };
            tests.extend(file.tests.iter().map(|test| {
                TestRecord {
                    run: note.run.clone(),
                    image: check.label.clone(),
                    image_digest: check.content.clone(),
                    test: format!("{}: {}", file.file, test.test),
                    test_digest: digest.to_string(),
                    platform: check.platform.clone(),
                    verdict: match (test.passed, test.skipped) {
                        (false, _) => "failed",
                        (true, true) => "skipped",
                        (true, false) => "passed",
                    }
                    .to_owned(),
                    detail: test.detail.clone(),
                    finished_ms,
                    duration_ms: milliseconds_of(test.seconds),
                }
            }));
        }
    }
    if tests.is_empty() {
        return Ok(());
    }
    let history = store.history()?;
    history.start_run(&note.ended(finished_ms, is_success))?;
    history.record_tests(&tests)
}

fn milliseconds_of(seconds: f64) -> u64 {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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

/// All that the history holds of one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunStory {
    /// The run.
    pub run: RunRecord,
    /// Its images.
    pub images: Vec<BuiltImage>,
    /// Its steps, for each image that needed them.
    pub steps: Vec<StepRecord>,
    /// The tests that it ran.
    pub tests: Vec<TestRecord>,
}

/// The newest runs, newest first; those of one stack, or all.
pub fn runs(
    store: &Store,
    limit: usize,
    stack: Option<&str>,
) -> Result<Vec<RunRecord>, StoreError> {
    store.history()?.runs(limit, stack)
}

/// Reads one run, by its name.
pub fn story(store: &Store, run: &RunRecord) -> Result<RunStory, StoreError> {
    let history = store.history()?;
    Ok(RunStory {
        images: history.images_of_run(&run.run)?,
        steps: history.steps_of_run(&run.run)?,
        tests: history.tests_of_run(&run.run)?,
        run: run.clone(),
    })
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
    /// Its tests when they last ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<WhyTest>,
}

/// What came of a test file or suite when it last ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhyTest {
    /// The file or folder.
    pub file: String,
    /// The run.
    pub run: String,
    /// The digest of the image's content that it ran on.
    pub content: String,
    /// How many tests passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were skipped.
    pub skipped: usize,
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

/// Reads why an image was last rebuilt, in runs of one stack or in all; `None` if nothing is known
/// of it.
pub fn why(
    store: &Store,
    image: &str,
    stack: Option<&str>,
) -> Result<Option<WhyReport>, StoreError> {
    let steps = store.history()?.last_steps(image, stack)?;
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
        tests: last_tests(&store.history()?.tests_of_image(image, stack)?),
    }))
}

/// The last results of each file, of tests that come newest first.
fn last_tests(history: &[TestRecord]) -> Vec<WhyTest> {
    let mut files: Vec<WhyTest> = Vec::new();
    for test in history {
        let file = test.test.split_once(": ").map_or("", |(file, _)| file);
        let known = files.iter().position(|it| it.file == file);
        let at = known.unwrap_or_else(|| {
            files.push(WhyTest {
                file: file.to_owned(),
                run: test.run.clone(),
                content: test.image_digest.clone(),
                passed: 0,
                failed: 0,
                skipped: 0,
            });
            files.len() - 1
        });
        if files[at].run != test.run {
            continue;
        }
        match test.verdict.as_str() {
            "failed" => files[at].failed += 1,
            "skipped" => files[at].skipped += 1,
            _ => files[at].passed += 1,
        }
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    files
}
