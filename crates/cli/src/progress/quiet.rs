//! No progress: only warnings.

use std::io::Write;
use std::time::Duration;

use cairn_build::event::Event;

use super::model::Model;
use super::narration::Narration;
use super::view::View;

/// The quiet view.
pub struct Quiet<W: Write> {
    out: W,
    color: bool,
    model: Model,
    narration: Narration,
}

impl<W: Write> Quiet<W> {
    /// Writes to `out`.
    pub fn new(out: W, color: bool) -> Self {
        Self {
            out,
            color,
            model: Model::default(),
            narration: Narration::default(),
        }
    }
}

impl<W: Write + Send> View for Quiet<W> {
    fn event(&mut self, event: &Event, _: Duration) {
        if let Event::Notice { warning: true, .. } = event {
            for line in self.narration.lines(event, &self.model) {
                let _ = writeln!(self.out, "{}", line.render(self.color));
            }
        }
    }

    fn tick(&mut self, _: Duration) {}

    fn end(self: Box<Self>, _: Duration) {}
}
