//! A cgroup for one run, where this user may make one: limits on everything inside together.
//!
//! Without limits no cgroup is made; making one costs more than starting a process.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::SandboxError;
use crate::filesystem;
use crate::sandbox::Limits;

const MOUNT: &str = "/sys/fs/cgroup";

/// The directories of one run, removed with the value.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
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
        for directory in &self.directories {
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
