//! What is said about a run once and for all: the lines that scroll up in the live view.
//!
//! Each line begins with a verb in a fixed column, then a duration, then what it is about:
//!
//! ```text
//!   Cached        base  4 steps
//!     Done  12.3s runtime 2/3  RUN pip install -r requirements.txt
//!   Failed   3.2s model:cloud 5/6  RUN make test
//!    Built        runtime  sha256:0123456789ab
//!   Passed   0.1s model:cloud  python imports numpy
//! ```
//!
//! Why a step failed is told once, with its place, when the run is over. Cache hits are folded: one
//! line per image and stretch of hits, at the moment something else happens to the image.

use std::collections::HashMap;
use std::time::Duration;

use cairn_build::event::{Event, Outcome, Verdict};

use super::model::{Model, Step, Totals};
use crate::quantity;
use crate::sanitize;
use crate::style::{Line, Tone};

/// Width of the column of verbs.
const VERB_CELLS: usize = 9;
/// Width of the column of durations, with its blank.
const TIME_CELLS: usize = 8;
/// Steps that ran shorter than this show no time: it would be noise.
const TIME_SHOWN_MIN: Duration = Duration::from_millis(50);
/// A digest is shown to so many digits.
const DIGEST_DIGITS: usize = 12;

/// Turns events into lines. Reads the model after the event went into it.
#[derive(Debug, Default)]
pub struct Narration {
    /// Cache hits not told yet, per image number of the model.
    cached_untold: HashMap<usize, usize>,
}

impl Narration {
    /// The lines to say about an event.
    pub fn lines(&mut self, event: &Event, model: &Model) -> Vec<Line> {
        match event {
            Event::Finished {
                vertex,
                outcome,
                elapsed,
            } => match model.step(*vertex) {
                Some(step) => self.finished(step, outcome, *elapsed, model),
                None => Vec::new(),
            },
            Event::ImageReady { image, id, cached } => {
                self.ready(image, id.as_deref(), *cached, model)
            }
            Event::ImageFailed { image, reason } => self.given_up(image, reason, model),
            Event::Test {
                image,
                test,
                verdict,
                detail,
                elapsed,
            } => tested(image, test, *verdict, detail, *elapsed),
            Event::Suite {
                image,
                suite,
                doing,
                is_over,
            } => match doing.is_empty() && !is_over {
                true => vec![
                    headed("Testing", Tone::Busy, None, &sanitize::name(image))
                        .with(Tone::Plain, format!("  {}", sanitize::name(suite))),
                ],
                false => Vec::new(),
            },
            Event::Notice { warning, text } => notice(*warning, text),
            Event::Started { vertex } => match model.step(*vertex) {
                Some(step) => self.tell_cached(step.image, model).into_iter().collect(),
                None => Vec::new(),
            },
            Event::Planned { .. } | Event::Output { .. } | Event::Progress { .. } => Vec::new(),
        }
    }

    /// The lines that end the run: what was folded and not told, and the sum.
    pub fn end(&mut self, model: &Model, elapsed: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        for image in 0..model.images().len() {
            lines.extend(self.tell_cached(image, model));
        }
        for image in model.images().iter().filter(|image| image.tests_reused > 0) {
            let tests = count(image.tests_reused, "test");
            let line = headed("Passed", Tone::Good, None, &image.name);
            lines.push(line.with(Tone::Dim, format!("  {tests} before, on the same bytes")));
        }
        lines.extend(sum(&model.totals(), elapsed));
        lines
    }

    fn finished(
        &mut self,
        step: &Step,
        outcome: &Outcome,
        elapsed: Duration,
        model: &Model,
    ) -> Vec<Line> {
        let (verb, tone, remark) = match outcome {
            Outcome::Cached => {
                *self.cached_untold.entry(step.image).or_default() += 1;
                return Vec::new();
            }
            // Skipped steps are told with their image.
            Outcome::Skipped { .. } => return Vec::new(),
            Outcome::Done { unchanged: true } => {
                ("Done", Tone::Good, " (same content as before)".to_owned())
            }
            Outcome::Done { unchanged: false } => ("Done", Tone::Good, String::new()),
            Outcome::Failed { .. } => ("Failed", Tone::Bad, String::new()),
        };
        let mut lines: Vec<Line> = self.tell_cached(step.image, model).into_iter().collect();
        let line = headed(verb, tone, Some(elapsed), &step.label);
        lines.push(
            line.with(Tone::Plain, "  ")
                .with_soft(Tone::Plain, &step.title)
                .with(Tone::Dim, remark),
        );
        lines
    }

    fn ready(&mut self, image: &str, id: Option<&str>, cached: bool, model: &Model) -> Vec<Line> {
        let number = model.image_number_of(image);
        let mut lines = Vec::new();
        let name = sanitize::name(image);
        let id = id.map_or_else(String::new, |id| format!("  {}", short_digest(id)));
        if cached {
            let hits = number.and_then(|number| self.cached_untold.remove(&number));
            let steps = hits.map_or_else(String::new, |hits| format!("  {}", count(hits, "step")));
            let line = headed("Cached", Tone::Busy, None, &name).with(Tone::Plain, steps);
            lines.push(line.with(Tone::Dim, id));
            return lines;
        }
        lines.extend(number.and_then(|number| self.tell_cached(number, model)));
        let line = headed("Built", Tone::Good, None, &name);
        lines.push(line.with(Tone::Dim, id));
        lines
    }

    fn given_up(&mut self, image: &str, reason: &str, model: &Model) -> Vec<Line> {
        let number = model.image_number_of(image);
        let has_failed_step = number.is_some_and(|at| model.images()[at].has_failed_step);
        let name = sanitize::name(image);
        if has_failed_step {
            return vec![headed("Failed", Tone::Bad, None, &name)];
        }
        let line = headed("Skipped", Tone::Warn, None, &name);
        vec![line.with(Tone::Plain, format!("  {}", sanitize::name(reason)))]
    }

    /// Says how many steps of an image were found in the store, if that was not said yet.
    fn tell_cached(&mut self, image: usize, model: &Model) -> Option<Line> {
        let hits = self.cached_untold.remove(&image)?;
        let line = headed("Cached", Tone::Busy, None, &model.images()[image].name);
        Some(line.with(Tone::Plain, format!("  {}", count(hits, "step"))))
    }
}

fn tested(image: &str, test: &str, verdict: Verdict, detail: &str, elapsed: Duration) -> Vec<Line> {
    let (verb, tone) = match verdict {
        // Told once per image at the end.
        Verdict::Reused => return Vec::new(),
        Verdict::Passed => ("Passed", Tone::Good),
        Verdict::Failed => ("Failed", Tone::Bad),
        Verdict::Skipped => ("Skipped", Tone::Warn),
    };
    let line = headed(verb, tone, Some(elapsed), &sanitize::name(image));
    let mut lines = vec![line.with(Tone::Plain, format!("  {}", sanitize::name(test)))];
    for text in sanitize::text(detail).lines() {
        let indent = " ".repeat(VERB_CELLS + TIME_CELLS);
        lines.push(Line::new(Tone::Dim, format!("{indent}{text}")));
    }
    lines
}

fn notice(warning: bool, text: &str) -> Vec<Line> {
    let (word, tone) = match warning {
        true => ("warning", Tone::Warn),
        false => ("note", Tone::Strong),
    };
    let text = sanitize::text(text);
    let mut parts = text.lines();
    let first =
        Line::new(tone, word).with(Tone::Plain, format!(": {}", parts.next().unwrap_or("")));
    std::iter::once(first)
        .chain(parts.map(|part| Line::new(Tone::Plain, part)))
        .collect()
}

fn sum(totals: &Totals, elapsed: Duration) -> Option<Line> {
    let built = [
        (totals.images_built, "built"),
        (totals.images_cached, "cached"),
        (totals.images_failed, "failed"),
        (totals.images_skipped, "skipped"),
    ];
    let steps = [
        (totals.steps_ran, "ran"),
        (totals.steps_cached, "cached"),
        (totals.steps_failed, "failed"),
        (totals.steps_skipped, "skipped"),
    ];
    let tests = [
        (totals.tests_passed, "passed"),
        (totals.tests_failed, "failed"),
        (totals.tests_skipped, "skipped"),
    ];
    let parts: Vec<String> = [("images", &built[..]), ("steps", &steps), ("tests", &tests)]
        .into_iter()
        .filter_map(|(what, numbers)| {
            let said: Vec<String> = numbers
                .iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, word)| format!("{number} {word}"))
                .collect();
            (!said.is_empty()).then(|| format!("{what}: {}", said.join(", ")))
        })
        .collect();
    if parts.is_empty() {
        return None;
    }
    let failed = totals.images_failed + totals.steps_failed + totals.tests_failed > 0;
    let (verb, tone) = match failed {
        true => ("Failed", Tone::Bad),
        false => ("Finished", Tone::Good),
    };
    let time = format!("{:>7} ", quantity::duration(elapsed));
    let line = Line::new(tone, format!("{verb:>VERB_CELLS$}")).with(Tone::Dim, time);
    Some(line.with(Tone::Plain, parts.join("; ")))
}

/// The start of a line: verb, duration, subject.
pub fn headed(verb: &str, tone: Tone, elapsed: Option<Duration>, subject: &str) -> Line {
    let time = elapsed
        .filter(|elapsed| *elapsed >= TIME_SHOWN_MIN)
        .map(quantity::duration)
        .unwrap_or_default();
    Line::new(tone, format!("{verb:>VERB_CELLS$}"))
        .with(Tone::Dim, format!("{time:>7} "))
        .with(Tone::Strong, subject)
}

/// `3 steps`, `1 step`.
pub fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix("ry")) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ries"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// The start of a digest, long enough to tell it from others.
pub fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) if hex.is_ascii() => {
            format!("{algorithm}:{}", &hex[..hex.len().min(DIGEST_DIGITS)])
        }
        _ => digest
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(DIGEST_DIGITS)
            .collect(),
    }
}
