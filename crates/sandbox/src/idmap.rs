//! Which ids a user namespace gets, and the process that sets them.
//!
//! A process that has just entered its own user namespace may map one id, its own. More are for
//! `newuidmap` and `newgidmap`, which are setuid root and must run outside: a copy of this program
//! is started beforehand in a role of its own, waits for the word, runs them and ends.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The name by which [`crate::dispatch`] knows the role of the process outside.
pub(crate) const ROLE: &str = "cairn-sandbox-idmap";

/// `count` ids from `inside` on are those from `outside` on in the outer namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// How the ids are to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// By the two programs, with the ranges of `/etc/subuid` and `/etc/subgid`.
    Programs {
        uid: Vec<Range>,
        gid: Vec<Range>,
        newuidmap: PathBuf,
        newgidmap: PathBuf,
    },
    /// By writing the maps from outside, where that is allowed: all ids that exist here.
    Same { uid: Vec<Range>, gid: Vec<Range> },
    /// Only our own.
    Single,
}

/// The ranges that a file gives to a user, by name or number, after the user's own id as 0.
pub(crate) fn ranges_of(text: &str, name: Option<&str>, uid: u32, own: u32) -> Vec<Range> {
    let mut ranges = vec![Range {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut next = 1u32;
    for line in text.lines() {
        let mut fields = line.trim().split(':');
        let (Some(user), Some(start), Some(count)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(outside), Ok(count)) = (start.parse::<u32>(), count.parse::<u32>()) else {
            continue;
        };
        let is_ours = name == Some(user) || user.parse() == Ok(uid);
        if is_ours && count > 0 {
            let Some(after) = next.checked_add(count) else {
                break;
            };
            ranges.push(Range {
                inside: next,
                outside,
                count,
            });
            next = after;
        }
    }
    ranges
}

/// The name that `/etc/passwd` has for an id. Names from elsewhere (LDAP) are found by number in
/// `/etc/subuid` or not at all.
pub(crate) fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then_some(name)
    })
}

/// A map as the kernel prints it, with every id mapped to itself.
pub(crate) fn same_as(map: &str) -> Vec<Range> {
    parse_map(map)
        .iter()
        .map(|range| Range {
            outside: range.inside,
            ..*range
        })
        .collect()
}

pub(crate) fn parse_map(map: &str) -> Vec<Range> {
    map.lines()
        .filter_map(|line| {
            let numbers: Vec<u32> = line
                .split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect();
            match numbers[..] {
                [inside, outside, count] => Some(Range {
                    inside,
                    outside,
                    count,
                }),
                _ => None,
            }
        })
        .collect()
}

/// As the kernel reads it.
pub(crate) fn print_map(ranges: &[Range]) -> String {
    ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count))
        .collect()
}

/// What this user can have, from the files of the host.
pub(crate) fn plan(uid: u32, gid: u32, program_dirs: &[PathBuf]) -> Plan {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let name = name_of(&passwd, uid);
    let uids = ranges_of(&read("/etc/subuid"), name, uid, uid);
    let gids = ranges_of(&read("/etc/subgid"), name, uid, gid);
    let find = |program: &str| {
        program_dirs
            .iter()
            .map(|dir| dir.join(program))
            .find(|path| path.is_file())
    };
    match (find("newuidmap"), find("newgidmap")) {
        (Some(newuidmap), Some(newgidmap)) if uids.len() > 1 && gids.len() > 1 => Plan::Programs {
            uid: uids,
            gid: gids,
            newuidmap,
            newgidmap,
        },
        _ => Plan::Single,
    }
}

/// The process outside, waiting.
pub(crate) struct Outside {
    child: Child,
}

impl Outside {
    /// Starts it, where the plan needs one. To be called before entering the namespace.
    pub(crate) fn start(exe: &Path, plan: &Plan) -> io::Result<Option<Outside>> {
        let mut command = Command::new(exe);
        command.arg0(ROLE).arg(std::process::id().to_string());
        match plan {
            Plan::Single => return Ok(None),
            Plan::Same { uid, gid } => {
                command.args(["write", "", &print_map(uid), &print_map(gid)])
            }
            Plan::Programs {
                uid,
                gid,
                newuidmap,
                newgidmap,
            } => command
                .arg(newuidmap)
                .arg(newgidmap)
                .args([print_map(uid), print_map(gid)]),
        };
        command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Ok(Some(Outside {
            child: command.spawn()?,
        }))
    }

    /// Has the maps of this process set; the answer says what failed.
    pub(crate) fn set_maps(mut self) -> Result<(), String> {
        let answer = self.exchange().map_err(|error| error.to_string());
        let _ = self.child.wait();
        match answer?.as_str() {
            "done" => Ok(()),
            failed => Err(failed.to_owned()),
        }
    }

    fn exchange(&mut self) -> io::Result<String> {
        if let Some(mut word) = self.child.stdin.take() {
            word.write_all(b"g")?;
        }
        let mut answer = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            output.read_to_string(&mut answer)?;
        }
        Ok(answer)
    }
}

/// The role outside: waits for the word, sets the maps, says how it went.
pub(crate) fn main() -> ! {
    let mut word = [0];
    // Without the word the process that wanted the maps is gone.
    if io::stdin().read_exact(&mut word).is_err() {
        std::process::exit(1);
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let answer = match &arguments[..] {
        [pid, uid_program, gid_program, uids, gids] => set(pid, uid_program, uids, "uid_map")
            .and_then(|()| set(pid, gid_program, gids, "gid_map"))
            .map_or_else(|error| error, |()| "done".to_owned()),
        _ => "five arguments expected".to_owned(),
    };
    let _ = io::stdout().write_all(answer.as_bytes());
    std::process::exit(0)
}

fn set(pid: &OsStr, program: &OsStr, map: &OsStr, file: &str) -> Result<(), String> {
    let map = map.to_string_lossy();
    if program == "write" || program.is_empty() {
        let path = Path::new("/proc").join(pid).join(file);
        return fs::write(&path, map.as_bytes())
            .map_err(|error| format!("{}: {error}", path.display()));
    }
    let program = Path::new(program);
    let output = Command::new(program)
        .arg(pid)
        .args(map.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{} ended with {}: {}",
        program.display(),
        output.status,
        said.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "alice:100000:65536\n1001:200000:1000\nbob:300000:10\nodd\nalice:x:1\n";

    fn ranges(name: Option<&str>, uid: u32) -> Vec<(u32, u32, u32)> {
        ranges_of(SUBUID, name, uid, uid)
            .into_iter()
            .map(|range| (range.inside, range.outside, range.count))
            .collect()
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        assert_eq!(
            ranges(Some("alice"), 1000),
            [(0, 1000, 1), (1, 100_000, 65_536)]
        );
        assert_eq!(ranges(None, 1001), [(0, 1001, 1), (1, 200_000, 1000)]);
        assert_eq!(
            ranges(Some("bob"), 1001),
            [(0, 1001, 1), (1, 200_000, 1000), (1001, 300_000, 10)]
        );
        assert_eq!(ranges(Some("carol"), 1002), [(0, 1002, 1)]);
    }

    #[test]
    fn a_full_map_becomes_itself() {
        let map = "         0          0 4294967295\n";
        assert_eq!(
            same_as(map),
            [Range {
                inside: 0,
                outside: 0,
                count: u32::MAX
            }]
        );
        let nested = "0 1000 1\n1 100000 65536\n";
        assert_eq!(print_map(&same_as(nested)), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000), Some("alice"));
        assert_eq!(name_of(passwd, 5), None);
    }
}
