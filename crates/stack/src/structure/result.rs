//! What came of a test, as values.
//!
//! "The check failed" is a [`Verdict`]; "the checker failed" is a [`CheckError`], and says nothing
//! about the image.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// Longer values are cut in messages.
const SHOWN_MAX: usize = 400;

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// What kind of test it was.
    pub kind: TestKind,
    /// Its name; empty for kinds that have none.
    pub name: String,
    /// Whether the image is as the test says.
    pub verdict: Verdict,
    /// Why not.
    pub failures: Vec<Failure>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What a command wrote.
    pub stdout: String,
    /// What a command wrote to its error output.
    pub stderr: String,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
}

fn as_millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl TestResult {
    /// A result by its failures: none of them means passed.
    pub(crate) fn new(kind: TestKind, name: &str, failures: Vec<Failure>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            verdict: match failures.is_empty() {
                true => Verdict::Passed,
                false => Verdict::Failed,
            },
            failures,
            notes: Vec::new(),
            stdout: String::new(),
            stderr: String::new(),
            duration: Duration::ZERO,
        }
    }

    /// The name that container-structure-test prints: `Command Test: python runs`.
    pub fn title(&self) -> String {
        match self.name.as_str() {
            "" => self.kind.to_string(),
            name => format!("{}: {name}", self.kind),
        }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }
}

/// Whether the image is as a test says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Passed,
    /// It is not.
    Failed,
}

/// What a test looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestKind {
    /// What a command does.
    Command,
    /// Whether a file is there, and how.
    FileExistence,
    /// What is in a file.
    FileContent,
    /// The image's settings.
    Metadata,
    /// The licences of what is installed.
    License,
}

impl fmt::Display for TestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "Command Test",
            Self::FileExistence => "File Existence Test",
            Self::FileContent => "File Content Test",
            Self::Metadata => "Metadata Test",
            Self::License => "License Test",
        })
    }
}

/// One thing that is not as a test says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was looked at, as in "exit code".
    pub subject: String,
    /// What it should have been.
    pub expected: String,
    /// What it was; long values are cut.
    pub got: String,
}

impl Failure {
    pub(crate) fn new(
        subject: impl Into<String>,
        expected: impl Into<String>,
        got: impl AsRef<str>,
    ) -> Self {
        Self {
            subject: subject.into(),
            expected: expected.into(),
            got: shortened(got.as_ref()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            expected,
            got,
        } = self;
        write!(f, "{subject}: expected {expected}, got {got}")
    }
}

/// Cuts the middle out of a long text.
fn shortened(text: &str) -> String {
    let text = text.trim_end();
    let count = text.chars().count();
    if count <= SHOWN_MAX {
        return text.to_owned();
    }
    let half = SHOWN_MAX / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(count - half).collect();
    format!("{head} ... ({} characters) ... {tail}", count - 2 * half)
}

/// Why no verdict could be reached.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The image's files could not be read.
    #[error("cannot read the image's files")]
    Store(#[from] cairn_store::StoreError),
    /// The sandbox could not be made.
    #[error("cannot run the test `{test}`")]
    Sandbox {
        /// The name of the test.
        test: String,
        /// What happened.
        source: cairn_sandbox::SandboxError,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("stopped")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_in_their_middle() {
        let text = format!("{}é{}", "a".repeat(300), "b".repeat(300));
        let failure = Failure::new("stdout", "x", &text);
        assert!(failure.got.starts_with("aaa") && failure.got.ends_with("bbb"));
        assert!(failure.got.contains("(201 characters)"), "{}", failure.got);
        assert_eq!(Failure::new("s", "x", "short\n").got, "short");
    }

    #[test]
    fn results_are_stable_json() {
        let failures = vec![Failure::new("exit code", "0", "1")];
        let mut result = TestResult::new(TestKind::FileExistence, "a", failures);
        result.duration = Duration::from_millis(12);
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"kind":"file-existence","name":"a","verdict":"failed","failures":[{"subject":"exit code","expected":"0","got":"1"}],"notes":[],"stdout":"","stderr":"","duration_ms":12}"#
        );
        assert_eq!(result.title(), "File Existence Test: a");
    }
}
