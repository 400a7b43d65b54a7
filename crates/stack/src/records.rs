//! What CI keeps of a run, in the three folders that DataHub archives (DH-34, DH-76):
//!
//! ```text
//! artifacts/<image>.yaml               what came of the image: state, steps, tests
//! artifacts/IMAGES_CHANGED             the images of which steps ran, a line each
//! logs/run.log                         every image in a line, and what failed
//! logs/<image>.build.log               its steps that ran, with all that they printed
//! logs/<image>.basic-tests.log         verdicts, and what suites printed; as well for
//!                                      `integration-tests` and `workflow-tests`
//! manifests/<image>.md                 what the image is: layers, and what its `info` commands said
//! manifests/<reference>.md             the same under each name that it is published by
//! manifests/Home.md                    a row for each run, the newest first; older rows stay
//! manifests/Stable.md                  what the last promotion gave, and where it came from
//! ```
//!
//! Everything is written for images that failed, too. Older files of a folder stay.

mod index;
mod page;
mod promoted;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_build::event::Outcome;
use cairn_store::Store;

use index::{Entry, file_name, home};
use page::{Page, bytes, seconds};
pub use promoted::{Promoted, without_page, write_promoted};

use crate::check::{FileCheck, ImageCheck};
use crate::info::InfoSection;
use crate::run::{ImageResult, ImageState, RunReport};

/// A file of the records could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct RecordsError {
    /// Which.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// What there is to write down about a run.
pub struct Records<'a> {
    /// Where images and logs are.
    pub store: &'a Store,
    /// The run.
    pub run: &'a str,
    /// What it came to.
    pub report: &'a RunReport,
    /// What came of tests.
    pub checks: &'a [ImageCheck],
    /// What commands said about images, by the images' names in the stack.
    pub info: &'a BTreeMap<String, Vec<InfoSection>>,
    /// Where images are published by the rules of the spec, by their names in the stack.
    pub references: &'a BTreeMap<String, Vec<String>>,
    /// The commit.
    pub commit: Option<&'a str>,
    /// What took how long (DH-44).
    pub phases: &'a [(&'a str, Duration)],
    /// The room on the store's disk before the run (DH-52).
    pub room_before: Option<u64>,
}

/// Writes the records of a run below a folder.
pub fn write(folder: &Path, records: &Records<'_>) -> Result<(), RecordsError> {
    let Records {
        store,
        run,
        report,
        checks,
        ..
    } = *records;
    let put = |name: String, text: &str| put(folder, &name, text);
    let mut changed = String::new();
    let mut run_log = format!("run {run}\n");
    let mut pages = Vec::new();
    for image in &report.images {
        let name = image.name.replace([':', '/', ' '], "-");
        let check = checks.iter().find(|check| check.label == image.name);
        put(format!("artifacts/{name}.yaml"), &artifact(image, check))?;
        put(
            format!("logs/{name}.build.log"),
            &build_log(image, store, run),
        )?;
        for (kinds, log) in TEST_LOGS {
            let files = check.into_iter().flat_map(|check| &check.files);
            let files: Vec<&FileCheck> = files.filter(|it| kinds.contains(&it.kind)).collect();
            if !files.is_empty() {
                put(format!("logs/{name}.{log}.log"), &test_log(&files))?;
            }
        }
        if let ImageState::Ready { record, ran, .. } = &image.state {
            let of = |all: &'_ BTreeMap<String, Vec<String>>| {
                all.get(&image.name).cloned().unwrap_or_default()
            };
            // What failed its tests is not published, and has no page that says so.
            let has_failed = check.is_some_and(|check| !check.passed());
            let references = match has_failed {
                true => Vec::new(),
                false => of(records.references),
            };
            let info = records.info.get(&image.name);
            let page = Page {
                name: &image.name,
                references: &references,
                record,
                steps: &image.steps,
                check,
                info: info.map_or(&[], Vec::as_slice),
            };
            // Under its own name, and under each that it is published by.
            for title in std::iter::once(&image.name).chain(&references) {
                let file = file_name(title);
                put(format!("manifests/{file}"), &page.text(title, store))?;
                if references.is_empty() || *title != image.name {
                    pages.push(Entry {
                        image: image.name.clone(),
                        title: title.clone(),
                        file,
                    });
                }
            }
            if *ran > 0 {
                let _ = writeln!(changed, "{}", image.name);
            }
        }
        let _ = writeln!(run_log, "{}", one_line(image, check));
    }
    run_log.push_str(&figures(records));
    let home_file = folder.join("manifests/Home.md");
    let old = fs::read_to_string(&home_file).ok();
    let home = home(old.as_deref(), records.commit, &pages);
    put("manifests/Home.md".to_owned(), &home)?;
    put("artifacts/IMAGES_CHANGED".to_owned(), &changed)?;
    put("logs/run.log".to_owned(), &run_log)
}

fn put(folder: &Path, name: &str, text: &str) -> Result<(), RecordsError> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
    written.map_err(|source| RecordsError { path, source })
}

/// What the run took, and what it would have taken with nothing known (DH-43).
fn figures(records: &Records<'_>) -> String {
    let mut text = String::new();
    for (phase, time) in records.phases {
        let _ = writeln!(text, "{phase}: {}", seconds(*time));
    }
    let (ran, known) = records.report.cost(records.store);
    let _ = writeln!(
        text,
        "steps: {} ran in {}; {} were there, which took {} when they ran: from nothing {}",
        records.report.ran,
        seconds(ran),
        records.report.cached,
        seconds(known),
        seconds(ran + known)
    );
    let after = records.store.room().ok().map(|room| room.free_bytes);
    if let (Some(before), Some(after)) = (records.room_before, after) {
        let (before, after) = (bytes(before), bytes(after));
        let _ = writeln!(text, "free on disk: {before} before, {after} after");
    }
    text
}

/// Kinds of tests, and the log that they go to.
const TEST_LOGS: [(&[&str], &str); 3] = [
    (&["structure", "pytest"], "basic-tests"),
    (&["integration"], "integration-tests"),
    (&["workflow"], "workflow-tests"),
];

fn state(image: &ImageResult) -> &'static str {
    match &image.state {
        ImageState::Failed { .. } => "failed",
        ImageState::Ready { ran: 0, .. } => "cached",
        ImageState::Ready { .. } => "built",
    }
}

fn one_line(image: &ImageResult, check: Option<&ImageCheck>) -> String {
    let mut line = format!("{}: {}", image.name, state(image));
    if let ImageState::Failed { reason } = &image.state {
        let _ = write!(line, ": {reason}");
    }
    let tests = check.into_iter().flat_map(ImageCheck::tests);
    let (passed, failed): (Vec<_>, Vec<_>) = tests.partition(|test| test.passed);
    if !passed.is_empty() || !failed.is_empty() {
        let _ = write!(
            line,
            "; tests: {} passed, {} failed",
            passed.len(),
            failed.len()
        );
    }
    for test in failed {
        let first = test.detail.lines().next().unwrap_or_default();
        let _ = write!(line, "\n  failed: {}: {first}", test.test);
    }
    line
}

/// YAML, whose strings are written as JSON's are.
fn artifact(image: &ImageResult, check: Option<&ImageCheck>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "image: {}", text(&image.name));
    let _ = writeln!(out, "state: {}", state(image));
    let passed = check.is_none_or(ImageCheck::passed);
    let is_there = matches!(image.state, ImageState::Ready { .. });
    let _ = writeln!(out, "success: {}", is_there && passed);
    match &image.state {
        ImageState::Failed { reason } => {
            let _ = writeln!(out, "reason: {}", text(reason));
        }
        ImageState::Ready {
            record,
            ran,
            cached,
            ..
        } => {
            let _ = writeln!(out, "id: {}", text(&record.id().to_string()));
            let _ = writeln!(out, "content: {}", text(&record.content().to_string()));
            let _ = writeln!(out, "platform: {}", text(&record.platform.to_string()));
            let _ = writeln!(out, "steps_ran: {ran}\nsteps_cached: {cached}");
        }
    }
    let steps = image.steps.iter().filter(|step| !is_cached(&step.outcome));
    list(
        &mut out,
        "steps",
        steps.map(|step| {
            format!(
                "step: {}\n    outcome: {}\n    seconds: {:.3}",
                text(&step.title),
                outcome(&step.outcome),
                step.elapsed.as_secs_f64()
            )
        }),
    );
    let files = check.into_iter().flat_map(|check| &check.files);
    list(&mut out, "tests", files.map(|file| {
        let count = |is: fn(&crate::check::TestOutcome) -> bool| {
            file.tests.iter().filter(|test| is(test)).count()
        };
        let state = match (&file.left_out, file.reused, file.passed()) {
            (Some(_), _, _) => "skipped",
            (None, true, _) => "known",
            (None, false, true) => "passed",
            (None, false, false) => "failed",
        };
        let mut item = format!(
            "file: {}\n    kind: {}\n    state: {state}\n    passed: {}\n    failed: {}\n    skipped: {}",
            text(&file.file),
            file.kind,
            count(|test| test.passed && !test.skipped),
            count(|test| !test.passed),
            count(|test| test.skipped),
        );
        if let Some(reason) = file.left_out.as_ref().or(file.note.as_ref()) {
            let _ = write!(item, "\n    reason: {}", text(reason));
        }
        item
    }));
    out
}

fn list(out: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.map(|item| format!("  - {item}\n")).collect();
    match items.is_empty() {
        true => {
            let _ = writeln!(out, "{key}: []");
        }
        false => {
            let _ = write!(out, "{key}:\n{}", items.concat());
        }
    }
}

fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn is_cached(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Cached)
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Cached => "cached",
        Outcome::Done { unchanged: true } => "unchanged",
        Outcome::Done { unchanged: false } => "done",
        Outcome::Failed { .. } => "failed",
        Outcome::Skipped { .. } => "skipped",
    }
}

fn build_log(image: &ImageResult, store: &Store, run: &str) -> String {
    let mut log = String::new();
    for step in &image.steps {
        let seconds = step.elapsed.as_secs_f64();
        let _ = writeln!(log, "==> {}", step.title);
        let printed = fs::read(store.log_path(run, &step.vertex.0.to_string()));
        log.push_str(&String::from_utf8_lossy(&printed.unwrap_or_default()));
        if !log.ends_with('\n') {
            log.push('\n');
        }
        let _ = writeln!(log, "{} after {seconds:.1} s", outcome(&step.outcome));
    }
    if let ImageState::Failed { reason } = &image.state {
        let _ = writeln!(log, "failed: {reason}");
    }
    log
}

fn test_log(files: &[&FileCheck]) -> String {
    let mut log = String::new();
    for file in files {
        let _ = writeln!(log, "==> {} ({})", file.file, file.kind);
        if let Some(reason) = &file.left_out {
            let _ = writeln!(log, "left out: {reason}");
        }
        if file.reused {
            log.push_str("known from an earlier run on the same image:\n");
        }
        for test in &file.tests {
            let verdict = match (test.passed, test.skipped) {
                (false, _) => "failed",
                (true, true) => "skipped",
                (true, false) => "passed",
            };
            let _ = writeln!(log, "{verdict} {} ({:.3} s)", test.test, test.seconds);
            for line in test.detail.lines() {
                let _ = writeln!(log, "  {line}");
            }
        }
        if let Some(note) = &file.note {
            let _ = writeln!(log, "{note}");
        }
        if let Some(Ok(printed)) = file.log.as_ref().map(fs::read) {
            log.push_str("--- what it printed\n");
            log.push_str(&String::from_utf8_lossy(&printed));
            log.push('\n');
        }
    }
    log
}
