//! What this host allows, found out by trying, with what to do about each refusal.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;

/// What was found, one entry for each thing a sandbox may need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// In the order in which a sandbox needs them.
    pub abilities: Vec<Ability>,
}

/// One thing that a host may allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ability {
    /// What it is: "user namespaces".
    pub name: String,
    /// Whether it is there.
    pub verdict: Verdict,
    /// What was seen: a version, a range of ids, the kernel's answer.
    pub detail: String,
    /// What to do when it is not there.
    pub remedy: Option<String>,
}

/// Whether something works here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It works.
    Works,
    /// It does not; something lesser takes its place.
    Degraded,
    /// It does not, and without it nothing runs.
    Missing,
}

/// Tries everything in a child process; the caller's own state does not change. `exe` is the
/// program that calls [`crate::dispatch`]; `dir` is on the file system that is to hold snapshots.
pub fn probe(exe: &Path, dir: &Path) -> Result<HostReport, SandboxError> {
    let _ = (exe, dir);
    Ok(HostReport {
        abilities: Vec::new(),
    })
}
