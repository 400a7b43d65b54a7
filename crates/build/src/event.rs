//! What happens during a run, as a stream of values.
//!
//! The engine and the stack send [`Event`]s to one [`EventSink`]; the terminal, JSON lines, the
//! history and the step logs are readers of it. Nothing flows back: a reader cannot change a run.

use std::time::Duration;

use serde::Serialize;

/// Names a vertex within one run; small and dense, in topological order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VertexId(pub u32);

/// What a reader needs to know of a vertex to show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VertexInfo {
    /// Its name in later events.
    pub id: VertexId,
    /// The image it is built for; of several that share it, the first in graph order.
    pub image: String,
    /// The stage's name or number; empty where there is only one.
    pub stage: String,
    /// Its number among the stage's steps, from 1, and how many there are: `3/7`.
    pub step: (u32, u32),
    /// The instruction as people wrote it, on one line.
    pub title: String,
    /// The file the instruction stands in and its line, from 1.
    pub place: Option<(String, usize)>,
    /// The vertices it needs first.
    pub inputs: Vec<VertexId>,
}

/// How a vertex ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its result was in the store.
    Cached,
    /// It ran.
    Done {
        /// It ran, and its content equals an earlier result: what follows stays cached.
        unchanged: bool,
    },
    /// It ran and failed.
    Failed {
        /// One line that says why.
        reason: String,
    },
    /// It never ran: something it needs failed, or the run was stopped.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// Which of a process's two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It did not.
    Failed,
    /// Its verdict on this very image and test is known from an earlier run.
    Reused,
    /// It was left out, with a reason in the detail.
    Skipped,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The graph is known. Sent once, before any vertex starts.
    Planned {
        /// Every vertex of the run, in topological order.
        vertices: Vec<VertexInfo>,
    },
    /// A vertex runs now.
    Started {
        /// Which.
        vertex: VertexId,
    },
    /// A line that a vertex's process printed, without its line end.
    Output {
        /// Which.
        vertex: VertexId,
        /// On which of its outputs.
        stream: Stream,
        /// The line. Bytes that are not UTF-8 were replaced; secrets are masked.
        line: String,
    },
    /// How far a vertex is.
    Progress {
        /// Which.
        vertex: VertexId,
        /// What is being counted: `packages`, `bytes`, `files`.
        unit: &'static str,
        /// So many are done.
        done: u64,
        /// Of so many, if that is known.
        total: Option<u64>,
    },
    /// A vertex ended.
    Finished {
        /// Which.
        vertex: VertexId,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// How long it ran. Zero for a cached one.
        elapsed: Duration,
    },
    /// All vertices of an image are there and it was assembled.
    ImageReady {
        /// The image's name in the stack, with its variant (`model:cloud`), or its first tag.
        image: String,
        /// Its id, see [`crate::image::id`]; absent where nobody knows what is in all its layers.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Whether anything ran for it.
        cached: bool,
    },
    /// An image will not be there.
    ImageFailed {
        /// Which.
        image: String,
        /// One line that says why.
        reason: String,
    },
    /// A suite of tests of an image began, does something, or is over.
    Suite {
        /// The image.
        image: String,
        /// What the suite is called.
        suite: String,
        /// The test that runs, or the last line that was printed; empty before the first.
        doing: String,
        /// Whether it has ended.
        is_over: bool,
    },
    /// A test of an image ended.
    Test {
        /// The image.
        image: String,
        /// The test's name.
        test: String,
        /// How it ended.
        verdict: Verdict,
        /// What was wrong or why it was left out; empty where nothing needs saying.
        detail: String,
        /// How long it ran.
        elapsed: Duration,
    },
    /// Something people should know that belongs to no vertex.
    Notice {
        /// A warning rather than a remark.
        warning: bool,
        /// The whole text; may have several lines.
        text: String,
    },
}

/// Where events go. Called from many threads.
pub trait EventSink: Sync {
    /// Takes an event. Must not block for long: the engine waits.
    fn emit(&self, event: Event);
}

/// Drops everything.
#[derive(Debug, Clone, Copy)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _: Event) {}
}
