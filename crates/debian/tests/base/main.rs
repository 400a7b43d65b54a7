//! Whole bases from Debian's real archive: as root and as an ordinary user with a single id.
//!
//! The harness is our own because the sandbox executes this program again in a role, and because
//! a process can enter only one privilege. Each base is assembled by a child process into a store
//! of its own; the parent compares what they tell. Needs a mirror of Debian and namespaces; a
//! test whose need is not met says so (and fails where `CAIRN_CI=1`).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test runner")]

mod child;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cairn_testkit::needs;
use child::{Report, SUITE};

/// The only test there is.
const NAME: &str = "two_stores_and_two_users_make_the_same_base";
/// The ordinary user that a test run by root becomes.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    cairn_sandbox::dispatch();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, home, single] = &arguments[..]
        && role == child::ROLE
    {
        return child::main(Path::new(home), single == "single");
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut words = arguments
        .iter()
        .filter(|word| !word.starts_with('-') && *word != "terse");
    let taken = words.clone().next().is_none() || words.any(|word| NAME.contains(word.as_str()));
    if !taken || has("--ignored") {
        return ExitCode::SUCCESS;
    }
    if has("--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    two_stores_and_two_users_make_the_same_base();
    println!("test {NAME} ... ok");
    ExitCode::SUCCESS
}

fn two_stores_and_two_users_make_the_same_base() {
    if !needs("a mirror of Debian", child::mirror_answers()) {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let program = readable_copy(work.path());
    let first = Base::make(work.path(), "first", &program, None);
    let Some(first) = first.report() else { return };
    let lock = work.path().join("first/cairn.lock");
    let second = Base::make(work.path(), "second", &program, Some(&lock));
    let Some(second) = second.report() else {
        return;
    };

    assert_eq!(first.layer, second.layer, "the layers of {SUITE} differ");
    assert_eq!(first.faults, [""; 0], "the base is not as it should be");
    assert_eq!(
        second.faults, [""; 0],
        "the rootless base is not as it should be"
    );
    assert!(first.packages >= 60, "{} packages", first.packages);
}

/// A copy of this program where an ordinary user can execute it.
fn readable_copy(work: &Path) -> PathBuf {
    let program = work.join("program");
    std::fs::copy("/proc/self/exe", &program).unwrap();
    open_to_all(work);
    open_to_all(&program);
    program
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A base that a child process has made.
struct Base {
    status: std::process::ExitStatus,
    home: PathBuf,
}

impl Base {
    /// Makes a base in a store of its own; the second one with a single id, from the first's lock.
    fn make(work: &Path, name: &str, program: &Path, lock: Option<&Path>) -> Base {
        let home = work.join(name);
        std::fs::create_dir(&home).unwrap();
        if let Some(lock) = lock {
            std::fs::copy(lock, home.join("cairn.lock")).unwrap();
        }
        let mut command = Command::new(program);
        command.arg(child::ROLE).arg(&home);
        command.arg(if lock.is_some() { "single" } else { "usual" });
        if lock.is_some() && rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap();
        Base { status, home }
    }

    fn report(&self) -> Option<Report> {
        if self.status.code() == Some(child::CANNOT_ENTER) {
            let _ = needs("user namespaces", false);
            return None;
        }
        assert!(
            self.status.success(),
            "the child in {} failed",
            self.home.display()
        );
        Some(Report::read(&self.home))
    }
}
