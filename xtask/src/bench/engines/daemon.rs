//! A daemon of the benchmark's own: started, waited for, ended by its process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command;
use crate::error::ChoreError;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running daemon; dropping it ends it.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts a daemon that logs to `folder/log` and waits until `ready` succeeds.
    pub(super) fn start(
        mut daemon: Command,
        folder: &Path,
        mut ready: impl FnMut() -> Command,
    ) -> Result<Self, ChoreError> {
        let log = folder.join("log");
        let file = File::create(&log).map_err(ChoreError::file(&log))?;
        let copy = file.try_clone().map_err(ChoreError::file(&log))?;
        daemon.stdin(Stdio::null()).stdout(file).stderr(copy);
        let name = command::shown(&daemon);
        let child = daemon.spawn().map_err(|source| ChoreError::Start {
            program: name.clone(),
            source,
        })?;
        let mut started = Self { child };
        let begun = Instant::now();
        while !command::output(&mut ready())?.status.success() {
            let ended = started.child.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > READY_WITHIN {
                return Err(ChoreError::Failed {
                    command: name,
                    status: ended.map_or("no answer".to_owned(), |status| status.to_string()),
                    output: std::fs::read_to_string(&log).unwrap_or_default(),
                });
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(started)
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    /// Asks first: a daemon that is killed leaves its mounts and its own children.
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = command::output(Command::new("kill").args(["-TERM", &pid]));
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < STOPPED_WITHIN {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(LOOK_EVERY),
                _ => return,
            }
        }
        // It did not listen; there is nobody to tell but the next benchmark.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path that a UNIX socket can have: at most 107 bytes, which a deep folder exceeds.
pub(super) fn socket_path(folder: &Path) -> Result<PathBuf, ChoreError> {
    const SOCKET_PATH_MAX: usize = 107;
    let path = folder.join("sock");
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(ChoreError::Usage(format!(
            "{}: too long for a socket; choose a shorter --dir",
            path.display()
        )));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_waited_for_and_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let flag = folder.path().join("ready");
        let mut command = Command::new("sh");
        command
            .args(["-c", "touch \"$0\"; exec sleep 60"])
            .arg(&flag);
        let ready = || {
            let mut test = Command::new("test");
            test.arg("-e").arg(&flag);
            test
        };
        let daemon = Daemon::start(command, folder.path(), ready).expect("it starts");
        let place = format!("/proc/{}", daemon.pid());
        assert!(Path::new(&place).exists());
        drop(daemon);
        assert!(!Path::new(&place).exists());
    }

    #[test]
    fn a_daemon_that_ends_at_once_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no disk; exit 1"]);
        let error = Daemon::start(command, folder.path(), || Command::new("false"));
        let error = error.expect_err("it ended");
        assert!(error.to_string().contains("no disk"), "{error}");
    }
}
