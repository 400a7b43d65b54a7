//! What a way of showing progress is.

use std::time::Duration;

use cairn_build::event::Event;

/// Shows a run. Lives on the display's thread; `now` is the time since the start of the run.
pub trait View: Send {
    /// Takes an event in. Does not draw: many events may come at once.
    fn event(&mut self, event: &Event, now: Duration);

    /// Draws. Called after events, and about ten times a second while a run lasts.
    fn tick(&mut self, now: Duration);

    /// Shows what is left and leaves the terminal in order.
    fn end(self: Box<Self>, now: Duration);
}
