//! Progress of a run: one thread owns what is shown, events reach it through a channel.
//!
//! ```text
//! engine threads --emit--> channel --> display thread: View (tty | plain | json | quiet)
//! ```
//!
//! - [`model`]: the state of a run, pure; [`narration`]: what is said once; [`live`]: what stands
//!   at the bottom of a terminal; [`screen`]: how both get there.
//! - [`view`]: what a way of showing is; [`tty`], [`plain`], [`json`], [`quiet`]: one file each.
//! - [`step_log`]: the output of a step, kept until it is its turn to be shown.

mod json;
mod live;
mod model;
mod narration;
mod plain;
mod quiet;
mod screen;
mod step_log;
mod tty;
mod view;
#[cfg(test)]
mod view_tests;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_build::event::{Event, EventSink};

pub use narration::count;
use view::View;

use crate::printer::Printer;
use crate::settings::{ProgressChoice, Settings};

/// A view looks at the clock this often when no event comes.
const TICK: Duration = Duration::from_millis(100);
/// Events of a fast run are drawn in batches of at most so many.
const BATCH_MAX: usize = 1024;
/// So many events may wait; then the engine does, which bounds memory when a step floods us.
const QUEUE_MAX: usize = 4096;

/// A display that shows a run until it is finished or dropped.
pub struct Progress {
    sender: Option<SyncSender<Event>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts showing. From here to [`Progress::finish`] nobody else writes to standard error.
    pub fn start(choice: ProgressChoice, settings: &Settings, printer: &mut Printer) -> Self {
        let color = settings.color_stderr;
        let view: Box<dyn View> = match settings.progress(choice) {
            ProgressChoice::Tty => Box::new(tty::Tty::new(
                io::stderr(),
                color,
                settings.unicode,
                terminal_size,
            )),
            ProgressChoice::Json => {
                printer.speak_json_events();
                Box::new(json::Json::new(io::BufWriter::new(io::stderr())))
            }
            ProgressChoice::Quiet => Box::new(quiet::Quiet::new(io::stderr(), color)),
            ProgressChoice::Plain | ProgressChoice::Auto => Box::new(plain::Plain::new(
                io::stderr(),
                color,
                settings.temporary_dir(),
            )),
        };
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || show(view, &receiver));
        Self {
            sender: Some(sender),
            // Without a thread a run goes on unseen: its result is worth more than its picture.
            thread: thread.ok(),
        }
    }

    /// Shows what is left. Afterwards standard error is free for others.
    pub fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A display that died has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    /// Leaves the terminal in order, also when the run ends by an error or a panic.
    fn drop(&mut self) {
        self.stop();
    }
}

impl EventSink for Progress {
    fn emit(&self, event: Event) {
        if let Some(sender) = &self.sender {
            // A display that died is no reason to stop a build.
            let _ = sender.send(event);
        }
    }
}

/// The display's thread.
fn show(mut view: Box<dyn View>, events: &Receiver<Event>) {
    let start = Instant::now();
    loop {
        match events.recv_timeout(TICK) {
            Ok(event) => {
                view.event(&event, start.elapsed());
                for event in events.try_iter().take(BATCH_MAX) {
                    view.event(&event, start.elapsed());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return view.end(start.elapsed()),
        }
        view.tick(start.elapsed());
    }
}

/// Gives the size of the terminal on standard error, or a usual one.
fn terminal_size() -> live::Size {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    let (columns, rows) = size.map_or((0, 0), |size| (size.ws_col, size.ws_row));
    live::Size {
        columns: if columns == 0 { 80 } else { columns.into() },
        rows: if rows == 0 { 24 } else { rows.into() },
    }
}
