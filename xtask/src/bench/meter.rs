//! Wall time, processor time and peak memory of a command and everything it starts.
//!
//! Processor time of the command's own tree is what the kernel adds to us when it is waited for
//! (`/proc/self/stat`, in ticks of 10 ms). A daemon is not waited for: its tree's own counters are
//! read before and after. Memory is sampled from `/proc` every few milliseconds, added up over both
//! trees: it is what was resident at once, file pages that several processes share counted for each.
//! A process that leaves its daemon's tree (containerd's shims do) is not seen: the daemons' figures
//! are a lower bound.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::command;
use crate::error::ChoreError;

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// The kernel's clock tick in `/proc`: 100 a second on every Linux that is shipped.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one turn cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    /// From start to end.
    pub(super) wall_s: f64,
    /// User and system time.
    pub(super) cpu_s: f64,
    /// Resident memory of the tree at its highest.
    pub(super) rss_mib: f64,
}

/// Runs commands one after another, as one turn; the first that fails ends it.
///
/// `daemons` are the processes that work on the commands' behalf.
pub(super) fn measure(commands: &mut [Command], daemons: &[u32]) -> Result<Cost, ChoreError> {
    sync()?;
    let cpu_before = cpu_of_children()? + cpu_of_trees(daemons);
    let begun = Instant::now();
    let mut rss_kib = 0;
    for command in commands.iter_mut() {
        rss_kib = rss_kib.max(run(command, daemons)?);
    }
    let wall_s = begun.elapsed().as_secs_f64();
    let cpu_s = cpu_of_children()? + cpu_of_trees(daemons) - cpu_before;
    Ok(Cost {
        wall_s,
        cpu_s: cpu_s.max(0.0),
        rss_mib: f64::from(u32::try_from(rss_kib).unwrap_or(u32::MAX)) / 1024.0,
    })
}

/// Runs one command and gives the peak of the trees' memory in KiB.
fn run(command: &mut Command, daemons: &[u32]) -> Result<u64, ChoreError> {
    let log = tempfile::tempfile().map_err(ChoreError::file("temporary file"))?;
    let stdout = log
        .try_clone()
        .map_err(ChoreError::file("temporary file"))?;
    let stderr = log
        .try_clone()
        .map_err(ChoreError::file("temporary file"))?;
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().map_err(|source| ChoreError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    let (status, peak) = watch(&mut child, daemons)?;
    if status.success() {
        return Ok(peak);
    }
    Err(ChoreError::Failed {
        command: command::shown(command),
        status: status.to_string(),
        output: read_log(log),
    })
}

fn watch(
    child: &mut Child,
    daemons: &[u32],
) -> Result<(std::process::ExitStatus, u64), ChoreError> {
    let mut roots = daemons.to_vec();
    roots.push(child.id());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(trees(&roots).into_iter().map(resident_kib).sum());
                thread::sleep(SAMPLE_EVERY);
            }
            peak
        });
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        let peak = sampler.join().unwrap_or_default();
        let status = status.map_err(ChoreError::file("waiting for a child"))?;
        Ok((status, peak))
    })
}

fn read_log(mut log: fs::File) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    let read = log
        .seek(SeekFrom::Start(0))
        .and_then(|_| log.read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(its output cannot be read: {error})"),
    }
}

/// Nobody pays for the dirty pages of the turn before.
fn sync() -> Result<(), ChoreError> {
    command::run(&mut Command::new("sync"))
}

/// Seconds used by all our children that have ended.
fn cpu_of_children() -> Result<f64, ChoreError> {
    let path = PathBuf::from("/proc/self/stat");
    let stat = fs::read_to_string(&path).map_err(ChoreError::file(&path))?;
    let [_, _, user, system] = cpu_fields(&stat).unwrap_or_default();
    Ok((user + system) / TICKS_PER_SECOND)
}

/// Seconds used by some processes, their descendants, and the descendants that have ended.
fn cpu_of_trees(roots: &[u32]) -> f64 {
    let ticks = trees(roots).into_iter().filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        cpu_fields(&stat)
    });
    ticks.map(|fields| fields.iter().sum::<f64>()).sum::<f64>() / TICKS_PER_SECOND
}

/// `utime stime cutime cstime` of a `stat` line; the program's name in front may hold anything.
fn cpu_fields(stat: &str) -> Option<[f64; 4]> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some([next()?, next()?, next()?, next()?])
}

/// Some processes and all their descendants.
fn trees(roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        found.extend(children(pid));
        at += 1;
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .flat_map(str::parse)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Resident memory of a process; nothing when it has gone.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    parse_resident_kib(&status).unwrap_or_default()
}

fn parse_resident_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_command_costs_time_and_memory() {
        let mut commands = [Command::new("sh")];
        commands[0].args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        let cost = measure(&mut commands, &[]).expect("it runs");
        assert!(
            cost.wall_s > 0.0 && cost.cpu_s > 0.0 && cost.rss_mib > 0.1,
            "{cost:?}"
        );
    }

    #[test]
    fn a_command_that_fails_shows_what_it_said() {
        let mut commands = [Command::new("sh")];
        commands[0].args(["-c", "echo a reason >&2; exit 3"]);
        let error = measure(&mut commands, &[]).expect_err("it fails");
        assert!(error.to_string().contains("a reason"), "{error}");
    }

    #[test]
    fn proc_is_read_right() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0";
        assert_eq!(cpu_fields(stat), Some([10.0, 20.0, 30.0, 40.0]));
        assert_eq!(
            parse_resident_kib("Name:\ta\nVmRSS:\t  512 kB\n"),
            Some(512)
        );
        assert!(trees(&[std::process::id()]).contains(&std::process::id()));
    }
}
