//! The state of a run as a display needs it: events go in, the picture can be taken at any time.
//!
//! A pure state machine. It knows no terminal and no clock; `now` is the time since the start of
//! the run and comes in from outside, so tests decide what time it is.

use std::collections::HashMap;
use std::time::Duration;

use cairn_build::event::{Event, Outcome, Verdict, VertexId, VertexInfo};

use crate::quantity;
use crate::sanitize;

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// It has not started.
    Waiting,
    /// It runs.
    Running {
        /// When it started.
        since: Duration,
        /// The last line it printed, or how far it is; empty before the first.
        last_line: String,
    },
    /// Its result was in the store.
    Cached,
    /// It ran.
    Done,
    /// It failed.
    Failed,
    /// It never ran.
    Skipped,
}

/// A vertex with its state. All text in it is clean.
#[derive(Debug, Clone)]
pub struct Step {
    /// The image's place in [`Model::images`].
    pub image: usize,
    /// `model:cloud build 2/5`: image, stage and number.
    pub label: String,
    /// The instruction.
    pub title: String,
    /// Where it stands.
    pub state: StepState,
}

/// An image with what became of its steps.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Its name, clean.
    pub name: String,
    /// How many steps it has.
    pub steps: usize,
    /// How many of them are over, however they ended.
    pub steps_over: usize,
    /// How many were in the store.
    pub steps_cached: usize,
    /// How many never ran.
    pub steps_skipped: usize,
    /// Whether one of them failed.
    pub has_failed_step: bool,
    /// Whether the image is ready or given up.
    pub is_over: bool,
    /// How many tests' verdicts were known already.
    pub tests_reused: usize,
}

/// A suite of tests that runs. All text in it is clean.
#[derive(Debug, Clone)]
pub struct RunningSuite {
    /// The image.
    pub image: String,
    /// What it is called.
    pub title: String,
    /// When it began.
    pub since: Duration,
    /// The test that runs, or the line that came last; empty before the first.
    pub doing: String,
}

/// What happened in the whole run, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Vertices of the graph.
    pub steps: usize,
    /// Of these, ran to the end.
    pub steps_ran: usize,
    /// Were in the store.
    pub steps_cached: usize,
    /// Failed.
    pub steps_failed: usize,
    /// Never ran.
    pub steps_skipped: usize,
    /// Images of which something ran.
    pub images_built: usize,
    /// Images of which nothing ran.
    pub images_cached: usize,
    /// Images of which a step failed.
    pub images_failed: usize,
    /// Images that will not be there because of another one.
    pub images_skipped: usize,
    /// Tests that passed, now or on the same bytes before.
    pub tests_passed: usize,
    /// Tests that failed.
    pub tests_failed: usize,
    /// Tests that were left out.
    pub tests_skipped: usize,
}

impl Totals {
    /// How many vertices are over.
    pub fn steps_over(&self) -> usize {
        self.steps_ran + self.steps_cached + self.steps_failed + self.steps_skipped
    }
}

/// The state of a run.
#[derive(Debug, Default)]
pub struct Model {
    steps: Vec<Step>,
    index: HashMap<VertexId, usize>,
    images: Vec<Image>,
    image_index: HashMap<String, usize>,
    totals: Totals,
    suites: Vec<RunningSuite>,
}

impl Model {
    /// The images in graph order, then those that only tests or results named.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The numbers so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Finds a vertex. One that was never announced is unknown: its events are dropped.
    pub fn step(&self, id: VertexId) -> Option<&Step> {
        self.index.get(&id).map(|&at| &self.steps[at])
    }

    /// Finds an image's place in [`Model::images`] by its name as events give it.
    pub fn image_number_of(&self, name: &str) -> Option<usize> {
        self.image_index.get(name).copied()
    }

    /// The steps that run now, in graph order.
    pub fn running(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|step| matches!(step.state, StepState::Running { .. }))
    }

    /// The suites of tests that run now, the oldest first.
    pub fn suites(&self) -> &[RunningSuite] {
        &self.suites
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Planned { vertices } => {
                for vertex in vertices {
                    self.plan(vertex);
                }
            }
            Event::Started { vertex } => {
                self.set(
                    *vertex,
                    StepState::Running {
                        since: now,
                        last_line: String::new(),
                    },
                );
            }
            Event::Output { vertex, line, .. } => self.remark(*vertex, || {
                let line = sanitize::output_line(line);
                (!line.trim().is_empty()).then(|| line.trim_end().to_owned())
            }),
            Event::Progress {
                vertex,
                unit,
                done,
                total,
            } => self.remark(*vertex, || Some(progress_text(unit, *done, *total))),
            Event::Finished {
                vertex, outcome, ..
            } => self.finish(*vertex, outcome),
            Event::ImageReady { image, cached, .. } => {
                self.image_named(image).is_over = true;
                match cached {
                    true => self.totals.images_cached += 1,
                    false => self.totals.images_built += 1,
                }
            }
            Event::ImageFailed { image, .. } => {
                let image = self.image_named(image);
                image.is_over = true;
                match image.has_failed_step {
                    true => self.totals.images_failed += 1,
                    false => self.totals.images_skipped += 1,
                }
            }
            Event::Test { image, verdict, .. } => match verdict {
                Verdict::Passed => self.totals.tests_passed += 1,
                Verdict::Failed => self.totals.tests_failed += 1,
                Verdict::Skipped => self.totals.tests_skipped += 1,
                Verdict::Reused => {
                    self.totals.tests_passed += 1;
                    self.image_named(image).tests_reused += 1;
                }
            },
            Event::Suite {
                image,
                suite,
                doing,
                is_over,
            } => self.suite(image, suite, doing, *is_over, now),
            Event::Notice { .. } => {}
        }
    }

    fn suite(&mut self, image: &str, suite: &str, doing: &str, is_over: bool, now: Duration) {
        let (image, title) = (sanitize::name(image), sanitize::name(suite));
        let at = self
            .suites
            .iter()
            .position(|it| it.image == image && it.title == title);
        match (at, is_over) {
            (Some(at), true) => drop(self.suites.remove(at)),
            (Some(at), false) => {
                let line = sanitize::output_line(doing);
                line.trim().clone_into(&mut self.suites[at].doing);
            }
            (None, true) => {}
            (None, false) => self.suites.push(RunningSuite {
                image: image.into_owned(),
                title: title.into_owned(),
                since: now,
                doing: String::new(),
            }),
        }
    }

    fn plan(&mut self, vertex: &VertexInfo) {
        let image = self.image_number_or_new(&vertex.image);
        self.images[image].steps += 1;
        self.totals.steps += 1;
        let (number, of) = vertex.step;
        let mut label = self.images[image].name.clone();
        if !vertex.stage.is_empty() {
            label = format!("{label} {}", sanitize::name(&vertex.stage));
        }
        if of > 0 {
            label = format!("{label} {number}/{of}");
        }
        self.index.insert(vertex.id, self.steps.len());
        self.steps.push(Step {
            image,
            label,
            title: sanitize::name(&vertex.title).into_owned(),
            state: StepState::Waiting,
        });
    }

    fn finish(&mut self, id: VertexId, outcome: &Outcome) {
        let Some(&at) = self.index.get(&id) else {
            return;
        };
        let image = &mut self.images[self.steps[at].image];
        image.steps_over += 1;
        let state = match outcome {
            Outcome::Cached => {
                image.steps_cached += 1;
                self.totals.steps_cached += 1;
                StepState::Cached
            }
            Outcome::Done { .. } => {
                self.totals.steps_ran += 1;
                StepState::Done
            }
            Outcome::Failed { .. } => {
                image.has_failed_step = true;
                self.totals.steps_failed += 1;
                StepState::Failed
            }
            Outcome::Skipped { .. } => {
                image.steps_skipped += 1;
                self.totals.steps_skipped += 1;
                StepState::Skipped
            }
        };
        self.steps[at].state = state;
    }

    fn set(&mut self, id: VertexId, state: StepState) {
        if let Some(&at) = self.index.get(&id) {
            self.steps[at].state = state;
        }
    }

    fn remark(&mut self, id: VertexId, text: impl FnOnce() -> Option<String>) {
        let Some(&at) = self.index.get(&id) else {
            return;
        };
        if let StepState::Running { last_line, .. } = &mut self.steps[at].state
            && let Some(text) = text()
        {
            *last_line = text;
        }
    }

    fn image_named(&mut self, name: &str) -> &mut Image {
        let at = self.image_number_or_new(name);
        &mut self.images[at]
    }

    fn image_number_or_new(&mut self, name: &str) -> usize {
        if let Some(&at) = self.image_index.get(name) {
            return at;
        }
        self.images.push(Image {
            name: sanitize::name(name).into_owned(),
            ..Image::default()
        });
        self.image_index
            .insert(name.to_owned(), self.images.len() - 1);
        self.images.len() - 1
    }
}

fn progress_text(unit: &str, done: u64, total: Option<u64>) -> String {
    let count = |number: u64| match unit {
        "bytes" => quantity::bytes(number),
        _ => number.to_string(),
    };
    let done = match total {
        Some(total) => format!("{} of {}", count(done), count(total)),
        None => count(done),
    };
    match unit {
        "bytes" => done,
        _ => format!("{done} {unit}"),
    }
}
