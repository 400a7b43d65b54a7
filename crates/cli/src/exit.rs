//! The exit codes, which scripts rely on.
//!
//! `cairn run` passes the code of the process in the container on and uses docker's three codes
//! for its own failures; every other command uses the first four.

/// All of the work was done.
pub const DONE: u8 = 0;
/// The work itself failed: a build step, a test, a check.
pub const WORK_FAILED: u8 = 1;
/// The command line, the spec file or a Dockerfile is wrong.
pub const USAGE: u8 = 2;
/// The environment failed: a registry, the disk, the kernel.
pub const ENVIRONMENT: u8 = 3;

/// `cairn run`: the container could not be started.
pub const RUN_NOT_STARTED: u8 = 125;
// 126 and 127, found but not executable and not found, are `ExecFailure::shell_code`'s.

/// Stopped by a signal, as shells count it: 128 and its number, so 130 for Ctrl-C and 143 for
/// SIGTERM.
pub fn interrupted(signal: i32) -> u8 {
    const SHELL_BASE: u8 = 128;
    u8::try_from(signal).map_or(SHELL_BASE, |signal| SHELL_BASE.saturating_add(signal))
}
