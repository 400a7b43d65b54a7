//! What a run writes down beside its results: digests of files for the next run, and the history.
//!
//! Nothing of it is needed by a build, so that a disk that is full costs it and no more: what
//! became of the steps is told all the same.

use cairn_build::engine::Engine;
use cairn_build::event::{Event, EventSink};
use cairn_build::run::Prepared;
use cairn_build::solve::Solved;
use cairn_stack::history::{RunNote, record, record_settled};
use cairn_stack::run::RunReport;
use cairn_store::StoreError;

use crate::error::CommandError;
use crate::stack_run::milliseconds_now;

/// Writes a run down, if anything happened in it.
pub fn write_down(
    command: &str,
    stack: Option<&str>,
    started_ms: i64,
    prepared: &Prepared<'_>,
    report: &RunReport,
    engine: &Engine<'_>,
) {
    keep_digests(engine);
    if report.ran == 0 && report.failures.is_empty() {
        return;
    }
    let note = RunNote {
        run: engine.settings.run.clone(),
        command: command.to_owned(),
        stack: stack.map(str::to_owned),
        started_ms,
    };
    if let Err(error) = record(engine.store, &note, prepared, report) {
        tell(engine.events, "this run is missing from the history", error);
    }
}

/// Writes down the steps that were run to know what a plan hangs on, if any were.
pub fn write_down_settled(
    stack: &str,
    started_ms: i64,
    prepared: &Prepared<'_>,
    solved: &Solved,
    engine: &Engine<'_>,
) {
    if solved.ran() == 0 && solved.failures.is_empty() {
        return;
    }
    let note = RunNote {
        run: engine.settings.run.clone(),
        command: "plan --settle".to_owned(),
        stack: Some(stack.to_owned()),
        started_ms,
    };
    let now = milliseconds_now();
    if let Err(error) = record_settled(engine.store, &note, now, prepared, solved) {
        tell(engine.events, "this run is missing from the history", error);
    }
}

/// Keeps the digests of the files that were read, so that the next run need not read them.
pub fn keep_digests(engine: &Engine<'_>) {
    for context in engine.contexts {
        if let Err(error) = context.save_digests() {
            let lost = "the next run will read the files of the context again";
            tell(engine.events, lost, error);
        }
    }
}

/// Tells what could not be written down.
pub fn tell(events: &dyn EventSink, lost: &str, error: StoreError) {
    let causes = CommandError::from(error).messages.join(": ");
    events.emit(Event::Notice {
        warning: true,
        text: format!("{lost}: {causes}"),
    });
}
