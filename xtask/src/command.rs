//! Running other programs: quietly, loudly, or to see what they print.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::ChoreError;

/// Runs a program with our own stdout and stderr; fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), ChoreError> {
    let status = command.status().map_err(start_error(command))?;
    if status.success() {
        return Ok(());
    }
    Err(ChoreError::Failed {
        command: shown(command),
        status: status.to_string(),
        output: String::new(),
    })
}

/// Runs a program and gives its stdout; its output is shown only when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String, ChoreError> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failure(command, &output))
}

/// Runs a program and gives everything about its end, whatever that is.
pub(crate) fn output(command: &mut Command) -> Result<Output, ChoreError> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(start_error(command))
}

/// Runs a cargo build that prints JSON messages and gives the program that it made.
pub(crate) fn built_program(cargo: &mut Command) -> Result<PathBuf, ChoreError> {
    let messages = capture(cargo)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| ChoreError::Unmet(format!("`{}` made no program", shown(cargo))))
}

/// The error for a program that ran and failed with captured output.
pub(crate) fn failure(command: &Command, output: &Output) -> ChoreError {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    ChoreError::Failed {
        command: shown(command),
        status: output.status.to_string(),
        output: text,
    }
}

/// Finds a program on the `PATH`, or in the two folders that an ordinary user's `PATH` lacks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

/// The command line as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn start_error(command: &Command) -> impl FnOnce(std::io::Error) -> ChoreError + use<> {
    let program = command.get_program().to_string_lossy().into_owned();
    move |source| ChoreError::Start { program, source }
}
