//! Runs the `git` program: with what it must not do switched off, and with an end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::remote::Remote;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(10);
/// So much of what the program complains about is kept.
const COMPLAINT_MAX: u64 = 16 << 10;
/// An answer larger than this is none: lists of references are the longest.
const ANSWER_MAX: u64 = 64 << 20;

/// Why a repository gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no such program, or it cannot be started.
    #[error("cannot run `git`, which fetches repositories")]
    NoProgram(#[source] std::io::Error),
    /// The program failed.
    #[error("git {action} {remote}: {complaint}")]
    Failed {
        /// What it was to do.
        action: &'static str,
        /// The repository.
        remote: String,
        /// Its own words.
        complaint: String,
    },
    /// Nothing may be fetched.
    #[error("`--offline` forbids to ask the repository {remote}")]
    Offline {
        /// The repository.
        remote: String,
    },
    /// No such branch, tag or commit.
    #[error("repository does not contain ref {reference}: {remote}")]
    NoReference {
        /// What was asked for.
        reference: String,
        /// The repository.
        remote: String,
    },
    /// The commit is not the one asked for.
    #[error("expected checksum to match {expected}, got {found}")]
    Checksum {
        /// The checksum as written.
        expected: String,
        /// The commit that the reference leads to.
        found: String,
    },
    /// A checksum that can be none.
    #[error("invalid checksum \"{0}\" for a git source, expected hex commit hash")]
    BadChecksum(String),
    /// A file cannot be handled.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// To which file.
        path: std::path::PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl GitError {
    /// Whether the machine or the network is at fault rather than the address.
    pub fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::NoProgram(_) | Self::Failed { .. } | Self::Io { .. }
        )
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        const REFUSALS: [&str; 3] = [
            "could not read Username",
            "could not read Password",
            "Authentication failed",
        ];
        match self {
            Self::NoProgram(_) => {
                Some("install git, or give the files as a directory or an archive")
            }
            Self::Failed { complaint, .. }
                if REFUSALS.iter().any(|refusal| complaint.contains(refusal)) =>
            {
                Some(
                    "check the address; for a private repository give a secret `GIT_AUTH_TOKEN` or \
                     `GIT_AUTH_HEADER`, set up a credential helper of git, or use its ssh address: \
                     nobody is asked for a password here",
                )
            }
            _ => None,
        }
    }
}

/// How `git` is run for one repository.
pub(super) struct Program<'a> {
    pub(super) remote: Remote,
    /// Asks whether to go on.
    pub(super) go_on: &'a (dyn Fn() -> bool + Sync),
}

impl Program<'_> {
    /// Runs a command to its end and gives what it printed.
    pub(super) fn run(
        &self,
        action: &'static str,
        directory: Option<&Path>,
        arguments: &[&str],
    ) -> Result<String, GitError> {
        let mut command = Command::new("git");
        if let Some(directory) = directory {
            command.arg("-C").arg(directory);
        }
        // What a configuration could add and must not: commands to run, other bytes in files.
        for setting in [
            "protocol.ext.allow=never",
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.autocrlf=false",
            "init.templateDir=",
            "advice.detachedHead=false",
            "safe.directory=*",
            "gc.auto=0",
        ] {
            command.args(["-c", setting]);
        }
        command.args(arguments);
        // A hook of another repository may have started us.
        for inherited in [
            "GIT_DIR",
            "GIT_COMMON_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_NAMESPACE",
        ] {
            command.env_remove(inherited);
        }
        self.remote.let_in(&mut command);
        // A question would wait for somebody who does not see it.
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(GitError::NoProgram)?;
        self.finish(action, child)
    }

    fn finish(&self, action: &'static str, mut child: Child) -> Result<String, GitError> {
        let answer = child.stdout.take();
        let complaint = child.stderr.take();
        let (status, answer, complaint) = std::thread::scope(|scope| {
            let answer = scope.spawn(|| text(answer, ANSWER_MAX));
            let complaint = scope.spawn(|| text(complaint, COMPLAINT_MAX));
            let status = self.wait(&mut child);
            let joined =
                |text: std::thread::ScopedJoinHandle<'_, String>| text.join().unwrap_or_default();
            (status, joined(answer), joined(complaint))
        });
        if status? {
            return Ok(answer);
        }
        Err(GitError::Failed {
            action,
            remote: self.remote.shown.clone(),
            complaint: self.remote.cleaned(&last_words(&complaint)),
        })
    }

    /// Waits for the program; whether it did what it should.
    fn wait(&self, child: &mut Child) -> Result<bool, GitError> {
        loop {
            if let Some(status) = child.try_wait().map_err(GitError::NoProgram)? {
                return Ok(status.success());
            }
            if !(self.go_on)() {
                let _ = child.kill();
                let _ = child.wait();
                return Err(GitError::Cancelled);
            }
            std::thread::sleep(POLL);
        }
    }
}

fn text(from: Option<impl Read>, limit: u64) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.by_ref().take(limit).read_to_end(&mut bytes);
        // What is too much is read all the same: the program must not wait for us.
        let _ = std::io::copy(&mut from, &mut std::io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The program's last words on one line.
fn last_words(complaint: &str) -> String {
    let lines: Vec<&str> = complaint
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
