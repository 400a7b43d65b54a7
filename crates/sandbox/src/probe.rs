//! What this host allows, found out by trying, with what to do about each refusal.
//!
//! The trials happen in a process of their own, in a role: some cannot be taken back.

use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::enter::{Enter, Privilege, enter};
use crate::error::SandboxError;
use crate::filesystem;
use crate::mount::{NewFs, attach_at};
use crate::overlay::{self, Upper, kernel_version};
use crate::refusal::Rules;
use crate::sandbox::Limits;
use crate::seccomp::{self, Ownership, Profile};

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

impl HostReport {
    /// Whether programs can be run here at all.
    pub fn can_run(&self) -> bool {
        self.abilities
            .iter()
            .all(|ability| ability.verdict != Verdict::Missing)
    }
}

/// The name by which [`crate::dispatch`] knows the role that tries things.
pub(crate) const ROLE: &str = "cairn-sandbox-probe";

/// Tries everything in a child process; the caller's own state does not change. `exe` is the
/// program that calls [`crate::dispatch`]; `dir` is a writable directory on the file system that
/// is to hold snapshots.
pub fn probe(exe: &Path, dir: &Path) -> Result<HostReport, SandboxError> {
    let failed = |source| SandboxError::Host {
        doing: "probing the host".to_owned(),
        source,
    };
    let output = Command::new(exe)
        .arg0(ROLE)
        .arg(exe)
        .arg(dir)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))
}

/// The role: prints the report.
pub(crate) fn main() -> ! {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let exe = arguments.next().unwrap_or_default();
    let dir = arguments.next().unwrap_or_default();
    let report = HostReport {
        abilities: try_all(&exe, &dir),
    };
    let text = serde_json::to_vec(&report).unwrap_or_default();
    let _ = rustix::io::write(rustix::stdio::stdout(), &text);
    std::process::exit(0)
}

fn try_all(exe: &Path, dir: &Path) -> Vec<Ability> {
    let mut abilities = vec![kernel()];
    let configuration = Enter {
        exe: exe.to_owned(),
        ..Enter::default()
    };
    let range = range_failure(&configuration);
    match enter(&configuration) {
        Ok(privilege) => {
            abilities.push(works("private mounts", "a mount namespace can be made"));
            abilities.push(ids(privilege, range));
            abilities.extend(inside(dir));
        }
        Err(error) => {
            let remedy = match &error {
                SandboxError::Refused { hint, .. } => hint.clone(),
                _ => None,
            };
            abilities.push(missing("private mounts", error, remedy));
        }
    }
    abilities
}

/// What can be tried once this process has its namespaces. The filters come last: they stay.
fn inside(dir: &Path) -> Vec<Ability> {
    let mut abilities = vec![overlayfs(dir)];
    abilities.extend(namespaces());
    abilities.push(own_proc());
    abilities.push(limits());
    abilities.extend(filters());
    abilities
}

fn kernel() -> Ability {
    let (major, minor) = kernel_version();
    let detail = format!("Linux {major}.{minor}");
    match (major, minor) {
        version if version >= (6, 6) => works("kernel", detail),
        version if version >= (5, 11) => {
            let remedy = "Linux 6.6 takes any number of layers and keeps attributes in memory";
            degraded("kernel", detail, remedy)
        }
        _ => missing(
            "kernel",
            detail,
            Some("Linux 5.11 or newer is needed".to_owned()),
        ),
    }
}

/// Why an ordinary user's range would not be used, from what the files say.
fn range_failure(configuration: &Enter) -> Option<String> {
    let uid = rustix::process::geteuid().as_raw();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let name = crate::idmap::name_of(&passwd, uid);
    for file in ["/etc/subuid", "/etc/subgid"] {
        if crate::idmap::ranges_of(&read(file), name, uid, uid).len() < 2 {
            let name = name.map_or_else(|| uid.to_string(), str::to_owned);
            return Some(format!(
                "no range in {file}; as root: `usermod --add-subuids 100000-165535 \
                 --add-subgids 100000-165535 {name}`"
            ));
        }
    }
    let find = |program: &str| {
        configuration
            .program_dirs
            .iter()
            .any(|dir| dir.join(program).is_file())
    };
    let has_programs = find("newuidmap") && find("newgidmap");
    (!has_programs).then(|| {
        "newuidmap and newgidmap are not installed (package uidmap or shadow-utils)".to_owned()
    })
}

fn ids(privilege: Privilege, failure: Option<String>) -> Ability {
    let name = "ids";
    match privilege {
        Privilege::Root => works(name, "all"),
        Privilege::SubuidRange => {
            let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let count: u64 = crate::idmap::parse_map(&map)
                .iter()
                .map(|range| u64::from(range.count))
                .sum();
            works(name, format!("{count}, by /etc/subuid and /etc/subgid"))
        }
        Privilege::SingleId => {
            let failure = failure.unwrap_or_else(|| {
                "newuidmap or newgidmap failed; run one by hand to see why".to_owned()
            });
            degraded(name, "one; owners of files are recorded, not set", failure)
        }
    }
}

fn overlayfs(dir: &Path) -> Ability {
    let name = "overlayfs";
    let kind = filesystem::kind_of(dir)
        .map(|kind| kind.to_string())
        .unwrap_or_default();
    match try_overlay(dir) {
        Ok(()) => works(name, format!("on {kind}")),
        Err(error) => {
            let remedy = format!(
                "keep the store on a local disk; {} is on {kind}",
                dir.display()
            );
            missing(name, error, Some(remedy))
        }
    }
}

/// Mounts one, deletes a file and replaces a directory in it, and looks at what the upper got.
fn try_overlay(dir: &Path) -> Result<(), Failed> {
    let base = dir.join(format!("cairn-probe-{}", std::process::id()));
    let tried = try_overlay_in(&base);
    // Overlayfs leaves a directory without permission bits, which only matters to others.
    let _ = fs::remove_dir_all(&base);
    tried
}

fn try_overlay_in(base: &Path) -> Result<(), Failed> {
    let path = |name: &str| base.join(name);
    for name in ["low/dir", "up", "work", "at"] {
        fs::create_dir_all(path(name))?;
    }
    fs::write(path("low/file"), "")?;
    let (upper, work) = (path("up"), path("work"));
    let upper = Upper {
        upper: &upper,
        work: &work,
    };
    let tree = overlay::mount(&[path("low")], Some(upper), &path("at"))?;
    attach_at(&tree, &path("at"))?;
    let changed = (|| {
        fs::remove_file(path("at/file"))?;
        fs::remove_dir(path("at/dir"))?;
        fs::create_dir(path("at/dir"))
    })();
    rustix::mount::unmount(path("at"), rustix::mount::UnmountFlags::DETACH)?;
    changed?;
    let mut value = [0u8; 8];
    let is_opaque = rustix::fs::getxattr(path("up/dir"), "user.overlay.opaque", &mut value);
    let has_whiteout = fs::symlink_metadata(path("up/file"))?;
    if is_opaque.is_err() || has_whiteout.is_file() {
        return Err(Failed("deletions are not recorded in the upper".to_owned()));
    }
    Ok(())
}

/// Why a trial failed, in words.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Failed {
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        Failed(format!("{error}{cause}"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn namespaces() -> Vec<Ability> {
    let all = [
        ("pid namespaces", UnshareFlags::NEWPID),
        ("ipc namespaces", UnshareFlags::NEWIPC),
        ("uts namespaces", UnshareFlags::NEWUTS),
        ("cgroup namespaces", UnshareFlags::NEWCGROUP),
        ("network namespaces", UnshareFlags::NEWNET),
    ];
    all.into_iter()
        .map(|(name, flag)| {
            // SAFETY: none of the flags touches descriptors, and this process has one thread.
            match unsafe { rustix::thread::unshare_unsafe(flag) } {
                Ok(()) => works(name, "can be made"),
                Err(errno) => missing(name, errno, Rules::of_host().remedy(errno)),
            }
        })
        .collect()
}

/// Only a process of the new pid namespace may mount its `/proc`, and only children are in it.
fn own_proc() -> Ability {
    let name = "own /proc";
    match in_child(|| NewFs::open("proc").and_then(|fs| fs.mount(MountAttrFlags::empty()))) {
        Ok(()) => works(name, "can be mounted"),
        Err(errno) => degraded(
            name,
            errno,
            "the outer one is shown inside; a container around this process needs \
             `--security-opt systempaths=unconfined`",
        ),
    }
}

/// Tries something in a child process, which ends with the error number.
fn in_child<T>(act: impl FnOnce() -> Result<T, Errno>) -> Result<(), Errno> {
    // SAFETY: this process has a single thread, so the child may go on as it pleases.
    match unsafe { libc::fork() } {
        0 => {
            let code = act().map_or_else(|errno| errno.raw_os_error(), |_| 0);
            // SAFETY: nothing of the parent's, of which this is a copy, is to be cleaned up here.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let status = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
            let code = status
                .and_then(|(_, status)| status.exit_status())
                .unwrap_or(libc::EIO);
            if code == 0 {
                Ok(())
            } else {
                Err(Errno::from_raw_os_error(code))
            }
        }
    }
}

fn limits() -> Ability {
    let name = "memory, cpu and process limits";
    let some = Limits {
        memory_bytes_max: Some(1 << 30),
        ..Limits::default()
    };
    match cgroup::make(&some) {
        Ok(_) => works(
            name,
            if cgroup::is_unified() {
                "cgroup v2"
            } else {
                "cgroup v1"
            },
        ),
        Err(error) => degraded(
            name,
            Failed::from(error),
            "limits that a run asks for will fail",
        ),
    }
}

fn filters() -> Vec<Ability> {
    let name = "chown supervisor";
    let installed = rustix::thread::set_no_new_privs(true).and_then(|()| {
        seccomp::install(Profile {
            confined: false,
            ownership: Ownership::Recorded,
        })
    });
    let supervisor = match installed {
        Ok(_) => works(name, "seccomp notifications"),
        Err(errno) => degraded(
            name,
            errno,
            "with a single id, owners of files are neither set nor recorded here",
        ),
    };
    let profile = Profile {
        confined: true,
        ownership: Ownership::Real,
    };
    let seccomp = match seccomp::install(profile) {
        Ok(_) => works("seccomp profile", "can be installed"),
        Err(errno) => missing("seccomp profile", errno, None),
    };
    vec![seccomp, supervisor]
}

fn works(name: &str, detail: impl fmt::Display) -> Ability {
    ability(name, Verdict::Works, detail, None)
}

fn degraded(name: &str, detail: impl fmt::Display, remedy: impl Into<String>) -> Ability {
    ability(name, Verdict::Degraded, detail, Some(remedy.into()))
}

fn missing(name: &str, detail: impl fmt::Display, remedy: Option<String>) -> Ability {
    ability(name, Verdict::Missing, detail, remedy)
}

fn ability(
    name: &str,
    verdict: Verdict,
    detail: impl fmt::Display,
    remedy: Option<String>,
) -> Ability {
    Ability {
        name: name.to_owned(),
        verdict,
        detail: detail.to_string(),
        remedy,
    }
}
