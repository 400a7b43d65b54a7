//! Runs the tests of a file against an image.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cairn_sandbox::Cancel;

use super::command;
use super::file::{CommandTest, TestFile};
use super::filesystem::{check_content, check_existence, check_licenses};
use super::metadata;
use super::result::{CheckError, Failure, TestKind, TestResult};
use super::subject::{Conditions, Inspection, Subject};

/// Runs all tests of a file; results come in the original's order: commands, file contents, file
/// existence, metadata, licences (EPI-30, EPI-31).
///
/// Command tests run side by side. `on_result` hears of each result as soon as it is there.
pub fn evaluate(
    file: &TestFile,
    subject: &Subject<'_>,
    conditions: &Conditions,
    cancel: &Cancel,
    on_result: &(dyn Fn(&TestResult) + Sync),
) -> Result<Vec<TestResult>, CheckError> {
    let inspection = Inspection::new(subject, &file.global_env)?;
    let mut results = commands(file, &inspection, conditions, cancel, on_result)?;
    let mut add = |kind, name: &str, check: &dyn Fn() -> Result<Vec<Failure>, CheckError>| {
        let start = Instant::now();
        let mut result = TestResult::new(kind, name, check()?);
        result.duration = start.elapsed();
        on_result(&result);
        results.push(result);
        Ok::<_, CheckError>(())
    };
    for test in &file.file_content {
        add(TestKind::FileContent, &test.name, &|| {
            check_content(test, &inspection)
        })?;
    }
    for test in &file.file_existence {
        add(TestKind::FileExistence, &test.name, &|| {
            check_existence(test, &inspection)
        })?;
    }
    if let Some(test) = &file.metadata {
        let env = &inspection.env;
        add(TestKind::Metadata, "", &|| {
            Ok(metadata::check(test, subject.config, env))
        })?;
    }
    for test in &file.licenses {
        add(TestKind::License, "", &|| check_licenses(test, &inspection))?;
    }
    Ok(results)
}

/// Runs the command tests on a bounded number of threads; the first error that says nothing about
/// the image ends them all.
fn commands(
    file: &TestFile,
    inspection: &Inspection<'_>,
    conditions: &Conditions,
    cancel: &Cancel,
    on_result: &(dyn Fn(&TestResult) + Sync),
) -> Result<Vec<TestResult>, CheckError> {
    let tests = &file.commands;
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<TestResult>>> = tests.iter().map(|_| Mutex::default()).collect();
    let check = |test: &CommandTest| {
        command::check(test, &file.run_options, inspection, conditions, cancel)
    };
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(index) else {
                return Ok(());
            };
            match check(test) {
                Ok(result) => {
                    on_result(&result);
                    *done[index].lock().expect("no panics while held") = Some(result);
                }
                Err(error) => {
                    next.store(tests.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        // There is one terminal to a process, and it is the caller's that is relayed.
        let jobs = match file.run_options.allocate_tty {
            true => 1,
            false => conditions.jobs.get(),
        };
        let count = jobs.min(tests.len());
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a check does not panic"))
    })?;
    let results = done
        .into_iter()
        .filter_map(|slot| slot.into_inner().ok().flatten());
    Ok(results.collect())
}
