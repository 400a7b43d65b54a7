//! Credential helpers: `docker-credential-NAME get` with the server on standard input.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::credentials::without_values;

const POLL: Duration = Duration::from_millis(10);
const ANSWER_MAX: u64 = 1 << 20;
/// What helpers say when they have nothing, by docker's protocol.
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks a helper for a server's user and secret; an error says what went wrong.
pub(crate) fn get(
    name: &str,
    server: &str,
    environment: &[(OsString, OsString)],
    timeout: Duration,
) -> Result<Option<(String, String)>, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(format!("`{name}` is no name of a helper"));
    }
    let program = format!("docker-credential-{name}");
    let Some(path) = find(&program, environment) else {
        return Err(format!("the credential helper `{program}` is not in PATH"));
    };
    let failed = |reason: String| format!("the credential helper `{program}` failed: {reason}");
    let started = Command::new(path)
        .arg("get")
        .env_clear()
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let child = started.map_err(|error| failed(error.to_string()))?;
    let (is_success, said) = talk(child, server, timeout).map_err(&failed)?;
    if is_success {
        let answer: Answer =
            serde_json::from_slice(&said).map_err(|error| failed(without_values(&error)))?;
        let is_there = !answer.secret.is_empty();
        return Ok(is_there.then_some((answer.user, answer.secret)));
    }
    let said = String::from_utf8_lossy(&said);
    match said.trim() {
        said if said.contains(NOT_FOUND) => Ok(None),
        "" => Err(failed("it said nothing".to_owned())),
        said => Err(failed(said.lines().next().unwrap_or_default().to_owned())),
    }
}

/// Gives the server and takes the answer; a helper that takes too long is ended.
fn talk(mut child: Child, server: &str, timeout: Duration) -> Result<(bool, Vec<u8>), String> {
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read has its reasons, and says them.
        let _ = input.write_all(format!("{server}\n").as_bytes());
    }
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = output.map(|output| output.take(ANSWER_MAX).read_to_end(&mut said));
        read.transpose().map(|_| said)
    });
    let deadline = Instant::now() + timeout;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer in {} s", timeout.as_secs_f32()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    match reader.join() {
        Ok(Ok(said)) => Ok((status.success(), said)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its answer could not be read".to_owned()),
    }
}

fn find(program: &str, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, path) = environment.iter().find(|(name, _)| name == "PATH")?;
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|directory| Path::new(OsStr::from_bytes(directory)))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|path| {
            path.metadata()
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}
