//! A suite on the host: an ordinary process that knows the image by `TEST_IMAGE`.
//!
//! The name is one that `cairn run` takes; `CAIRN` is this program and `CAIRN_HOME` its store, so
//! that a test can start containers of the image. Whatever the suite starts carries a mark in its
//! environment, by which it is found and killed when the suite is over, has no time left, or
//! somebody asks to stop: also what has left the process group.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use cairn_sandbox::Exit;
use cairn_spec::suite::Suite;
use cairn_store::SnapshotId;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::image::{Log, PYTHON_VARIABLES, ended, finish, pytest_words, timed_out};
use super::results::{LAUNCHER, Results};
use super::{Stop, SuiteError, SuiteMeans, SuiteResult, TestRun, packages};
use crate::structure::CheckError;

/// The variable that marks what a suite has started.
const MARK: &str = "CAIRN_TEST_SUITE";
/// How often the end of the time and a request to stop are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So often is looked for further processes to kill: one may start another meanwhile.
const KILL_ROUNDS_MAX: usize = 20;

/// Runs a suite on the host.
pub(super) fn run(
    suite: &Suite,
    image: &str,
    means: &SuiteMeans<'_>,
    log_name: &str,
) -> Result<SuiteResult, Stop> {
    let mut brought = packages::at_hand(means.store);
    loop {
        let notes = means.store.begin_snapshot()?;
        let results_path = notes.upper().join("results");
        let mark = format!("{}-{}-{image}-{}", means.run, suite.kind, suite.name);
        let mut command = command(suite, means, notes.upper(), brought)?;
        command
            .envs(&suite.env)
            .env("TEST_IMAGE", image)
            .env("CAIRN", &means.program)
            .env("CAIRN_HOME", means.store.home())
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut log = Log::new(means, log_name)?;
        let mut results = Results::new(&results_path);
        let started = Instant::now();
        let child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            Stop::Failed(format!(
                "`{program}` could not be started on this machine: {error}"
            ))
        })?;
        let tell = |test: &TestRun| means.tell(image, test);
        let end = watch(child, suite, &mark, means, &mut |bytes| {
            log.push(bytes);
            results.poll(&tell);
            means.tell_output(image, suite, results.running.as_deref(), bytes);
        });
        results.poll(&tell);
        let End::With(end) = end else {
            return Err(SuiteError::from(CheckError::Cancelled).into());
        };
        if results.wants_pytest() && brought.is_none() {
            let (fetcher, index) = (means.fetcher, means.package_index);
            brought = Some(packages::fetch(means.store, fetcher, index)?);
            continue;
        }
        return Ok(finish(
            suite, image, &results, end, &log.tail, started, means,
        ));
    }
}

/// What is executed: pytest by the host's Python, or the suite's own command.
fn command(
    suite: &Suite,
    means: &SuiteMeans<'_>,
    notes: &Path,
    brought: Option<SnapshotId>,
) -> Result<Command, Stop> {
    let directory = std::path::absolute(&means.loaded.directory)
        .map_err(|source| io("look at", &means.loaded.directory, source))?;
    let place = directory.join(&suite.path.value);
    if let Some((program, words)) = suite.command.split_first() {
        let folder = match place.is_dir() {
            true => place.as_path(),
            false => place.parent().unwrap_or(&directory),
        };
        let mut command = Command::new(program);
        command.args(words).current_dir(folder);
        return Ok(command);
    }
    let launcher = notes.join("launcher.py");
    fs::write(&launcher, LAUNCHER).map_err(|source| io("write", &launcher, source))?;
    let root = directory.display().to_string();
    let mut command = Command::new("python3");
    command
        .arg(&launcher)
        .arg(notes.join("results"))
        .arg(brought.map_or_else(PathBuf::new, |it| means.store.snapshot_dir(&it)))
        .args(suite.python_path.iter().map(|it| directory.join(&it.value)))
        .args(pytest_words(
            suite,
            means,
            &root,
            &place.display().to_string(),
        ))
        .envs(PYTHON_VARIABLES)
        .current_dir(&directory);
    Ok(command)
}

/// How a process has ended: in words, unless it ended well.
enum End {
    With(Option<String>),
    Cancelled,
}

fn watch(
    mut child: Child,
    suite: &Suite,
    mark: &str,
    means: &SuiteMeans<'_>,
    on_output: &mut dyn FnMut(&[u8]),
) -> End {
    let deadline = Instant::now() + suite.timeout;
    let (sender, output) = channel();
    let readers = [
        child.stdout.take().map(|pipe| read(pipe, sender.clone())),
        child.stderr.take().map(|pipe| read(pipe, sender.clone())),
    ];
    drop(sender);
    let end = loop {
        if means.cancel.is_cancelled() {
            break End::Cancelled;
        }
        if Instant::now() >= deadline {
            break End::With(Some(timed_out(suite.timeout)));
        }
        drain(&output, LOOK_EVERY, on_output);
        if let Ok(Some(status)) = child.try_wait() {
            break End::With(ended(exit(status), suite.timeout));
        }
    };
    kill(&child, mark);
    let _ = child.wait();
    // The pipes are at their ends when the last one that holds them is gone.
    while let Ok(bytes) = output.recv_timeout(LOOK_EVERY * 4) {
        on_output(&bytes);
    }
    drop(readers);
    end
}

fn drain(output: &Receiver<Vec<u8>>, patience: Duration, on_output: &mut dyn FnMut(&[u8])) {
    match output.recv_timeout(patience) {
        Ok(bytes) => on_output(&bytes),
        Err(RecvTimeoutError::Timeout) => {}
        // Both outputs were closed: only the end of the process is waited for.
        Err(RecvTimeoutError::Disconnected) => std::thread::sleep(patience),
    }
}

fn read(
    mut pipe: impl Read + Send + 'static,
    sender: Sender<Vec<u8>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    })
}

/// Kills the process group, and everything that carries the mark.
fn kill(child: &Child, mark: &str) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let marked = format!("{MARK}={mark}");
    for _ in 0..KILL_ROUNDS_MAX {
        let found = marked_processes(&marked);
        if found.is_empty() {
            return;
        }
        for process in found {
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The living processes that have the mark in their environment. Those of others cannot be read.
fn marked_processes(marked: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |number: &i32| {
        fs::read(format!("/proc/{number}/environ")).is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == marked.as_bytes())
        })
    };
    numbers
        .filter(is_marked)
        .filter_map(Pid::from_raw)
        .collect()
}

fn exit(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Stop {
    Stop::Error(SuiteError::Io {
        doing,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has left the group and forgotten its parent is found by its mark all the same.
    #[test]
    fn whatever_was_started_is_killed() {
        let mark = format!("kill-test-{}", std::process::id());
        let mut child = Command::new("sh")
            .args([
                "-c",
                "setsid sleep 1000 >/dev/null 2>&1 & sleep 1000 & wait",
            ])
            .env(MARK, &mark)
            .process_group(0)
            .spawn()
            .expect("a shell");
        let marked = format!("{MARK}={mark}");
        while marked_processes(&marked).len() < 3 {
            std::thread::sleep(Duration::from_millis(2));
        }
        kill(&child, &mark);
        child.wait().expect("an end");
        assert!(marked_processes(&marked).is_empty());
    }
}
