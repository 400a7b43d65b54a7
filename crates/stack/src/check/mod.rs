//! Tests of built images, with evidence: what passed on this very image is not run again.
//!
//! ```text
//! images of a run   --schedule-->  items: a file of structure tests or a suite each, and what
//!                                  must have passed before
//! item + image      --run-->       FileCheck, and evidence where it passed
//! ImageChecks       --junit-->     XML for CI
//! image + history   --forecast-->  which tests a run would run, and why
//! ```
//!
//! Evidence belongs to an image's content (its platform is part of that) and a test's digest. A
//! new commit, a new tag or another packing changes neither; a changed test runs again without a
//! rebuild (DH-65). Only a pass is kept: what failed is tried again.

mod evidence;
mod forecast;
mod junit;
mod outcome;
mod schedule;

use std::path::{Path, PathBuf};
use std::time::Instant;

use cairn_build::event::{Event, EventSink, Verdict};
use cairn_build::image::ImageRecord;
use cairn_diagnostic::{Diagnostic, Source};
use cairn_oci::Platform;
use cairn_registry::Fetcher;
use cairn_sandbox::{Cancel, Emulator, runs_here};
use cairn_spec::ImageId;
use cairn_spec::suite::Suite;
use cairn_store::{CacheKey, Store, StoreError};

use crate::load::LoadedStack;
use crate::structure::{self, CheckError, Conditions, Subject, TestFile, TestResult};
use crate::suite::{self, SuiteError, SuiteMeans};
use evidence::Evidence;
use schedule::Work;

pub use forecast::{TestAction, TestPlan, forecast};
pub use junit::junit;
pub use outcome::{FileCheck, ImageCheck, TestOutcome};

/// Why tests could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// A test file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A test file is wrong.
    #[error("the test file cannot be understood")]
    Findings(Vec<Diagnostic>),
    /// No verdict could be reached.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A suite came to no verdict.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The means of testing.
pub struct Checker<'a> {
    /// Where images and evidence are.
    pub store: &'a Store,
    /// The stack.
    pub loaded: &'a LoadedStack,
    /// The circumstances.
    pub conditions: &'a Conditions,
    /// How pytest is fetched for images that have none.
    pub fetcher: &'a Fetcher,
    /// Where it is fetched from.
    pub package_index: &'a str,
    /// The run, whose logs those of suites belong to.
    pub run: &'a str,
    /// This program.
    pub program: PathBuf,
    /// Finds an image by its name in the stack.
    pub record_of: &'a (dyn Fn(&str) -> Option<ImageRecord> + Sync),
    /// The names of workflow suites to be run.
    pub workflows: &'a [String],
    /// Who is told.
    pub events: &'a dyn EventSink,
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// Whether evidence of earlier runs counts.
    pub use_evidence: bool,
    /// Whether the first failure ends everything.
    pub fail_fast: bool,
}

/// Runs the tests of images for several platforms, each with its checker, side by side; images come
/// in graph order. Basic tests of an image wait for those of what it builds on, integration and
/// workflow tests for the basic ones.
pub fn check(
    parts: &[(Checker<'_>, Vec<(ImageId, &ImageRecord)>)],
) -> Result<Vec<ImageCheck>, TestError> {
    let mut items: Vec<schedule::Item> = Vec::new();
    let mut images: Vec<(&Checker<'_>, &ImageRecord)> = Vec::new();
    let mut all: Vec<ImageCheck> = Vec::new();
    for (checker, of_part) in parts {
        let own = schedule::items(checker.loaded, of_part, checker.workflows);
        let (before, first) = (items.len(), images.len());
        items.extend(own.into_iter().map(|item| item.behind(before, first)));
        for (id, record) in of_part {
            let label = checker.loaded.label(*id);
            all.push(ImageCheck::new(label, record.content(), &record.platform));
            images.push((checker, record));
        }
    }
    let jobs = parts.iter().map(|(it, _)| it.conditions.jobs.get());
    let fail_fast = parts.iter().any(|(it, _)| it.fail_fast);
    let run = |item: &schedule::Item| {
        let (checker, record) = images[item.image];
        checker.item(item, record)
    };
    let left_out =
        |item: &schedule::Item, reason: &str| images[item.image].0.leave_out(item, reason);
    let checks = schedule::run(&items, jobs.max().unwrap_or(1), fail_fast, &run, &left_out)?;
    for (item, check) in items.iter().zip(checks) {
        all[item.image].files.push(check);
    }
    Ok(all)
}

impl Checker<'_> {
    fn item(&self, item: &schedule::Item, record: &ImageRecord) -> Result<FileCheck, TestError> {
        if self.cancel.is_cancelled() {
            return Err(CheckError::Cancelled.into());
        }
        match &item.work {
            Work::Structure(file) => self.structure(item, file, record),
            Work::Suite(suite) => self.suite(item, suite, record),
        }
    }

    fn leave_out(&self, item: &schedule::Item, reason: &str) -> FileCheck {
        let title = item.title();
        self.tell(&item.name, &title, Verdict::Skipped, reason);
        FileCheck {
            left_out: Some(reason.to_owned()),
            ..FileCheck::new(&item.work)
        }
    }

    fn structure(
        &self,
        item: &schedule::Item,
        name: &str,
        record: &ImageRecord,
    ) -> Result<FileCheck, TestError> {
        let file = self.read(name)?;
        let digest = structure::digest(&file, &self.conditions.folder);
        let evidence = Evidence::new(record, digest);
        let repeatable = structure::is_repeatable(&file);
        if repeatable && let Some(check) = self.reuse(item, &evidence.key()) {
            return Ok(check);
        }
        if let Some(reason) = cannot_run(&record.platform).filter(|_| !file.commands.is_empty()) {
            return Ok(self.leave_out(item, &reason));
        }
        let started = Instant::now();
        let snapshots = record.snapshots();
        let subject = Subject {
            store: self.store,
            snapshots: &snapshots,
            config: &record.config,
        };
        let mut conditions = self.conditions.clone();
        conditions.emulator = Emulator::needed_for(&record.platform.architecture);
        let timeout = self.loaded.stack[item.id].tests.timeout;
        conditions.timeout = conditions.timeout.or(timeout);
        let results = structure::evaluate(&file, &subject, &conditions, self.cancel, &|result| {
            let outcome = TestOutcome::of_structure(result);
            self.told(&item.name, &outcome, result);
        })?;
        let check = FileCheck {
            tests: results.iter().map(TestOutcome::of_structure).collect(),
            digest: Some(digest),
            ..FileCheck::new(&item.work)
        };
        if repeatable && check.passed() {
            evidence.keep(self.store, &check, started.elapsed())?;
        }
        Ok(check)
    }

    fn told(&self, image: &str, outcome: &TestOutcome, result: &TestResult) {
        self.events.emit(Event::Test {
            image: image.to_owned(),
            test: outcome.test.clone(),
            verdict: outcome.verdict(),
            detail: outcome.detail.clone(),
            elapsed: result.duration,
        });
    }

    fn suite(
        &self,
        item: &schedule::Item,
        suite: &Suite,
        record: &ImageRecord,
    ) -> Result<FileCheck, TestError> {
        let digest = suite::digest(suite, &self.loaded.directory, self.record_of)?;
        let evidence = Evidence::new(record, digest);
        if let Some(check) = self.reuse(item, &evidence.key()) {
            return Ok(check);
        }
        if let Some(reason) = cannot_run(&record.platform) {
            return Ok(self.leave_out(item, &reason));
        }
        let started = Instant::now();
        let means = SuiteMeans {
            store: self.store,
            loaded: self.loaded,
            conditions: self.conditions,
            fetcher: self.fetcher,
            package_index: self.package_index,
            run: self.run,
            program: self.program.clone(),
            fail_fast: self.fail_fast,
            record_of: self.record_of,
            events: self.events,
            cancel: self.cancel,
        };
        let result = suite::run(suite, &item.name, record, &means)?;
        if let Some(reason) = &result.left_out {
            return Ok(self.leave_out(item, reason));
        }
        let check = FileCheck {
            tests: result.tests.iter().map(TestOutcome::of_suite).collect(),
            digest: Some(digest),
            note: result.note,
            log: result.log,
            ..FileCheck::new(&item.work)
        };
        if check.passed() {
            evidence.keep(self.store, &check, started.elapsed())?;
        }
        Ok(check)
    }

    fn read(&self, name: &str) -> Result<TestFile, TestError> {
        let parsed = read_structure(&self.loaded.directory, name)?;
        for warning in &parsed.warnings {
            let text = cairn_diagnostic::render(warning);
            // The notice says itself that it is one.
            let text = text.strip_prefix("warning: ").unwrap_or(&text).to_owned();
            self.events.emit(Event::Notice {
                warning: true,
                text,
            });
        }
        Ok(parsed.file)
    }

    fn reuse(&self, item: &schedule::Item, key: &CacheKey) -> Option<FileCheck> {
        if !self.use_evidence {
            return None;
        }
        let tests = evidence::find(self.store, key)?;
        for test in &tests {
            self.tell(&item.name, &test.test, Verdict::Reused, "");
        }
        Some(FileCheck {
            reused: true,
            tests,
            ..FileCheck::new(&item.work)
        })
    }

    fn tell(&self, image: &str, test: &str, verdict: Verdict, detail: &str) {
        self.events.emit(Event::Test {
            image: image.to_owned(),
            test: test.to_owned(),
            verdict,
            detail: detail.to_owned(),
            elapsed: std::time::Duration::ZERO,
        });
    }
}

/// What the reason for leaving tests out begins with where a machine is not of their platform.
const FOREIGN: &str = "this machine cannot run programs of ";

/// Why tests that run something in an image cannot be run here, if they cannot.
fn cannot_run(platform: &Platform) -> Option<String> {
    (!runs_here(&platform.architecture)).then(|| format!("{FOREIGN}{platform}"))
}

/// Reads the files of structure tests of these images, so that a mistake in one is told before
/// anything is built for it.
///
/// # Errors
/// When one is not there, or not well-formed.
pub fn read_files(loaded: &LoadedStack, images: &[ImageId]) -> Result<(), TestError> {
    let images = images.iter().map(|id| &loaded.stack[*id]);
    for file in images.flat_map(|image| &image.tests.structure) {
        read_structure(&loaded.directory, &file.value)?;
    }
    Ok(())
}

/// Reads a file of structure tests.
fn read_structure(directory: &Path, name: &str) -> Result<structure::Parsed, TestError> {
    let path = directory.join(name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(TestError::Read { path, source }),
    };
    let source = Source::new(path.display().to_string(), text);
    structure::parse(&source).map_err(TestError::Findings)
}
