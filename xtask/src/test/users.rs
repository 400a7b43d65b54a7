//! The tests that touch the kernel, once more as ordinary users.
//!
//! Root hides what an ordinary user meets: id maps, overlay mounts without privilege, files that
//! cannot be given away. When we are root, `CAIRN_TEST_USERS` names accounts (by spaces), usually
//! one with a range in `/etc/subuid` and one without; `.ci/run` makes both. An ordinary user has
//! run these tests already, in the step before.

use std::fmt;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{Outcome, cargo};
use crate::command;
use crate::error::ChoreError;

/// The crates whose tests mount, map ids or run sandboxes.
const PACKAGES: &[&str] = &["sandbox", "store", "debian", "build", "stack", "cli"];

/// An account of `/etc/passwd`.
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// A test program and the folder that cargo would start it in.
struct TestProgram {
    executable: PathBuf,
    folder: PathBuf,
}

impl fmt::Display for TestProgram {
    /// The package's folder and the program's name without cargo's suffix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let program = last(&self.executable);
        let name = program
            .rsplit_once('-')
            .map_or(program.as_str(), |(name, _)| name);
        write!(f, "{} {name}", last(&self.folder))
    }
}

/// One line of `cargo test --message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Runs the programs once per account.
pub(super) fn run(root: &Path) -> Result<Outcome, ChoreError> {
    if !is_root()? {
        return Ok(Outcome::Passed);
    }
    let names = std::env::var("CAIRN_TEST_USERS").unwrap_or_default();
    if names.trim().is_empty() {
        let hint = "we are root, and CAIRN_TEST_USERS names no account to be instead";
        return Ok(Outcome::Skipped(hint.to_owned()));
    }
    let programs = test_programs(root)?;
    let mut failed = Vec::new();
    for name in names.split_whitespace() {
        let account = account(name)?;
        for program in &programs {
            match run_as(&account, program) {
                Ok(()) => {}
                Err(ChoreError::Failed { .. }) => failed.push(format!("{name}: {program}")),
                Err(error) => return Err(error),
            }
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Passed);
    }
    let list = failed.join("\n  ");
    Err(ChoreError::Unmet(format!("tests failed as\n  {list}")))
}

fn is_root() -> Result<bool, ChoreError> {
    let ours = fs::metadata("/proc/self").map_err(ChoreError::file("/proc/self"))?;
    Ok(ours.uid() == 0)
}

fn account(name: &str) -> Result<Account, ChoreError> {
    let path = Path::new("/etc/passwd");
    let passwd = fs::read_to_string(path).map_err(ChoreError::file(path))?;
    find_account(&passwd, name)
        .ok_or_else(|| ChoreError::Usage(format!("CAIRN_TEST_USERS: no account `{name}`")))
}

fn find_account(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    Some(Account {
        name: name.to_owned(),
        uid: numbers.next()?.parse().ok()?,
        gid: numbers.next()?.parse().ok()?,
    })
}

fn test_programs(root: &Path) -> Result<Vec<TestProgram>, ChoreError> {
    let mut build = cargo(root, &["test", "--no-run", "--quiet", "--locked"]);
    build.args(["--lib", "--bins", "--tests", "--message-format=json"]);
    for package in PACKAGES {
        build.args(["--package", &format!("cairn-{package}")]);
    }
    let messages = command::capture(&mut build)?;
    Ok(messages.lines().filter_map(test_program).collect())
}

fn test_program(line: &str) -> Option<TestProgram> {
    let message: Message = serde_json::from_str(line).ok()?;
    let is_test = message.reason == "compiler-artifact" && message.profile?.test;
    let manifest = message.manifest_path?;
    Some(TestProgram {
        executable: message.executable.filter(|_| is_test)?,
        folder: manifest.parent()?.to_path_buf(),
    })
}

/// Runs one program as somebody else, with a home that is theirs and empty.
fn run_as(account: &Account, program: &TestProgram) -> Result<(), ChoreError> {
    let home = tempfile::Builder::new()
        .prefix("cairn-test-home-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in("/var/tmp")
        .map_err(ChoreError::file("/var/tmp"))?;
    chown(home.path(), Some(account.uid), Some(account.gid))
        .map_err(ChoreError::file(home.path()))?;
    println!("    {}: {program}", account.name);
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={}", account.uid))
        .arg(format!("--regid={}", account.gid))
        .args(["--init-groups", "--"])
        .arg(&program.executable)
        .arg("--quiet")
        .current_dir(&program.folder)
        .env_clear()
        .envs(kept_environment())
        // What needs root is no failure here: the step before has run it (`testkit::needs`).
        .env("CAIRN_TEST_ORDINARY_USER", "1")
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("USER", &account.name)
        .env("LOGNAME", &account.name);
    command::run(&mut command)
}

/// What of our environment another account may need: where programs are, whether this is CI, and
/// how the network is reached. The rest, `HOME` and cargo's variables above all, is ours.
fn kept_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| {
        let lower = name.to_lowercase();
        ["path", "lang", "cairn_ci", "cairn_conformance"].contains(&lower.as_str())
            || lower.ends_with("_proxy")
            || lower.starts_with("ssl_cert")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\ncairn-range:x:1001:1002::/home/c:/bin/sh\n";
        let account = find_account(passwd, "cairn-range").expect("an account");
        assert_eq!((account.uid, account.gid), (1001, 1002));
        assert!(find_account(passwd, "cairn").is_none());
    }

    #[test]
    fn only_test_programs_are_run() {
        let line = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","profile":{{"test":{test}}},"executable":"/t/a-1"}}"#
            )
        };
        let program = test_program(&line(true)).expect("a test");
        assert_eq!(program.folder, Path::new("/a"));
        assert_eq!(program.to_string(), "a a");
        assert!(test_program(&line(false)).is_none());
        assert!(test_program("not json").is_none());
    }
}
