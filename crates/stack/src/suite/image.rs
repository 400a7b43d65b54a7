//! A suite inside the image.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_build::event::{Event, Verdict};
use cairn_build::image::ImageRecord;
use cairn_sandbox::{Exit, Mount, SandboxError};
use cairn_spec::suite::Suite;
use cairn_store::SnapshotId;

use super::container::{Container, Wanted};
use super::results::{LAUNCHER, Results};
use super::{Stop, SuiteError, SuiteMeans, SuiteResult, TESTS, TestRun, digest, gpu, packages};
use crate::structure::CheckError;

/// Where our own files appear.
const LAUNCHER_PATH: &str = "/cairn/launcher.py";
const RESULTS_PATH: &str = "/cairn/results";
const PACKAGES_PATH: &str = "/cairn/packages";
/// For the Python that runs pytest: output at once, and nothing left behind (PAN-34).
pub(super) const PYTHON_VARIABLES: [(&str, &str); 2] =
    [("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1")];
/// Of the output, so much is kept in memory; the log has all.
const TAIL_BYTES_MAX: usize = 64 << 10;

/// Runs a suite in a new container. pytest is fetched only for an image that has none.
pub(super) fn run(
    suite: &Suite,
    image: &str,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
    log_name: &str,
) -> Result<SuiteResult, Stop> {
    let mut brought = packages::at_hand(means.store);
    loop {
        let mut container = container(suite, record, means)?;
        let place = mount_suite(&mut container, suite, means);
        // A place for the results, which goes when this round is done.
        let notes = means.store.begin_snapshot()?;
        let results_path = notes.upper().join("results");
        match suite.command.is_empty() {
            true => {
                let python = container.python(record, means.store)?;
                writable_by_all(&results_path)?;
                mount_pytest(&mut container, &results_path, brought, means);
                let folders = (0..suite.python_path.len()).map(python_folder);
                let packages = brought.map_or("", |_| PACKAGES_PATH);
                let words = [&*python, LAUNCHER_PATH, RESULTS_PATH, packages].map(str::to_owned);
                let argv = &mut container.sandbox.argv;
                *argv = words.into_iter().chain(folders).collect();
                argv.extend(pytest_words(suite, means, TESTS, &place));
            }
            false => {
                let is_folder = means.loaded.directory.join(&suite.path.value).is_dir();
                let place = Path::new(&place);
                let folder = match is_folder {
                    true => place,
                    false => place.parent().unwrap_or(Path::new("/")),
                };
                folder.clone_into(&mut container.sandbox.cwd);
                container.sandbox.argv.clone_from(&suite.command);
            }
        }
        let mut log = Log::new(means, log_name)?;
        let mut results = Results::new(&results_path);
        let started = Instant::now();
        let exit = in_container(&container, suite, image, means, &mut log, &mut results)?;
        if results.wants_pytest() && brought.is_none() {
            let (fetcher, index) = (means.fetcher, means.package_index);
            brought = Some(packages::fetch(means.store, fetcher, index)?);
            continue;
        }
        let end = ended(exit, suite.timeout);
        return Ok(finish(
            suite, image, &results, end, &log.tail, started, means,
        ));
    }
}

fn container(
    suite: &Suite,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
) -> Result<Container, Stop> {
    let wanted = Wanted {
        user: suite.user.as_deref(),
        env: &suite.env,
        read_only: suite.read_only,
    };
    let mut container = Container::new(record, &wanted, means.store, means.conditions)?;
    let sandbox = &mut container.sandbox;
    if suite.read_only {
        sandbox.mounts.push(Mount::Tmpfs {
            target: "/tmp".into(),
            size_bytes: None,
            mode: 0o1777,
        });
    }
    if suite.gpu {
        let (mounts, variable) = gpu::mounts();
        sandbox.mounts.extend(mounts);
        sandbox.env.push(variable);
    }
    sandbox.timeout = Some(suite.timeout);
    Ok(container)
}

fn mount_pytest(
    container: &mut Container,
    results: &Path,
    brought: Option<SnapshotId>,
    means: &SuiteMeans<'_>,
) {
    let sandbox = &mut container.sandbox;
    sandbox.mounts.push(Mount::File {
        target: LAUNCHER_PATH.into(),
        content: LAUNCHER.as_bytes().to_vec(),
        mode: 0o444,
        uid: 0,
        gid: 0,
    });
    sandbox.mounts.push(Mount::Bind {
        source: results.to_owned(),
        target: RESULTS_PATH.into(),
        read_only: false,
    });
    if let Some(brought) = brought {
        sandbox.mounts.push(Mount::Layers {
            lowers: vec![means.store.snapshot_dir(&brought)],
            subpath: "/".into(),
            target: PACKAGES_PATH.into(),
            read_only: true,
        });
    }
    for (name, value) in PYTHON_VARIABLES {
        sandbox.env.push((name.to_owned(), value.to_owned()));
    }
}

fn in_container(
    container: &Container,
    suite: &Suite,
    image: &str,
    means: &SuiteMeans<'_>,
    log: &mut Log,
    results: &mut Results,
) -> Result<Exit, Stop> {
    let tell = |test: &TestRun| means.tell(image, test);
    let ran = container.sandbox.run(means.cancel, &mut |_, bytes| {
        log.push(bytes);
        results.poll(&tell);
        means.tell_output(image, suite, results.running.as_deref(), bytes);
    });
    results.poll(&tell);
    match ran {
        Ok(Exit::Cancelled) => Err(SuiteError::from(CheckError::Cancelled).into()),
        Ok(exit) => Ok(exit),
        Err(SandboxError::Exec(failure)) => {
            Err(Stop::Failed(format!("it could not be started: {failure}")))
        }
        Err(source) => {
            let test = super::title(suite);
            Err(SuiteError::from(CheckError::Sandbox { test, source }).into())
        }
    }
}

/// What came of a suite that is over; `end` is `None` where its process ended with 0.
pub(super) fn finish(
    suite: &Suite,
    image: &str,
    results: &Results,
    end: Option<String>,
    tail: &[u8],
    started: Instant,
    means: &SuiteMeans<'_>,
) -> SuiteResult {
    let tail = super::tail(tail);
    let mut tests = results.tests.clone();
    let mut note = None;
    let failure = match (suite.command.is_empty(), end) {
        (true, end) => match results.judged(&end.unwrap_or_default(), &tail) {
            Ok(said) => {
                note = said;
                None
            }
            Err(failure) => Some(failure),
        },
        (false, Some(end)) => Some(format!("{end}\n{tail}").trim_end().to_owned()),
        (false, None) => {
            let test = whole(suite, Verdict::Passed, String::new(), started);
            means.tell(image, &test);
            tests.push(test);
            None
        }
    };
    if let Some(failure) = failure {
        let test = whole(suite, Verdict::Failed, failure, started);
        means.tell(image, &test);
        tests.push(test);
    }
    if let Some(note) = &note {
        means.events.emit(Event::Notice {
            warning: false,
            text: format!("{image}: {}: {note}", super::title(suite)),
        });
    }
    SuiteResult {
        tests,
        note,
        ..SuiteResult::default()
    }
}

fn whole(suite: &Suite, verdict: Verdict, detail: String, started: Instant) -> TestRun {
    TestRun {
        test: super::title(suite),
        verdict,
        detail,
        elapsed: started.elapsed(),
    }
}

/// The words for pytest, after `--`.
pub(super) fn pytest_words(
    suite: &Suite,
    means: &SuiteMeans<'_>,
    root: &str,
    place: &str,
) -> Vec<String> {
    let mut words: Vec<String> = [
        "--",
        "-v",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "--rootdir",
    ]
    .map(str::to_owned)
    .into();
    words.push(root.to_owned());
    if means.fail_fast {
        words.push("-x".to_owned());
    }
    words.extend(suite.args.iter().cloned());
    words.push(place.to_owned());
    words
}

/// Mounts the suite and what belongs to it; gives its place inside.
fn mount_suite(container: &mut Container, suite: &Suite, means: &SuiteMeans<'_>) -> String {
    let directory = &means.loaded.directory;
    let bind = |from: &str, target: String| Mount::Bind {
        source: directory.join(from),
        target: target.into(),
        read_only: true,
    };
    let mounts = &mut container.sandbox.mounts;
    for above in digest::above(&suite.path.value) {
        if directory.join(&above).is_file() {
            mounts.push(bind(&above, format!("{TESTS}/{above}")));
        }
    }
    let place = format!("{TESTS}/{}", inside(&suite.path.value));
    mounts.push(bind(&suite.path.value, place.clone()));
    for (number, folder) in suite.python_path.iter().enumerate() {
        mounts.push(bind(&folder.value, python_folder(number)));
    }
    place
}

/// The path below [`TESTS`]: that from the spec's folder, without what leads out of it.
fn inside(path: &str) -> String {
    let parts = path.split('/').filter(|it| !matches!(*it, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("/")
}

fn python_folder(number: usize) -> String {
    format!("/cairn/python/{number}")
}

fn writable_by_all(path: &Path) -> Result<(), SuiteError> {
    let made = fs::write(path, "")
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o666)));
    made.map_err(|source| SuiteError::Io {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

/// How the process has ended, in words, if not well.
pub(crate) fn ended(exit: Exit, timeout: Duration) -> Option<String> {
    match exit {
        Exit::Code(0) => None,
        Exit::TimedOut => Some(timed_out(timeout)),
        Exit::OutOfMemory => Some("the kernel killed it for want of memory".to_owned()),
        Exit::Signal(signal) => Some(format!("it was ended by signal {signal}")),
        Exit::Code(code) => Some(format!("it ended with code {code}")),
        Exit::Cancelled => Some("it was stopped".to_owned()),
    }
}

/// A time that is over, in words.
pub(crate) fn timed_out(timeout: Duration) -> String {
    format!(
        "it was stopped, with all it had started: {} s were over (`timeout`)",
        timeout.as_secs()
    )
}

/// The log of a suite, and its end in memory.
pub(super) struct Log {
    file: fs::File,
    pub(super) tail: Vec<u8>,
}

impl Log {
    pub(super) fn new(means: &SuiteMeans<'_>, name: &str) -> Result<Self, SuiteError> {
        Ok(Self {
            file: means.store.log_writer(means.run, name)?,
            tail: Vec::new(),
        })
    }

    /// A log that cannot be written costs no verdict.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let _ = self.file.write_all(bytes);
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
    }
}

impl SuiteMeans<'_> {
    pub(super) fn tell(&self, image: &str, test: &TestRun) {
        self.events.emit(Event::Test {
            image: image.to_owned(),
            test: test.test.clone(),
            verdict: test.verdict,
            detail: test.detail.clone(),
            elapsed: test.elapsed,
        });
    }
}
