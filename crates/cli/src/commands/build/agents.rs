//! `--ssh`: agents that steps may use. Keys never come near a step.
//!
//! `default` is the agent of the environment, `ID=SOCKET` another one. For `ID=KEY[,KEY...]` an
//! `ssh-agent` of the host is started for the time of the build and given these keys.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::environment::Environment;
use crate::error::{CommandError, Kind};

/// An agent that has not begun to listen after this time never will.
const START_MAX: Duration = Duration::from_secs(5);

/// The agents of a build.
#[derive(Default)]
pub struct Agents {
    /// Their sockets, by id.
    pub sockets: BTreeMap<String, PathBuf>,
    /// Those that were started for this build; they end with this value.
    _started: Vec<Started>,
}

impl Agents {
    /// Finds the agents that were named, or starts them in a directory below `place`.
    pub fn new(
        wanted: &[String],
        environment: &Environment,
        place: &Path,
    ) -> Result<Self, CommandError> {
        let mut agents = Self::default();
        for text in wanted {
            let (id, paths) = match text.split_once('=') {
                Some((id, paths)) => (id, Some(paths)),
                None => (text.as_str(), None),
            };
            let id = if id.is_empty() { "default" } else { id };
            let socket = match paths {
                None => of_environment(id, environment)?,
                Some(path) if is_socket(Path::new(path)) => PathBuf::from(path),
                Some(paths) => {
                    let started = Started::with_keys(id, paths, place)?;
                    let socket = started.socket();
                    agents._started.push(started);
                    socket
                }
            };
            agents.sockets.insert(id.to_owned(), socket);
        }
        Ok(agents)
    }
}

fn of_environment(id: &str, environment: &Environment) -> Result<PathBuf, CommandError> {
    let socket = environment.raw("SSH_AUTH_SOCK").map(PathBuf::from);
    let socket = socket.ok_or_else(|| {
        CommandError::usage(format!("ssh agent `{id}`: `SSH_AUTH_SOCK` is not set"))
            .hint("start an agent, or name its socket or a key: `--ssh default=PATH`")
    })?;
    match is_socket(&socket) {
        true => Ok(socket),
        false => Err(CommandError::usage(format!(
            "ssh agent `{id}`: `SSH_AUTH_SOCK` names {}, where no agent listens",
            socket.display()
        ))),
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// An `ssh-agent` of this build.
struct Started {
    process: Child,
    place: TempDir,
}

impl Started {
    fn with_keys(id: &str, keys: &str, place: &Path) -> Result<Self, CommandError> {
        let keys: Vec<&Path> = keys.split(',').map(Path::new).collect();
        for key in &keys {
            std::fs::metadata(key).map_err(|error| {
                CommandError::from_error(Kind::Usage, &error)
                    .while_doing(format!("ssh agent `{id}`: cannot read {}", key.display()))
            })?;
        }
        let failed = |doing: &str, error: &io::Error| {
            CommandError::from_error(Kind::Environment, error)
                .while_doing(format!("ssh agent `{id}`: cannot {doing}"))
                .hint(
                    "keys need `ssh-agent` and `ssh-add` on this machine; a running agent does not",
                )
        };
        let place = TempDir::new_in(place).map_err(|error| failed("make a directory", &error))?;
        let process = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(place.path().join(SOCKET))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed("start ssh-agent", &error))?;
        let started = Self { process, place };
        started
            .wait()
            .map_err(|error| failed("reach ssh-agent", &error))?;
        let added = Command::new("ssh-add")
            .arg("-q")
            .args(&keys)
            .env("SSH_AUTH_SOCK", started.socket())
            .env_remove("DISPLAY")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed("run ssh-add", &error))?;
        if !added.status.success() {
            let said = String::from_utf8_lossy(&added.stderr).trim().to_owned();
            return Err(CommandError::usage(format!(
                "ssh agent `{id}`: ssh-add takes no such key: {said}"
            ))
            .hint("a key with a passphrase must be in a running agent: `--ssh default`"));
        }
        Ok(started)
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join(SOCKET)
    }

    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        while !is_socket(&self.socket()) {
            if began.elapsed() > START_MAX {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

const SOCKET: &str = "agent";

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_agent_is_a_socket_by_name_or_by_environment() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        let _listening = UnixListener::bind(&socket).unwrap();
        let text = socket.to_str().unwrap();
        let environment = Environment::from([("SSH_AUTH_SOCK", text)]);
        let empty = Environment::from([("A", "")]);
        let found = |wanted: &str, environment: &Environment| {
            Agents::new(&[wanted.to_owned()], environment, place.path()).map(|found| found.sockets)
        };
        let is = |id: &str| BTreeMap::from([(id.to_owned(), socket.clone())]);
        assert_eq!(found("default", &environment).ok(), Some(is("default")));
        assert_eq!(found(&format!("a={text}"), &empty).ok(), Some(is("a")));
        assert!(found("default", &empty).is_err());
        assert!(found("a=/nonexistent/key", &empty).is_err());
    }
}
