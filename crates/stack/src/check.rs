//! Tests of built images, with evidence: what passed on this very image is not run again.
//!
//! Evidence belongs to the pair of an image's content and a test file's digest. A new commit, a
//! new tag or another packing changes neither; a changed test runs again without a rebuild
//! (DH-65). Only a pass is kept: what failed is tried again.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_build::event::{Event, EventSink, Verdict};
use cairn_build::image::ImageRecord;
use cairn_diagnostic::{Diagnostic, Source};
use cairn_sandbox::Cancel;
use cairn_spec::ImageId;
use cairn_store::{CacheKey, CacheRecord, ContentDigest, KeyHasher, Store, StoreError};
use serde::Serialize;

use crate::load::LoadedStack;
use crate::structure::{self, CheckError, Conditions, Subject, TestFile, TestResult};

/// Changes when an equal test would be judged differently.
const FORMAT: &str = "1";
/// So many of the last lines that a failed command printed are told.
const OUTPUT_LINES_MAX: usize = 10;

/// What testing one image came to.
#[derive(Debug, Clone, Serialize)]
pub struct ImageCheck {
    /// The image.
    pub image: String,
    /// Its test files.
    pub files: Vec<FileCheck>,
}

/// What came of one test file.
#[derive(Debug, Clone, Serialize)]
pub struct FileCheck {
    /// The file, as the spec names it.
    pub file: String,
    /// Whether the results are those of an earlier run.
    pub reused: bool,
    /// One result for each test.
    pub tests: Vec<TestOutcome>,
}

/// What came of one test.
#[derive(Debug, Clone, Serialize)]
pub struct TestOutcome {
    /// Its kind and name.
    pub test: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was wrong; empty if nothing was.
    pub detail: String,
    /// How long it ran.
    pub seconds: f64,
}

impl ImageCheck {
    /// Whether every test passed.
    pub fn passed(&self) -> bool {
        self.tests().all(|test| test.passed)
    }

    /// All tests of all files.
    pub fn tests(&self) -> impl Iterator<Item = &TestOutcome> {
        self.files.iter().flat_map(|file| &file.tests)
    }
}

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
    /// Who is told.
    pub events: &'a dyn EventSink,
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// Whether evidence of earlier runs counts.
    pub use_evidence: bool,
}

impl Checker<'_> {
    /// Runs the structure tests of an image.
    pub fn check(&self, id: ImageId, record: &ImageRecord) -> Result<ImageCheck, TestError> {
        let image = &self.loaded.stack[id];
        let name = image.name.to_string();
        let mut files = Vec::new();
        for path in &image.tests.structure {
            let file = self.read(&path.value)?;
            files.push(self.file(&name, &path.value, &file, record)?);
        }
        Ok(ImageCheck { image: name, files })
    }

    fn read(&self, name: &str) -> Result<TestFile, TestError> {
        let path = self.loaded.directory.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(TestError::Read { path, source }),
        };
        let source = Source::new(path.display().to_string(), text);
        let parsed = structure::parse(&source).map_err(TestError::Findings)?;
        for warning in &parsed.warnings {
            let text = cairn_diagnostic::render(warning);
            self.events.emit(Event::Notice {
                warning: true,
                text,
            });
        }
        Ok(parsed.file)
    }

    fn file(
        &self,
        image: &str,
        name: &str,
        file: &TestFile,
        record: &ImageRecord,
    ) -> Result<FileCheck, TestError> {
        let key = evidence_key(record, structure::digest(file, &self.conditions.folder));
        let repeatable = structure::is_repeatable(file);
        if self.use_evidence
            && repeatable
            && let Some(evidence) = self.store.get_record(&key)
        {
            return Ok(self.reuse(image, name, &evidence));
        }
        let started = Instant::now();
        let snapshots = record.snapshots();
        let subject = Subject {
            store: self.store,
            snapshots: &snapshots,
            config: &record.config,
        };
        let results =
            structure::evaluate(file, &subject, self.conditions, self.cancel, &|result| {
                self.tell(image, result)
            })?;
        if repeatable && results.iter().all(TestResult::passed) {
            self.keep(&key, name, &results, record.content(), started.elapsed())?;
        }
        let tests = results.iter().map(outcome).collect();
        Ok(FileCheck {
            file: name.to_owned(),
            reused: false,
            tests,
        })
    }

    fn tell(&self, image: &str, result: &TestResult) {
        let verdict = if result.passed() {
            Verdict::Passed
        } else {
            Verdict::Failed
        };
        self.events.emit(Event::Test {
            image: image.to_owned(),
            test: result.title(),
            verdict,
            detail: detail(result),
            elapsed: result.duration,
        });
    }

    fn keep(
        &self,
        key: &CacheKey,
        name: &str,
        results: &[TestResult],
        content: ContentDigest,
        elapsed: Duration,
    ) -> Result<(), StoreError> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.store.put_record(&CacheRecord {
            key: *key,
            snapshot: None,
            content,
            created: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            cost_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            description: format!("tests of {name}"),
            inputs: results
                .iter()
                .map(|result| (result.title(), "passed".to_owned()))
                .collect(),
        })
    }

    fn reuse(&self, image: &str, name: &str, evidence: &CacheRecord) -> FileCheck {
        let tests = evidence.inputs.iter().map(|(test, _)| {
            self.events.emit(Event::Test {
                image: image.to_owned(),
                test: test.clone(),
                verdict: Verdict::Reused,
                detail: String::new(),
                elapsed: Duration::ZERO,
            });
            TestOutcome {
                test: test.clone(),
                passed: true,
                detail: String::new(),
                seconds: 0.0,
            }
        });
        FileCheck {
            file: name.to_owned(),
            reused: true,
            tests: tests.collect(),
        }
    }
}

fn evidence_key(record: &ImageRecord, test: ContentDigest) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn evidence");
    hasher.field("format", FORMAT.as_bytes());
    hasher.field("image", record.content().as_bytes());
    hasher.field("test", test.as_bytes());
    hasher.finish_key()
}

fn outcome(result: &TestResult) -> TestOutcome {
    TestOutcome {
        test: result.title(),
        passed: result.passed(),
        detail: detail(result),
        seconds: result.duration.as_secs_f64(),
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
