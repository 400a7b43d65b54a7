//! The part of the live view that changes: what runs now, what waits, how far the run is.
//!
//! ```text
//!  Running  12.3s runtime 2/3  RUN pip install -r requirements.txt
//!                 | Collecting numpy==1.26.4
//!  Running   0.8s tools 4/4  RUN make
//!                 | cc -O2 -c main.c
//!  Waiting        model:local, model:cloud
//! Building  14.2s 12 of 31 steps, 7 cached, 2 running
//! ```
//!
//! A suite of tests that runs stands below the steps, with the test that runs or the line that it
//! printed last.
//!
//! Steps stand in graph order and keep their place while they run. What does not fit is left out
//! in this order: last lines, waiting images, running steps (counted as `+2 more`).

use std::time::Duration;

use super::model::{Model, Step, StepState};
use super::narration::{count, headed};
use crate::quantity;
use crate::style::{Line, Tone};

/// The view takes at most so many rows, however high the terminal is: calm beats complete.
const ROWS_MAX: usize = 16;
/// Blanks before a step's last line: it stands below the step's label.
const INDENT: &str = "                 ";

/// The size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// Draws the changing part for a terminal of this size. `mark` stands where a line was cut.
pub fn frame(model: &Model, now: Duration, size: Size, mark: &str) -> Vec<Line> {
    // One row stays free for the cursor, and one so that what scrolled up last can be seen.
    let rows = size.rows.saturating_sub(2).clamp(1, ROWS_MAX);
    // A line that fills the last column leaves some terminals in doubt where the cursor is.
    let columns = size.columns.saturating_sub(1).max(1);
    let status = status(model, now);
    let mut lines = Vec::new();
    if rows > 1 {
        lines = body(model, now, rows - 1);
    }
    lines.push(status);
    lines.iter().map(|line| line.cut(columns, mark)).collect()
}

fn body(model: &Model, now: Duration, rows: usize) -> Vec<Line> {
    let running: Vec<&Step> = model.running().collect();
    let waiting = waiting(model);
    let shown = match running.len() {
        all if all <= rows => all,
        _ => rows - 1,
    };
    let rows_after_steps = rows - shown - usize::from(shown < running.len());
    let waiting = waiting.filter(|_| rows_after_steps > 0);
    let mut details_left = rows_after_steps - usize::from(waiting.is_some());
    let mut lines = Vec::new();
    for step in &running[..shown] {
        let StepState::Running { since, last_line } = &step.state else {
            continue;
        };
        let elapsed = Some(now.saturating_sub(*since));
        let line = headed("Running", Tone::Busy, elapsed, &step.label);
        lines.push(line.with(Tone::Plain, format!("  {}", step.title)));
        if details_left > 0 && !last_line.is_empty() {
            details_left -= 1;
            lines.push(Line::new(Tone::Dim, format!("{INDENT}| {last_line}")));
        }
    }
    if shown < running.len() {
        let more = running.len() - shown;
        lines.push(Line::new(
            Tone::Dim,
            format!("{INDENT}+{more} more running"),
        ));
    }
    for suite in model.suites().iter().take(details_left.div_ceil(2)) {
        let elapsed = Some(now.saturating_sub(suite.since));
        let line = headed("Testing", Tone::Busy, elapsed, &suite.image);
        lines.push(line.with(Tone::Plain, format!("  {}", suite.title)));
        if details_left > 1 && !suite.doing.is_empty() {
            details_left -= 1;
            let doing = &suite.doing;
            lines.push(Line::new(Tone::Dim, format!("{INDENT}| {doing}")));
        }
        details_left = details_left.saturating_sub(1);
    }
    lines.extend(waiting);
    lines
}

/// The images of which nothing has run yet, on one line.
fn waiting(model: &Model) -> Option<Line> {
    let mut busy = vec![false; model.images().len()];
    for step in model.running() {
        busy[step.image] = true;
    }
    let names: Vec<&str> = model
        .images()
        .iter()
        .zip(busy)
        .filter(|(image, busy)| !busy && !image.is_over && image.steps_over < image.steps)
        .map(|(image, _)| image.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    Some(headed("Waiting", Tone::Dim, None, "").with(Tone::Dim, names.join(", ")))
}

fn status(model: &Model, now: Duration) -> Line {
    let totals = model.totals();
    let running = model.running().count();
    let tests = totals.tests_passed + totals.tests_failed + totals.tests_skipped;
    let mut parts = Vec::new();
    if totals.steps == 0 {
        parts.push("reading the stack".to_owned());
    } else {
        let steps = count(totals.steps, "step");
        parts.push(format!("{} of {steps}", totals.steps_over()));
    }
    for (number, word) in [
        (totals.steps_cached, "cached"),
        (running, "running"),
        (totals.steps_failed, "failed"),
        (totals.tests_passed, "tests passed"),
        (totals.tests_failed, "tests failed"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let verb = match totals.steps {
        0 => "Planning",
        steps if totals.steps_over() < steps => "Building",
        _ if tests > 0 => "Testing",
        _ => "Finishing",
    };
    let time = format!("{:>7} ", quantity::duration(now));
    Line::new(Tone::Strong, format!("{verb:>9}"))
        .with(Tone::Dim, time)
        .with(Tone::Plain, parts.join(", "))
}
