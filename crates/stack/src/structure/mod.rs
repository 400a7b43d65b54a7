//! container-structure-test files (schemas 2.0.0 and 1.0.0), run without a daemon.
//!
//! ```text
//! text       --parse-->     TestFile       unknown keys and wrong types are errors with a place
//! TestFile   --digest-->    ContentDigest  what evidence is kept by
//! TestFile + Subject + Conditions --evaluate--> TestResults
//! ```
//!
//! Files and licences are looked up in the image's snapshots without a mount, settings in its
//! config; only command tests start a process, in the sandbox (EPI-34: no docker socket).
//!
//! Verdicts are those of the original but for these cases, where it is plainly wrong:
//!
//! - a variable that nobody set stays in a command as written, for the shell to expand
//!   ([`expand()`]), and a test's own `envVars` are expanded like the global ones;
//! - a symbolic link to a relative path is followed when a file is read;
//! - an exposed port may be named with its protocol (`8080/tcp`);
//! - a pattern that does not compile fails its test with the reason, and warns when the file is
//!   read;
//! - a file that has no tests is a warning; the caller decides what it means.

mod command;
mod digest;
mod env_file;
mod evaluate;
mod expand;
mod file;
mod filesystem;
mod metadata;
mod mode;
mod node;
mod parse;
mod pattern;
mod result;
mod subject;

#[cfg(test)]
mod tests;

pub(crate) use command::{DEFAULT_PATH, accounts};
pub use digest::{digest, is_repeatable};
pub use evaluate::evaluate;
pub use expand::expand;
pub use file::*;
pub use mode::mode_string;
pub use parse::{Parsed, parse};
pub use pattern::{Pattern, PatternError};
pub use result::{CheckError, Failure, TestKind, TestResult, Verdict};
pub use subject::{Conditions, Subject};
pub(crate) use subject::{Inspection, lookup, set};
