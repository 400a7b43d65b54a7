//! A Debian base: locked packages become one snapshot.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cairn_debian::{AssembleOptions, Fetching, Progress, SNAPSHOT_ARCHIVE, assemble};
use cairn_store::SnapshotId;

use super::Step;
use super::lines::Lines;
use crate::event::{Event, Stream};
use crate::failure::StepError;
use crate::resolve::DebianBase;

/// Assembles the base from packages of the store; what is not there is fetched.
pub(super) fn run(step: &Step<'_>, base: &DebianBase) -> Result<Option<SnapshotId>, StepError> {
    let engine = step.engine;
    let options = AssembleOptions {
        fetcher: engine.fetcher.clone(),
        mirrors: base.mirrors.clone(),
        snapshot: Some(SNAPSHOT_ARCHIVE.to_owned()),
        scratch: engine.store.home().join("scratch-debian"),
        exe: PathBuf::from("/proc/self/exe"),
        threads: engine.settings.jobs,
    };
    let log = engine
        .store
        .log_writer(&engine.settings.run, &step.id.0.to_string())?;
    let teller = Teller {
        step,
        packages: u64::try_from(base.lock.packages.len()).unwrap_or(u64::MAX),
        unpacked: AtomicU64::new(0),
        output: Mutex::new((Lines::default(), log)),
    };
    let tell = |progress: Progress<'_>| teller.tell(&progress);
    match assemble(engine.store, &base.lock, &options, engine.cancel, &tell) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(_) if engine.cancel.is_cancelled() => Err(StepError::Cancelled),
        Err(error) => Err(StepError::Debian(Box::new(error))),
    }
}

/// Turns what the assembly says into events and the step's log.
struct Teller<'a> {
    step: &'a Step<'a>,
    packages: u64,
    unpacked: AtomicU64,
    output: Mutex<(Lines, File)>,
}

impl Teller<'_> {
    fn tell(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Fetching(state) => self.fetching(state),
            Progress::Unpacked { .. } => {
                let done = self.unpacked.fetch_add(1, Ordering::Relaxed) + 1;
                self.progress("packages", done, self.packages);
            }
            Progress::Configuring { packages } => {
                self.line(&format!("configuring {packages} packages"));
            }
            Progress::Output { bytes, .. } => {
                let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
                let (lines, log) = &mut *output;
                lines.push(bytes, |line| {
                    // A full disk must not hide the assembly's own result.
                    let _ = writeln!(log, "{line}");
                    self.line(line);
                });
            }
        }
    }

    fn fetching(&self, state: &Fetching) {
        self.progress("bytes", state.bytes, state.bytes_total);
    }

    fn progress(&self, unit: &'static str, done: u64, total: u64) {
        let vertex = self.step.id;
        self.step.engine.events.emit(Event::Progress {
            vertex,
            unit,
            done,
            total: Some(total),
        });
    }

    fn line(&self, line: &str) {
        let event = Event::Output {
            vertex: self.step.id,
            stream: Stream::Stdout,
            line: line.to_owned(),
        };
        self.step.engine.events.emit(event);
    }
}
