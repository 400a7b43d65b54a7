//! Progress as lines, for a pipe, a CI log, a dumb terminal.
//!
//! ```text
//! #3 runtime 2/3  RUN pip install -r requirements.txt
//! #3 0.412 Collecting numpy==1.26.4
//! #3 DONE 12.3s
//!   Cached        base  4 steps
//! ```
//!
//! Lines of parallel steps do not interleave. One step is *in front* and its lines come out as
//! they are printed; the others' lines and all other news wait until the front step ends. So that
//! nobody waits long, two rules break in: news older than [`NEWS_WAIT_MAX`] come out as whole
//! blocks between the front step's lines, and a front step that is silent for [`SILENCE_MAX`]
//! gives way to one that has something to say. Where nothing at all was printed for
//! [`HEARTBEAT`], a line tells what runs: some CI systems end a job that says nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_build::event::{Event, Outcome, VertexId};

use super::model::Model;
use super::narration::Narration;
use super::step_log::StepLog;
use super::view::View;
use crate::quantity;
use crate::sanitize;
use crate::style::{Line, Tone};

/// News wait no longer than this for the front step to end.
const NEWS_WAIT_MAX: Duration = Duration::from_secs(5);
/// A front step that was silent for so long gives way.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Something is printed at least this often while steps run.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The plain view.
pub struct Plain<W: Write> {
    out: W,
    color: bool,
    lines: Lines,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`. Output that has to wait and is long goes to a file in `spill`.
    pub fn new(out: W, color: bool, spill: PathBuf) -> Self {
        Self {
            out,
            color,
            lines: Lines {
                spill,
                ..Lines::default()
            },
        }
    }

    fn flush(&mut self) {
        let mut text = String::new();
        for line in self.lines.ready.drain(..) {
            text.push_str(&line.render(self.color));
            text.push('\n');
        }
        // Nobody can be told that standard error is gone.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

impl<W: Write + Send> View for Plain<W> {
    fn event(&mut self, event: &Event, now: Duration) {
        self.lines.event(event, now);
    }

    fn tick(&mut self, now: Duration) {
        self.lines.settle(now);
        self.flush();
    }

    fn end(mut self: Box<Self>, now: Duration) {
        self.lines.end(now);
        self.flush();
    }
}

/// A step that runs or whose end is not printed yet.
#[derive(Debug)]
struct Block {
    started: Duration,
    spoke: Duration,
    /// Lines that are not printed yet.
    log: StepLog,
    headed: bool,
    end: Option<String>,
}

impl Block {
    fn new(now: Duration, spill: &Path) -> Self {
        Self {
            started: now,
            spoke: now,
            log: StepLog::new(spill.to_owned()),
            headed: false,
            end: None,
        }
    }
}

/// News that wait for the front step to end.
#[derive(Debug)]
enum News {
    /// A step ended: print its block.
    Ended(VertexId),
    /// A line of its own.
    Line(Line),
}

/// Events in, lines out.
#[derive(Debug, Default)]
struct Lines {
    spill: PathBuf,
    model: Model,
    narration: Narration,
    blocks: BTreeMap<VertexId, Block>,
    front: Option<VertexId>,
    /// Whose line was printed last: another step's next line needs a heading.
    last_spoken: Option<VertexId>,
    news: VecDeque<(Duration, News)>,
    printed_at: Duration,
    ready: Vec<Line>,
}

impl Lines {
    fn event(&mut self, event: &Event, now: Duration) {
        self.model.apply(event, now);
        match event {
            Event::Started { vertex } => {
                self.narrate(event, now);
                self.blocks.insert(*vertex, Block::new(now, &self.spill));
            }
            Event::Output { vertex, line, .. } => self.output(*vertex, line, now),
            // Cache hits are folded, as in the live view.
            Event::Finished {
                vertex,
                outcome: Outcome::Cached,
                ..
            } => {
                self.blocks.remove(vertex);
                self.narrate(event, now);
            }
            Event::Finished {
                vertex,
                outcome,
                elapsed,
            } => self.finished(*vertex, outcome, *elapsed, now),
            _ => self.narrate(event, now),
        }
        self.settle(now);
    }

    fn narrate(&mut self, event: &Event, now: Duration) {
        let lines = self.narration.lines(event, &self.model);
        self.news
            .extend(lines.into_iter().map(|line| (now, News::Line(line))));
    }

    fn output(&mut self, vertex: VertexId, line: &str, now: Duration) {
        let Some(block) = self.blocks.get_mut(&vertex) else {
            return;
        };
        let line = sanitize::output_line(line);
        block.log.push(now.saturating_sub(block.started), &line);
        block.spoke = now;
    }

    fn finished(&mut self, vertex: VertexId, outcome: &Outcome, elapsed: Duration, now: Duration) {
        let time = quantity::duration(elapsed);
        let end = match outcome {
            Outcome::Done { unchanged: false } => format!("DONE {time}"),
            Outcome::Done { unchanged: true } => format!("DONE {time}, same content as before"),
            // Why is told with the place in the Dockerfile, when the run is over.
            Outcome::Failed { .. } => format!("FAILED {time}"),
            // Told with the image that is ready or given up.
            Outcome::Cached | Outcome::Skipped { .. } => return,
        };
        let new = || Block::new(now, &self.spill);
        let block = self.blocks.entry(vertex).or_insert_with(new);
        block.end = Some(end);
        if self.front != Some(vertex) {
            self.news.push_back((now, News::Ended(vertex)));
        }
    }

    /// Brings out what may come out now.
    fn settle(&mut self, now: Duration) {
        let before = self.ready.len();
        if let Some(front) = self.front {
            self.speak(front);
            if !self.blocks.contains_key(&front) {
                self.front = None;
            }
        }
        let waited_long = self
            .news
            .front()
            .is_some_and(|(since, _)| now.saturating_sub(*since) >= NEWS_WAIT_MAX);
        if self.front.is_none() || waited_long {
            self.tell_news();
        }
        self.choose_front(now);
        if self.ready.len() > before {
            self.printed_at = now;
        } else if now.saturating_sub(self.printed_at) >= HEARTBEAT {
            self.heartbeat(now);
        }
    }

    fn tell_news(&mut self) {
        while let Some((_, news)) = self.news.pop_front() {
            match news {
                News::Ended(vertex) => self.speak(vertex),
                News::Line(line) => {
                    self.ready.push(line);
                    self.last_spoken = None;
                }
            }
        }
    }

    /// Puts the step in front that has run longest, or instead of a silent one the one with
    /// something to say.
    fn choose_front(&mut self, now: Duration) {
        let running = || self.blocks.iter().filter(|(_, block)| block.end.is_none());
        let silent = match self.front.and_then(|front| self.blocks.get(&front)) {
            None => true,
            Some(block) => now.saturating_sub(block.spoke) >= SILENCE_MAX,
        };
        if !silent {
            return;
        }
        let by_start = |(_, block): &(&VertexId, &Block)| block.started;
        let next = match self.front {
            None => running().min_by_key(by_start),
            Some(_) => running()
                .filter(|(_, block)| !block.log.is_empty())
                .min_by_key(by_start),
        };
        if let Some(next) = next.map(|(vertex, _)| *vertex) {
            self.front = Some(next);
            self.speak(next);
        }
    }

    /// Prints what a step has to say: heading, lines, end. A step that ended is forgotten.
    fn speak(&mut self, vertex: VertexId) {
        let Some(mut block) = self.blocks.remove(&vertex) else {
            return;
        };
        let Some(step) = self.model.step(vertex) else {
            return;
        };
        let number = vertex.0;
        let text = |text: String| Line::new(Tone::Plain, text);
        let heading = format!("#{number} {}  {}", step.label, step.title);
        if let Some(end) = &block.end
            && !block.headed
            && block.log.is_empty()
        {
            self.ready.push(text(format!("{heading}  {end}")));
            self.last_spoken = None;
            return;
        }
        if block.headed && block.log.is_empty() && block.end.is_none() {
            self.blocks.insert(vertex, block);
            return;
        }
        if !block.headed {
            self.ready.push(text(heading));
            block.headed = true;
        } else if self.last_spoken != Some(vertex) {
            self.ready
                .push(text(format!("#{number} {}  (continued)", step.label)));
        }
        self.last_spoken = Some(vertex);
        let lost = block.log.lines_lost();
        let ready = &mut self.ready;
        let read = block.log.for_each_from(0, &mut |at, line| {
            let line = format!("#{number} {:.3} {line}", at.as_secs_f64());
            ready.push(text(line));
        });
        if read.is_err() || lost > 0 {
            let missing = "some lines could not be kept; the store's log has them";
            self.ready.push(text(format!("#{number} ... {missing}")));
        }
        block.log.clear();
        match &block.end {
            Some(end) => {
                self.ready.push(text(format!("#{number} {end}")));
                self.last_spoken = None;
            }
            None => {
                self.blocks.insert(vertex, block);
            }
        }
    }

    fn heartbeat(&mut self, now: Duration) {
        let running: Vec<String> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.end.is_none())
            .filter_map(|(vertex, block)| {
                let step = self.model.step(*vertex)?;
                let time = quantity::duration(now.saturating_sub(block.started));
                Some(format!("#{} {} ({time})", vertex.0, step.label))
            })
            .chain(self.model.suites().iter().map(|suite| {
                let time = quantity::duration(now.saturating_sub(suite.since));
                let doing = match suite.doing.as_str() {
                    "" => String::new(),
                    doing => format!(": {doing}"),
                };
                format!("{} {} ({time}{doing})", suite.image, suite.title)
            }))
            .collect();
        self.printed_at = now;
        if running.is_empty() {
            return;
        }
        let time = quantity::duration(now);
        let line = format!("... {time}: running {}", running.join(", "));
        self.ready.push(Line::new(Tone::Dim, line));
        self.last_spoken = None;
    }

    fn end(&mut self, now: Duration) {
        self.settle(now);
        // A run that was stopped has steps without an end: what they said still counts.
        for vertex in self.blocks.keys().copied().collect::<Vec<_>>() {
            self.speak(vertex);
        }
        self.front = None;
        self.tell_news();
        let sum = self.narration.end(&self.model, now);
        self.ready.extend(sum);
    }
}
