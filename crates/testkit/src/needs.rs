//! Tests that need a privilege or a kernel feature say so here.
//!
//! A test whose need is not met prints why and ends, on a developer's machine. With `CAIRN_CI=1`
//! it fails: a skipped test proves nothing, and CI must know. Only a need of root's may go unmet
//! there, in the second run as an ordinary user (`cargo xtask test users`, which sets
//! [`ORDINARY_USER`]): root's own run has met it before.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

/// The variable that tells a test it is run once more, as an ordinary user, after root's run.
pub const ORDINARY_USER: &str = "CAIRN_TEST_ORDINARY_USER";

/// Whether a need is met. Reports the skip if it is not; panics in CI.
#[must_use]
pub fn needs(what: &str, is_met: bool) -> bool {
    if !is_met {
        skip(what, is_set("CAIRN_CI"));
    }
    is_met
}

/// Like [`needs`], for what only root can do: unmet in an ordinary user's run, it is no failure.
#[must_use]
pub fn needs_of_root(what: &str, is_met: bool) -> bool {
    if !is_met {
        skip(what, is_set("CAIRN_CI") && !is_set(ORDINARY_USER));
    }
    is_met
}

/// Whether the test runs as root.
#[must_use]
pub fn needs_root() -> bool {
    needs_of_root("root", rustix::process::geteuid().is_root())
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

#[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skip(what: &str, is_forbidden: bool) {
    assert!(
        !is_forbidden,
        "this test needs {what}, and CAIRN_CI=1 forbids to skip it"
    );
    eprintln!("skipped: needs {what}");
}

/// Whether the test may mount an overlay with attributes in the user's namespace below `dir`.
#[must_use]
pub fn needs_overlay(dir: &Path) -> bool {
    needs_root() && needs("to mount an overlay", can_mount_overlay(dir))
}

fn can_mount_overlay(dir: &Path) -> bool {
    let probe = tempfile::tempdir_in(dir).expect("a temporary directory");
    for part in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(probe.path().join(part)).expect("a new directory");
    }
    let at = |part: &str| probe.path().join(part).display().to_string();
    let (lower, upper, work) = (at("lower"), at("upper"), at("work"));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr\0");
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).expect("no NUL inside");
    let merged = probe.path().join("merged");
    let flags = MountFlags::empty();
    let mounted = rustix::mount::mount("overlay", &merged, "overlay", flags, Some(options));
    if mounted.is_ok() {
        rustix::mount::unmount(&merged, UnmountFlags::DETACH).expect("what was mounted unmounts");
    }
    mounted.is_ok()
}
