//! What testing came to, as values: for people, for CI, for the history.

use std::path::PathBuf;

use cairn_build::event::Verdict;
use cairn_oci::Platform;
use cairn_store::ContentDigest;
use serde::Serialize;

use super::schedule::Work;
use crate::structure::TestResult;
use crate::suite::TestRun;
use crate::target::image_and_platform;

/// So many of the last lines that a failed command printed are told.
const OUTPUT_LINES_MAX: usize = 10;

/// What testing one image came to.
#[derive(Debug, Clone, Serialize)]
pub struct ImageCheck {
    /// The image.
    pub image: String,
    /// What it is called in the run.
    #[serde(skip)]
    pub label: String,
    /// The digest of all that a container of it can observe.
    pub content: String,
    /// Its platform.
    pub platform: String,
    /// Its test files and suites.
    pub files: Vec<FileCheck>,
}

/// What came of one test file or suite.
#[derive(Debug, Clone, Serialize)]
pub struct FileCheck {
    /// The file or folder, as the spec names it.
    pub file: String,
    /// What a suite is called; the file of structure tests.
    #[serde(skip)]
    pub name: String,
    /// `structure`, `pytest`, `integration` or `workflow`.
    pub kind: &'static str,
    /// Whether the results are those of an earlier run.
    pub reused: bool,
    /// One result for each test.
    pub tests: Vec<TestOutcome>,
    /// What else is worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it was left out, if it was.
    #[serde(rename = "skipped", skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Where everything that it printed is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// The digest of the tests, if they were run.
    #[serde(skip)]
    pub digest: Option<ContentDigest>,
}

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestOutcome {
    /// Its kind and name.
    pub test: String,
    /// Whether nothing was wrong.
    pub passed: bool,
    /// Whether the test itself says that it cannot be run here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// What was wrong, or why it was skipped; empty if there is nothing to say.
    pub detail: String,
    /// How long it ran.
    pub seconds: f64,
}

impl ImageCheck {
    pub(super) fn new(label: String, content: ContentDigest, platform: &Platform) -> Self {
        Self {
            image: image_and_platform(&label).0.to_owned(),
            label,
            content: content.to_string(),
            platform: platform.to_string(),
            files: Vec::new(),
        }
    }

    /// Whether every test passed.
    pub fn passed(&self) -> bool {
        self.tests().all(|test| test.passed)
    }

    /// All tests of all files.
    pub fn tests(&self) -> impl Iterator<Item = &TestOutcome> {
        self.files.iter().flat_map(|file| &file.tests)
    }
}

impl FileCheck {
    pub(super) fn new(work: &Work) -> Self {
        Self {
            file: work.file().to_owned(),
            name: work.name().to_owned(),
            kind: work.kind(),
            reused: false,
            tests: Vec::new(),
            note: None,
            left_out: None,
            log: None,
            digest: None,
        }
    }

    /// Whether every test passed.
    pub fn passed(&self) -> bool {
        self.tests.iter().all(|test| test.passed)
    }
}

impl TestOutcome {
    pub(super) fn of_structure(result: &TestResult) -> Self {
        Self {
            test: result.title(),
            passed: result.passed(),
            skipped: false,
            detail: detail(result),
            seconds: result.duration.as_secs_f64(),
        }
    }

    pub(super) fn of_suite(run: &TestRun) -> Self {
        Self {
            test: run.test.clone(),
            passed: run.verdict != Verdict::Failed,
            skipped: run.verdict == Verdict::Skipped,
            detail: run.detail.clone(),
            seconds: run.elapsed.as_secs_f64(),
        }
    }

    /// The same as one word.
    pub fn verdict(&self) -> Verdict {
        match (self.passed, self.skipped) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::Skipped,
            (true, false) => Verdict::Passed,
        }
    }
}

fn detail(result: &TestResult) -> String {
    let mut detail: Vec<String> = result.failures.iter().map(ToString::to_string).collect();
    detail.extend(result.notes.iter().cloned());
    if !result.passed() {
        for (name, text) in [("stdout", &result.stdout), ("stderr", &result.stderr)] {
            let lines: Vec<&str> = text.trim_end().lines().collect();
            let from = lines.len().saturating_sub(OUTPUT_LINES_MAX);
            detail.extend(lines[from..].iter().map(|line| format!("{name}: {line}")));
        }
    }
    detail.join("\n")
}
