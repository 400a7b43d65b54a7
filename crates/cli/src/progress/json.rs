//! Progress for programs: one JSON object per event and line, on standard error.
//!
//! Each object has `event`, the fields of that event (`cairn_build::event`), and `time`: seconds
//! since the start of the run. Durations are seconds, too.

use std::io::Write;
use std::time::Duration;

use cairn_build::event::Event;
use serde_json::{Map, Value};

use super::view::View;

/// The JSON view.
pub struct Json<W: Write> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> View for Json<W> {
    fn event(&mut self, event: &Event, now: Duration) {
        let mut line = line(event, now);
        line.push('\n');
        // A reader that went away does not stop a build.
        let _ = self.out.write_all(line.as_bytes());
    }

    fn tick(&mut self, _: Duration) {
        let _ = self.out.flush();
    }

    fn end(mut self: Box<Self>, now: Duration) {
        self.tick(now);
    }
}

fn line(event: &Event, now: Duration) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), seconds(now));
    if let Ok(Value::Object(fields)) = serde_json::to_value(event) {
        object.extend(fields);
    }
    if let Event::Finished { elapsed, .. } | Event::Test { elapsed, .. } = event {
        object.insert("elapsed".to_owned(), seconds(*elapsed));
    }
    Value::Object(object).to_string()
}

/// Whole milliseconds: more digits would only be noise.
fn seconds(duration: Duration) -> Value {
    Value::from(duration.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use cairn_build::event::{Outcome, VertexId};

    use super::*;

    #[test]
    fn an_event_is_one_object_with_seconds() {
        let event = Event::Finished {
            vertex: VertexId(3),
            outcome: Outcome::Failed {
                reason: "exit\ncode 1".into(),
            },
            elapsed: Duration::from_micros(1_234_567),
        };
        assert_eq!(
            line(&event, Duration::from_millis(2_500)),
            r#"{"time":2.5,"event":"finished","vertex":3,"outcome":"failed","reason":"exit\ncode 1","elapsed":1.234}"#
        );
    }
}
