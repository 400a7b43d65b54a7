//! A cgroup for one run, where this user may make one: limits on everything inside together.
//!
//! Without limits no cgroup is made; making one costs more than starting a process. It lies beside
//! our own, or below one that the caller names.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::SandboxError;
use crate::filesystem;
use crate::sandbox::Limits;

const MOUNT: &str = "/sys/fs/cgroup";

/// The directories of one run, removed with the value.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// Those that it joins, one in each hierarchy.
    directories: Vec<PathBuf>,
    /// What had to be made above them, innermost first.
    parents: Vec<PathBuf>,
}

/// One thing to be limited: its controller, and the files of the new and the old hierarchy.
struct Limit {
    controller: &'static str,
    unified: (&'static str, String),
    legacy: (&'static str, String),
}

const PERIOD_US: u64 = 100_000;

fn limits_of(limits: &Limits) -> Vec<Limit> {
    let memory = limits.memory_bytes_max.map(|bytes| Limit {
        controller: "memory",
        unified: ("memory.max", bytes.to_string()),
        legacy: ("memory.limit_in_bytes", bytes.to_string()),
    });
    let processes = limits.processes_max.map(|count| Limit {
        controller: "pids",
        unified: ("pids.max", count.to_string()),
        legacy: ("pids.max", count.to_string()),
    });
    let cpus = limits.cpus_max.map(|cpus| {
        // A quota below a millisecond is refused by the kernel.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let quota = ((cpus * PERIOD_US as f64) as u64).max(1000);
        Limit {
            controller: "cpu",
            unified: ("cpu.max", format!("{quota} {PERIOD_US}")),
            legacy: ("cpu.cfs_quota_us", quota.to_string()),
        }
    });
    memory.into_iter().chain(processes).chain(cpus).collect()
}

/// Makes the cgroup that the limits ask for; `None` when they ask for none.
pub(crate) fn make(limits: &Limits) -> Result<Option<Cgroup>, SandboxError> {
    let wanted = limits_of(limits);
    if let Some(parent) = &limits.cgroup_parent {
        return make_below(parent, &wanted).map(Some);
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    let made = if is_unified() {
        make_unified(&wanted)
    } else {
        make_legacy(&wanted)
    };
    made.map(Some).map_err(|source| SandboxError::Host {
        doing: "making a cgroup for the limits (run as root, or below `systemd-run --user \
                --scope -p Delegate=yes`)"
            .to_owned(),
        source,
    })
}

pub(crate) fn is_unified() -> bool {
    filesystem::kind_of(Path::new(MOUNT)).is_some_and(filesystem::Kind::is_cgroup2)
}

impl Cgroup {
    /// The files by which a process joins.
    pub(crate) fn procs(&self) -> Result<Vec<OwnedFd>, SandboxError> {
        let open = |directory: &PathBuf| {
            let path = directory.join("cgroup.procs");
            OpenOptions::new().write(true).open(path).map(OwnedFd::from)
        };
        self.directories
            .iter()
            .map(open)
            .collect::<io::Result<_>>()
            .map_err(|source| SandboxError::Host {
                doing: "opening the cgroup".to_owned(),
                source,
            })
    }

    /// A cgroup of a hierarchy, made where it is missing.
    fn ensure(&mut self, hierarchy: &Path, path: &Path) -> io::Result<PathBuf> {
        let mut at = hierarchy.to_owned();
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(part) => Some(part),
            _ => None,
        });
        for part in parts {
            at.push(part);
            match fs::create_dir(&at) {
                Ok(()) => self.parents.insert(0, at.clone()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }

    fn into_directories(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.directories)
    }

    /// Whether something in it was killed for want of memory.
    pub(crate) fn has_run_out_of_memory(&self) -> bool {
        self.directories.iter().any(|directory| {
            ["memory.events", "memory.oom_control"].iter().any(|file| {
                fs::read_to_string(directory.join(file))
                    .is_ok_and(|text| count(&text, "oom_kill") > 0)
            })
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.directories.iter().chain(&self.parents) {
            // Its processes are gone, but the kernel may take a moment to notice.
            for _ in 0..20 {
                match fs::remove_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// The number behind a word at the beginning of a line; 0 without one.
pub(crate) fn count(text: &str, word: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == word)
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or(0)
}

/// Makes a cgroup below one that the caller names, in every hierarchy there is. What was missing of
/// the parent is removed with it.
fn make_below(parent: &str, wanted: &[Limit]) -> Result<Cgroup, SandboxError> {
    let path = Path::new(parent);
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if parent.is_empty() || !path.components().all(is_plain) {
        let text = format!("the parent of a cgroup is no path: {parent:?}");
        return Err(SandboxError::Invalid(text));
    }
    let below_all = || -> io::Result<Cgroup> {
        let mut cgroup = Cgroup {
            directories: Vec::new(),
            parents: Vec::new(),
        };
        if is_unified() {
            let parent = cgroup.ensure(Path::new(MOUNT), path)?;
            let made = make_unified_in(&parent, wanted)?;
            cgroup.directories = made.into_directories();
            return Ok(cgroup);
        }
        for controller in controllers(&fs::read_to_string("/proc/self/cgroup")?) {
            let hierarchy = Path::new(MOUNT).join(&controller);
            if !hierarchy.is_dir() {
                continue;
            }
            let parent = cgroup.ensure(&hierarchy, path)?;
            let directory = parent.join(name());
            fs::create_dir(&directory)?;
            cgroup.directories.push(directory.clone());
            for limit in wanted.iter().filter(|limit| limit.controller == controller) {
                let (file, value) = &limit.legacy;
                fs::write(directory.join(file), value)?;
            }
        }
        Ok(cgroup)
    };
    below_all().map_err(|source| SandboxError::Host {
        doing: format!("making a cgroup below {parent} (who may write there?)"),
        source,
    })
}

/// The controllers of the old hierarchies that a process can join without further ado. A new
/// cgroup of `cpuset` takes no process before it has CPUs.
fn controllers(own: &str) -> Vec<String> {
    let lists = own.lines().filter_map(|line| line.split(':').nth(1));
    lists
        .flat_map(|list| list.split(','))
        .filter(|one| !one.is_empty() && !one.starts_with("name=") && *one != "cpuset")
        .map(str::to_owned)
        .collect()
}

fn make_unified(wanted: &[Limit]) -> io::Result<Cgroup> {
    let own = own_path(None)?;
    // A cgroup with processes cannot hand controllers down, except for the root; so the new one
    // goes beside our own where that is allowed, and to the top where it is not.
    let mut last = io::Error::from(io::ErrorKind::PermissionDenied);
    for parent in [own.parent(), Some(Path::new("/"))].into_iter().flatten() {
        let parent = below(Path::new(MOUNT), parent);
        match make_unified_in(&parent, wanted) {
            Ok(cgroup) => return Ok(cgroup),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn make_unified_in(parent: &Path, wanted: &[Limit]) -> io::Result<Cgroup> {
    for limit in wanted {
        // Fails where it is enabled already by somebody else; then the file below exists.
        let _ = fs::write(
            parent.join("cgroup.subtree_control"),
            format!("+{}", limit.controller),
        );
    }
    let directory = parent.join(name());
    fs::create_dir(&directory)?;
    let cgroup = Cgroup {
        directories: vec![directory.clone()],
        parents: Vec::new(),
    };
    for limit in wanted {
        let (file, value) = &limit.unified;
        fs::write(directory.join(file), value)?;
    }
    Ok(cgroup)
}

fn make_legacy(wanted: &[Limit]) -> io::Result<Cgroup> {
    let mut cgroup = Cgroup {
        directories: Vec::new(),
        parents: Vec::new(),
    };
    for limit in wanted {
        let own = own_path(Some(limit.controller))?;
        let hierarchy = Path::new(MOUNT).join(limit.controller);
        let directory = below(&hierarchy, &own).join(name());
        fs::create_dir(&directory)?;
        cgroup.directories.push(directory.clone());
        let (file, value) = &limit.legacy;
        fs::write(directory.join(file), value)?;
    }
    Ok(cgroup)
}

/// This process's cgroup in the hierarchy of a controller, or in the unified one.
fn own_path(controller: Option<&str>) -> io::Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    parse_own_path(&text, controller).ok_or(io::Error::from(io::ErrorKind::NotFound))
}

fn parse_own_path(text: &str, controller: Option<&str>) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|known| known == name),
        };
        is_it.then(|| PathBuf::from(path))
    })
}

fn below(base: &Path, absolute: &Path) -> PathBuf {
    base.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

fn name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("cairn-{}-{number}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_both_hierarchies() {
        let text = "8:pids:/\n4:cpu,cpuacct:/user/x\n0::/user.slice/a:b.scope\n";
        assert_eq!(
            parse_own_path(text, None),
            Some("/user.slice/a:b.scope".into())
        );
        assert_eq!(parse_own_path(text, Some("cpu")), Some("/user/x".into()));
        assert_eq!(parse_own_path(text, Some("memory")), None);
    }

    #[test]
    fn a_parent_is_below_the_root_of_its_hierarchy() {
        for wrong in ["", "../up", "/a/../../b", "./a"] {
            let made = make_below(wrong, &[]);
            assert!(matches!(made, Err(SandboxError::Invalid(_))), "{wrong:?}");
        }
        let own = "9:name=systemd:/\n8:pids:/\n4:cpu,cpuacct:/x\n3:cpuset:/\n0::/\n";
        assert_eq!(controllers(own), ["pids", "cpu", "cpuacct"]);
    }

    #[test]
    fn counters_are_read_by_their_whole_name() {
        let text = "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n";
        assert_eq!(count(text, "oom_kill"), 3);
        assert_eq!(count(text, "oom"), 0);
    }

    #[test]
    fn limits_become_what_the_kernel_reads() {
        let limits = Limits {
            cpus_max: Some(1.5),
            memory_bytes_max: Some(1 << 20),
            ..Limits::default()
        };
        let values: Vec<String> = limits_of(&limits)
            .into_iter()
            .map(|l| l.unified.1)
            .collect();
        assert_eq!(values, ["1048576", "150000 100000"]);
    }
}
