//! Suites: pytest or a command of the author's, in the image or on the host, services beside it.
//!
//! ```text
//! Suite                --digest-->   ContentDigest  what evidence is kept by
//! Suite + ImageRecord  --run-->      SuiteResult    what came of each test
//! ```
//!
//! Nothing is put into the image. A suite is mounted read-only below [`TESTS`], with the
//! `conftest.py` of the folders above it; what tests write goes to a change that is thrown away.
//! pytest is the image's own where it has one, else a locked set of packages that was fetched
//! once and is kept in the store ([`packages`]); a small program of ours runs it and writes down
//! what came of each test ([`results`]).
//!
//! On the host a suite is an ordinary process with the image's name in `TEST_IMAGE` (DH-59). It
//! and all that it started are stopped when its time is over ([`host`]).

pub(crate) mod container;
mod digest;
mod gpu;
mod host;
pub(crate) mod image;
mod packages;
mod results;
mod services;
mod wheel;

use std::path::PathBuf;
use std::time::Duration;

use cairn_build::event::{Event, EventSink, Verdict};
use cairn_build::image::ImageRecord;
use cairn_oci::Platform;
use cairn_registry::Fetcher;
use cairn_sandbox::Cancel;
use cairn_spec::SuitePlace;
use cairn_spec::suite::Suite;
use cairn_store::{Store, StoreError};

use crate::load::LoadedStack;
use crate::structure::{CheckError, Conditions};
use crate::target::image_and_platform;

pub use digest::{digest, reads};
pub use packages::PackagesError;

/// Where suites lie inside an image, by their paths from the spec's folder.
pub const TESTS: &str = "/cairn/tests";
/// Why a suite is left out that cannot run here.
pub const NO_GPU: &str = "it needs a GPU, and this machine has none that Cairn knows";
/// Of what a suite printed last, so many lines are told.
const OUTPUT_LINES_MAX: usize = 15;

/// What running suites needs.
pub struct SuiteMeans<'a> {
    /// Where images are.
    pub store: &'a Store,
    /// The stack.
    pub loaded: &'a LoadedStack,
    /// The circumstances, as for structure tests.
    pub conditions: &'a Conditions,
    /// How pytest is fetched where an image has none.
    pub fetcher: &'a Fetcher,
    /// Where it is fetched from: a package index of Python.
    pub package_index: &'a str,
    /// The run, whose logs it goes to.
    pub run: &'a str,
    /// This program, for tests on the host that use the image.
    pub program: PathBuf,
    /// Whether the first test that fails ends its suite.
    pub fail_fast: bool,
    /// Finds the image of another name in this run, for services.
    pub record_of: &'a (dyn Fn(&str) -> Option<ImageRecord> + Sync),
    /// Who is told.
    pub events: &'a dyn EventSink,
    /// Asks to stop.
    pub cancel: &'a Cancel,
}

/// What came of one test of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct TestRun {
    /// Its name: pytest's, or that of the suite.
    pub test: String,
    /// Whether it passed, failed or was left out.
    pub verdict: Verdict,
    /// Why, where there is something to say.
    pub detail: String,
    /// How long it ran.
    pub elapsed: Duration,
}

/// What came of a suite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SuiteResult {
    /// Its tests.
    pub tests: Vec<TestRun>,
    /// What else is worth knowing.
    pub note: Option<String>,
    /// Where everything that it printed is.
    pub log: Option<PathBuf>,
    /// Why it was left out, if it was: nothing is known then.
    pub left_out: Option<String>,
}

/// Why a suite came to no verdict about the image.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The sandbox, or somebody who asked to stop.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// pytest could not be had.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
}

/// What stops a suite before it has results.
pub(crate) enum Stop {
    /// A reason that is the image's or the test's own: the suite failed.
    Failed(String),
    /// Something else.
    Error(SuiteError),
}

impl<E: Into<SuiteError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What `cairn run` takes for an image: its name alone stands for this machine's platform.
fn called(label: &str, record: &ImageRecord) -> String {
    match image_and_platform(label) {
        (name, platform) if platform == Platform::of_this_program() => name.to_owned(),
        _ => record.id().to_string(),
    }
}

/// Runs a suite on an image. What fails is a result; an error says nothing about the image.
pub fn run(
    suite: &Suite,
    image: &str,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
) -> Result<SuiteResult, SuiteError> {
    if suite.gpu && !gpu::is_there() {
        return Ok(SuiteResult {
            left_out: Some(NO_GPU.to_owned()),
            ..SuiteResult::default()
        });
    }
    means.tell_of(image, suite, "", false);
    let log_name = format!("test {image} {} {}", suite.kind, suite.name);
    let log = means.store.log_path(means.run, &log_name);
    let ran = services::beside(suite, image, record, means, &mut || match suite.place {
        SuitePlace::Image => image::run(suite, image, record, means, &log_name),
        SuitePlace::Host => host::run(suite, &called(image, record), means, &log_name),
    });
    let mut result = match ran {
        Ok(result) => result,
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Failed(reason)) => {
            let result = SuiteResult::failed(suite, reason);
            result.tests.iter().for_each(|test| means.tell(image, test));
            result
        }
    };
    means.tell_of(image, suite, "", true);
    result.log = log.exists().then_some(log);
    Ok(result)
}

impl SuiteMeans<'_> {
    /// Says what a suite does now.
    fn tell_of(&self, image: &str, suite: &Suite, doing: &str, is_over: bool) {
        self.events.emit(Event::Suite {
            image: image.to_owned(),
            suite: title(suite),
            doing: doing.to_owned(),
            is_over,
        });
    }

    /// The same while it prints: the test that runs, or the line that came last.
    fn tell_output(&self, image: &str, suite: &Suite, running: Option<&str>, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        if let Some(doing) = running.or(last) {
            self.tell_of(image, suite, doing, false);
        }
    }
}

impl SuiteResult {
    /// A suite that failed as a whole.
    fn failed(suite: &Suite, reason: String) -> Self {
        let test = TestRun {
            test: title(suite),
            verdict: Verdict::Failed,
            detail: reason,
            elapsed: Duration::ZERO,
        };
        Self {
            tests: vec![test],
            ..Self::default()
        }
    }

    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.tests.iter().all(|it| it.verdict != Verdict::Failed)
    }
}

/// What a suite is called where it stands for its tests.
pub fn title(suite: &Suite) -> String {
    let path = suite.path.trim_end_matches('/');
    match path.rsplit('/').next() == Some(&suite.name) || path == suite.name {
        true => format!("{} tests {path}", suite.kind),
        false => format!("{} tests {} ({path})", suite.kind, suite.name),
    }
}

/// The last lines of an output, for a failure.
pub(crate) fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(OUTPUT_LINES_MAX);
    lines[from..].join("\n")
}
