//! Tests as meant: what an image must pass, where it runs, and what runs beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::settings::SuitePlace;
use crate::written::Spanned;

/// The user that stands for a number that no image knows.
pub const RANDOM_USER: &str = "random";

/// Tests that an image must pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tests {
    /// container-structure-test files, by their paths from the spec's folder; none twice.
    pub structure: Vec<Spanned<String>>,
    /// Suites in the order of their kinds; no name twice within a kind.
    pub suites: Vec<Suite>,
    /// How long one command of a structure test may take.
    pub timeout: Option<Duration>,
}

/// When a suite runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuiteKind {
    /// As soon as the image is there.
    Basic,
    /// When the basic tests of the image and of all it builds on have passed.
    Integration,
    /// When it is named.
    Workflow,
    /// Never: people do it.
    Manual,
}

/// A suite of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// When it runs.
    pub kind: SuiteKind,
    /// What it is called.
    pub name: String,
    /// Its folder or file, by its path from the spec's folder.
    pub path: Spanned<String>,
    /// Where it runs.
    pub place: SuitePlace,
    /// What is run in place of pytest; empty for pytest.
    pub command: Vec<String>,
    /// Further words for pytest.
    pub args: Vec<String>,
    /// Folders of packages that Python finds, by their paths from the spec's folder.
    pub python_path: Vec<Spanned<String>>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// What runs beside it, in the order in which it is started.
    pub services: Vec<Service>,
    /// Who runs it: a user of the image, [`RANDOM_USER`], or the image's own user if absent.
    pub user: Option<String>,
    /// Whether the image's files are read-only.
    pub read_only: bool,
    /// Whether it needs a GPU.
    pub gpu: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// Something that runs beside a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What it is called.
    pub name: String,
    /// The image of the stack that it runs in; the one under test if absent.
    pub image: Option<Spanned<String>>,
    /// What it runs; what its image is made to run if empty.
    pub command: Vec<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// The port that is listened on when it is ready.
    pub port: Option<u16>,
    /// What it has printed when it is ready.
    pub log: Option<String>,
    /// A command that ends with 0 when it is ready; none if empty.
    pub ready: Vec<String>,
    /// How long it may take to be ready.
    pub timeout: Duration,
}

impl SuiteKind {
    /// The key of `tests` that suites of this kind stand under.
    pub fn key(self) -> &'static str {
        match self {
            Self::Basic => "pytest",
            Self::Integration => "integration",
            Self::Workflow => "workflow",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for SuiteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            other => other.key(),
        })
    }
}
