//! Progress on a terminal: news scroll up once, what goes on stands below and is redrawn.

use std::io::Write;
use std::time::Duration;

use cairn_build::event::Event;

use super::live::{Size, frame};
use super::model::Model;
use super::narration::Narration;
use super::screen::Screen;
use super::view::View;
use crate::style::Line;

/// Two redraws are at least so far apart.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The live view.
pub struct Tty<W: Write> {
    screen: Screen<W>,
    /// Asked before every drawing, so a resize needs no signal.
    size: fn() -> Size,
    /// Stands where a line was cut.
    mark: &'static str,
    model: Model,
    narration: Narration,
    untold: Vec<Line>,
    drawn_at: Option<Duration>,
}

impl<W: Write> Tty<W> {
    /// Draws on `out`, a terminal of `size`.
    pub fn new(out: W, color: bool, unicode: bool, size: fn() -> Size) -> Self {
        Self {
            screen: Screen::new(out, color),
            size,
            mark: if unicode { "…" } else { "..." },
            model: Model::default(),
            narration: Narration::default(),
            untold: Vec::new(),
            drawn_at: None,
        }
    }

    /// What is to scroll up: titles of steps are cut to a row, everything else is told whole.
    fn news(&mut self, size: Size) -> Vec<Line> {
        // A line that fills the last column leaves some terminals in doubt where the cursor is.
        let columns = size.columns.saturating_sub(1).max(1);
        let untold = std::mem::take(&mut self.untold).into_iter();
        untold.map(|line| line.fit(columns, self.mark)).collect()
    }
}

impl<W: Write + Send> View for Tty<W> {
    fn event(&mut self, event: &Event, now: Duration) {
        self.model.apply(event, now);
        self.untold.extend(self.narration.lines(event, &self.model));
    }

    fn tick(&mut self, now: Duration) {
        // The first picture waits as well: a run with nothing to do shows none.
        let drawn_at = *self.drawn_at.get_or_insert(Duration::ZERO);
        if now.saturating_sub(drawn_at) < REDRAW_INTERVAL {
            return;
        }
        self.drawn_at = Some(now);
        let size = (self.size)();
        let changing = frame(&self.model, now, size, self.mark);
        let scrolled = self.news(size);
        // A terminal that went away does not stop a build.
        let _ = self.screen.update(&scrolled, &changing, size);
    }

    fn end(mut self: Box<Self>, now: Duration) {
        self.untold.extend(self.narration.end(&self.model, now));
        let size = (self.size)();
        let scrolled = self.news(size);
        let _ = self.screen.update(&scrolled, &[], size);
    }
}
