//! Turns this process into one that may mount: a private mount namespace, and for an ordinary
//! user a user namespace in which it is uid 0.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::capabilities;
use crate::error::SandboxError;
use crate::idmap::{self, Outside, Plan, Range, parse_map};
use crate::refusal::Rules;

/// How to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// The program that calls [`crate::dispatch`] first thing: `/proc/self/exe` except in tests.
    pub exe: PathBuf,
    /// Where `newuidmap` and `newgidmap` are looked for.
    pub program_dirs: Vec<PathBuf>,
    /// Does without a range of ids even where there is one.
    pub single_id: bool,
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
            single_id: false,
        }
    }
}

/// What this process may do with the ownership of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
///
/// Root with CAP_SYS_ADMIN gets a mount namespace. Everybody else gets a user namespace too, with
/// all ids that the host gives them. Which of the two it was shows in the [`Privilege`].
pub fn enter(enter: &Enter) -> Result<Privilege, SandboxError> {
    if capabilities::may_mount() {
        unshare(UnshareFlags::NEWNS).map_err(refused("mount namespace"))?;
    } else {
        enter_user_namespace(enter)?;
    }
    // Nothing goes out. What the host mounts still comes in: file systems mounted on first use,
    // as homes on clusters are, appear in the host's namespace.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(refused("mount of its own"))?;
    privilege()
}

/// What the ids mapped into this process's user namespace allow.
pub fn privilege() -> Result<Privilege, SandboxError> {
    let read = |file: &str| {
        fs::read_to_string(Path::new("/proc/self").join(file)).map_err(|source| {
            SandboxError::Host {
                doing: format!("reading /proc/self/{file}"),
                source,
            }
        })
    };
    Ok(of_maps(
        &parse_map(&read("uid_map")?),
        &parse_map(&read("gid_map")?),
    ))
}

fn of_maps(uids: &[Range], gids: &[Range]) -> Privilege {
    let all = [Range {
        inside: 0,
        outside: 0,
        count: u32::MAX,
    }];
    let count = |ranges: &[Range]| {
        ranges
            .iter()
            .map(|range| u64::from(range.count))
            .sum::<u64>()
    };
    if uids == all && gids == all {
        Privilege::Root
    } else if count(uids).min(count(gids)) > 1 {
        Privilege::SubuidRange
    } else {
        Privilege::SingleId
    }
}

fn enter_user_namespace(enter: &Enter) -> Result<(), SandboxError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let plan = match (enter.single_id, uid) {
        (true, _) => Plan::Single,
        (false, 0) if capabilities::may_set_ids() => plan_for_bound_root(),
        (false, _) => idmap::plan(uid, gid, &enter.program_dirs),
    };
    // A program that cannot be started leaves us with the single id, like one that fails.
    let outside = Outside::start(&enter.exe, &plan).unwrap_or_default();
    unshare_alone(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
        .map_err(refused("user namespace"))?;
    if outside.is_some_and(|outside| outside.set_maps().is_ok()) {
        return Ok(());
    }
    map_single("uid_map", uid)?;
    map_single("gid_map", gid)
}

/// Root in a container that keeps CAP_SYS_ADMIN from it: the ids that exist there, all of them.
fn plan_for_bound_root() -> Plan {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Plan::Same {
        uid: idmap::same_as(&read("/proc/self/uid_map")),
        gid: idmap::same_as(&read("/proc/self/gid_map")),
    }
}

/// Maps our own id to 0, unless a map was set already: of two programs one may have succeeded.
fn map_single(file: &str, own: u32) -> Result<(), SandboxError> {
    let path = Path::new("/proc/self").join(file);
    let failed = |source: io::Error| SandboxError::Host {
        doing: format!("writing {}", path.display()),
        source,
    };
    if !fs::read_to_string(&path).map_err(failed)?.trim().is_empty() {
        return Ok(());
    }
    if file == "gid_map" {
        // The kernel asks for this before an ordinary process may map its group.
        fs::write("/proc/self/setgroups", "deny").map_err(failed)?;
    }
    match fs::write(&path, format!("0 {own} 1\n")) {
        // Since Linux 5.12 mapping root takes a capability that this root does not have.
        Err(source) if own == 0 && source.kind() == io::ErrorKind::PermissionDenied => {
            Err(SandboxError::Refused {
                what: "user namespace of root",
                hint: Some("root has no capabilities here; run as an ordinary user".to_owned()),
                source,
            })
        }
        written => written.map_err(failed),
    }
}

/// As [`unshare`], which refuses a user namespace to a process with several threads. One that was
/// joined has done its work and is still counted until the kernel has let go of it.
fn unshare_alone(flags: UnshareFlags) -> Result<(), Errno> {
    const TRIES: usize = 200;
    const PAUSE: Duration = Duration::from_millis(1);
    for _ in 0..TRIES {
        match unshare(flags) {
            Err(Errno::INVAL) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    unshare(flags)
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the flags do not contain CLONE_FILES, so no descriptor changes its meaning.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn refused(what: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Refused {
        what,
        hint: Rules::of_host().remedy(errno),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_tell_the_privilege() {
        let of = |uids: &str, gids: &str| of_maps(&parse_map(uids), &parse_map(gids));
        let all = "0 0 4294967295";
        assert_eq!(of(all, all), Privilege::Root);
        let range = "0 1000 1\n1 100000 65536";
        assert_eq!(of(range, range), Privilege::SubuidRange);
        assert_eq!(of("0 0 65536", "0 0 65536"), Privilege::SubuidRange);
        assert_eq!(of("0 1000 1", "0 1000 1"), Privilege::SingleId);
        assert_eq!(of(range, "0 1000 1"), Privilege::SingleId);
    }
}
