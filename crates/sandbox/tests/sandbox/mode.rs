//! The ways to run: each is a process of its own, started as the user it is about.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the process is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Root,
    SubuidRange,
    SingleId,
}

/// Everywhere.
pub(crate) const ALL: &[Mode] = &[Mode::Root, Mode::SubuidRange, Mode::SingleId];
/// Where owners can be set.
pub(crate) const WITH_IDS: &[Mode] = &[Mode::Root, Mode::SubuidRange];
/// Where they are recorded.
pub(crate) const SINGLE: &[Mode] = &[Mode::SingleId];
/// Where devices and limits are ours.
pub(crate) const ROOT: &[Mode] = &[Mode::Root];

/// The first argument of the process that belongs to a mode.
pub(crate) const INSIDE: &str = "--inside";

/// The exit code of a process that found its mode impossible.
const SKIPPED: u8 = 77;

impl Mode {
    pub(crate) const ALL: [Mode; 3] = [Mode::Root, Mode::SubuidRange, Mode::SingleId];

    pub(crate) fn parse(text: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.to_string() == text)
    }

    /// Runs the cases in this mode; false when one failed.
    pub(crate) fn run(self, names: &[&str]) -> bool {
        let user = match self.user() {
            Ok(user) => user,
            Err(reason) => return note_skip(self, &reason),
        };
        // A place and a program that the other user can reach.
        let dir = tempfile::tempdir().expect("a directory for the cases");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("program");
        fs::copy("/proc/self/exe", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let mut command = match user {
            None => Command::new(&program),
            Some((uid, gid)) => {
                chown(&work, Some(uid), Some(gid)).unwrap();
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
                command.arg("--clear-groups").arg(&program);
                command
            }
        };
        command
            .arg(INSIDE)
            .arg(self.to_string())
            .arg(&work)
            .args(names);
        let status = command.status().expect("a process for the mode");
        clean(&work);
        match status.code() {
            Some(0) => true,
            Some(code) if code == i32::from(SKIPPED) => note_skip(self, "see above"),
            _ => {
                println!("{self}: {status}");
                false
            }
        }
    }

    /// As whom to run it, other than as ourselves.
    fn user(self) -> Result<Option<(u32, u32)>, String> {
        let is_root = rustix::process::geteuid().is_root();
        match (self, is_root) {
            (Mode::Root, true) | (Mode::SubuidRange | Mode::SingleId, false) => Ok(None),
            (Mode::Root, false) => Err("this is not root".to_owned()),
            // Nobody has this number, so nobody has given it a range.
            (Mode::SingleId, true) => Ok(Some((54_321, 54_321))),
            (Mode::SubuidRange, true) => user_with_range().map(Some),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Root => "root",
            Mode::SubuidRange => "subuid_range",
            Mode::SingleId => "single_id",
        })
    }
}

/// An ordinary user of this host to whom `/etc/subuid` gives a range.
fn user_with_range() -> Result<(u32, u32), String> {
    let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids_of = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
            (*name == wanted).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
        })
    };
    subuid
        .lines()
        .filter_map(|line| ids_of(line.split(':').next()?))
        .find(|(uid, _): &(u32, u32)| *uid != 0)
        .ok_or_else(|| "no ordinary user has a range in /etc/subuid".to_owned())
}

/// Says why nothing was run. Only root can try every mode, so root's run has to.
fn note_skip(mode: Mode, reason: &str) -> bool {
    let _ = cairn_testkit::needs_of_root(&format!("the mode {mode}: {reason}"), false);
    true
}

/// The end of a process that found its mode impossible.
pub(crate) fn skip(reason: &str) -> ExitCode {
    println!("{reason}");
    ExitCode::from(SKIPPED)
}

/// Makes what overlayfs and other users left removable.
fn clean(dir: &Path) {
    let _ = Command::new("chmod")
        .args(["-R", "u+rwX"])
        .arg(dir)
        .output();
}
