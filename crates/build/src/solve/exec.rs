//! `RUN`: a process in the sandbox over the base, its changes committed as a snapshot.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use cairn_sandbox::{Emulator, Exit, Network, Sandbox, Security, Writable};
use cairn_store::{ActiveSnapshot, EntryKind, LayeredView, Room, SnapshotId};

use super::Step;
use super::lines::Lines;
use super::mounts::Mounts;
use crate::account::{Accounts, Identity};
use crate::clue::{Circumstances, Clue};
use crate::engine::Engine;
use crate::event::{Event, Stream, VertexId};
use crate::failure::StepError;
use crate::graph::{ExecNetwork, ExecOp};
use crate::secrets::Secrets;

/// The name a step's machine has, as with BuildKit.
const HOSTNAME: &str = "buildkitsandbox";
/// `/etc/passwd` and `/etc/group` are read up to this size.
const ACCOUNTS_MAX: u64 = 16 * 1024 * 1024;
/// Where the kernel's file systems are mounted in every container.
const MOUNT_POINTS: [&str; 3] = ["dev", "proc", "sys"];
/// So many last lines of a step's output are looked at for the cause of its failure.
const LAST_LINES: usize = 20;

/// Runs a process; gives the snapshot of what it changed, or none if it changed nothing.
pub(super) fn run(step: &Step<'_>, exec: &ExecOp) -> Result<Option<SnapshotId>, StepError> {
    let store = step.engine.store;
    let view = LayeredView::new(store, &step.base.snapshots())?;
    let identity = accounts(&view)?.identity(&exec.user)?;
    let active = store.begin_snapshot()?;
    adopt_root(&view, &active)?;
    let mounts = Mounts::prepare(step, exec)?;

    tell_what_is_missing(step, exec);
    let settings = &step.engine.settings;
    let lowers = step
        .base
        .layers
        .iter()
        .map(|layer| store.snapshot_dir(&layer.snapshot))
        .collect();
    let writable = Writable::Upper {
        upper: active.upper().to_owned(),
        work: active.work().to_owned(),
    };
    let mut sandbox = Sandbox::new(
        settings.scratch.clone(),
        lowers,
        writable,
        exec.argv.clone(),
    );
    sandbox.env = environment(step.engine, exec, &identity, &mounts);
    sandbox.emulator = Emulator::needed_for(&exec.architecture);
    sandbox.cwd = PathBuf::from(&exec.cwd);
    sandbox.uid = identity.uid;
    sandbox.gid = identity.gid;
    sandbox.groups = identity.groups;
    sandbox.groups.extend(&settings.groups);
    sandbox.groups.extend(&exec.devices.groups);
    sandbox.network = match exec.network {
        ExecNetwork::Host => Network::Host,
        ExecNetwork::None => Network::None,
    };
    sandbox.hostname = Some(exec.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned()));
    sandbox.hosts.clone_from(&settings.hosts);
    sandbox.resolver.clone_from(&settings.resolver);
    sandbox.no_new_privileges = settings.no_new_privileges;
    sandbox.security = if exec.insecure {
        Security::Insecure
    } else {
        Security::Default
    };
    sandbox.timeout = settings.step_timeout;
    sandbox.shm_bytes = settings.shm_bytes;
    sandbox.limits.ulimits.clone_from(&settings.ulimits);
    sandbox.limits.memory_bytes_max = settings.memory_max;
    sandbox
        .limits
        .cgroup_parent
        .clone_from(&settings.cgroup_parent);
    sandbox.ca.clone_from(&settings.ca);
    // What the Dockerfile asks for lies over what the command line and devices give.
    sandbox.mounts.clone_from(&settings.volumes);
    sandbox.mounts.extend(exec.devices.mounts()?);
    sandbox.mounts.extend(mounts.to_sandbox());

    let secrets = Secrets::new(settings.secrets.values().map(Vec::as_slice));
    let (exit, last_lines) = run_logged(step, &sandbox, &secrets)?;
    let without = mounts.end();
    match exit {
        Exit::Code(0) => {}
        Exit::Cancelled => return Err(StepError::Cancelled),
        exit => {
            let clue = match exit {
                Exit::Code(code) => Clue::find(&Circumstances {
                    code,
                    argv: &exec.argv,
                    without: &without,
                    last_lines: &last_lines,
                    path: variable(&sandbox.env, "PATH"),
                    user: &exec.user,
                    uid: sandbox.uid,
                }),
                _ => None,
            };
            return Err(StepError::Process {
                command: secrets.mask(&shown(&exec.argv)),
                exit,
                // Asked while what the step wrote is still there.
                disk_full: store.room().is_ok_and(Room::is_full),
                clue,
            });
        }
    }
    leave_mount_points(&view, &active)?;
    commit_changes(&view, active)
}

/// Makes the directories that every container needs where the image has none, as the runtimes of
/// others leave them: so it runs with those that do not make them, too.
fn leave_mount_points(base: &LayeredView, active: &ActiveSnapshot) -> Result<(), StepError> {
    for name in MOUNT_POINTS {
        let path = active.upper().join(name);
        if base.lookup(Path::new(name))?.is_some() || std::fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        make_directory(&path).map_err(|source| StepError::Io {
            doing: "make",
            path,
            source,
        })?;
        active.set_owner(Path::new(name), 0, 0)?;
    }
    Ok(())
}

/// Makes a directory with the mode of all others, whatever the umask.
fn make_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// Says which devices, or what of them, a step goes without.
fn tell_what_is_missing(step: &Step<'_>, exec: &ExecOp) {
    for what in &exec.devices.without {
        step.engine.events.emit(Event::Notice {
            warning: true,
            text: format!("{}: the step goes without {what}", shown(&exec.argv)),
        });
    }
}

/// Commits an active snapshot unless nothing in it differs from the base.
pub(super) fn commit_changes(
    base: &LayeredView,
    active: ActiveSnapshot,
) -> Result<Option<SnapshotId>, StepError> {
    let upper = active.upper().to_owned();
    let io = |source| StepError::Io {
        doing: "read",
        path: upper.clone(),
        source,
    };
    let empty = std::fs::read_dir(&upper).map_err(io)?.next().is_none();
    if empty && !root_changed(base, &upper)? {
        return Ok(None);
    }
    Ok(Some(active.commit()?))
}

/// Gives the new snapshot's root the attributes of the base's: in an overlay the topmost
/// directory's count.
pub(super) fn adopt_root(base: &LayeredView, active: &ActiveSnapshot) -> Result<(), StepError> {
    use std::os::unix::fs::PermissionsExt;
    let (mode, uid, gid) = root_attributes(base)?;
    let upper = active.upper();
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(upper, permissions).map_err(|source| StepError::Io {
        doing: "set the mode of",
        path: upper.to_owned(),
        source,
    })?;
    active.set_owner(Path::new(""), uid, gid)?;
    Ok(())
}

fn root_attributes(base: &LayeredView) -> Result<(u32, u32, u32), StepError> {
    let root = base.lookup(Path::new("/"))?;
    Ok(root.map_or((0o755, 0, 0), |root| {
        (root.mode & 0o7777, root.uid, root.gid)
    }))
}

fn root_changed(base: &LayeredView, upper: &Path) -> Result<bool, StepError> {
    use std::os::unix::fs::MetadataExt;
    let (mode, ..) = root_attributes(base)?;
    let metadata = std::fs::symlink_metadata(upper).map_err(|source| StepError::Io {
        doing: "read",
        path: upper.to_owned(),
        source,
    })?;
    Ok(metadata.mode() & 0o7777 != mode)
}

/// Reads an image's account files.
pub(super) fn accounts(view: &LayeredView) -> Result<Accounts, StepError> {
    Ok(Accounts {
        passwd: text(view, "/etc/passwd")?,
        group: text(view, "/etc/group")?,
    })
}

fn text(view: &LayeredView, path: &str) -> Result<String, StepError> {
    let Some(entry) = view.find(Path::new(path), true)? else {
        return Ok(String::new());
    };
    if entry.kind != EntryKind::File {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let file = view.open(&entry)?;
    file.take(ACCOUNTS_MAX)
        .read_to_end(&mut bytes)
        .map_err(|source| StepError::Io {
            doing: "read",
            path: entry.host_path.clone(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn environment(
    engine: &Engine<'_>,
    exec: &ExecOp,
    identity: &Identity,
    mounts: &Mounts,
) -> Vec<(String, String)> {
    let mut env = exec.env.clone();
    let has = |env: &[(String, String)], name: &str| env.iter().any(|(known, _)| known == name);
    if !has(&env, "HOME") {
        env.push(("HOME".to_owned(), identity.home.clone()));
    }
    for (name, value) in exec.proxies.iter().chain(&engine.settings.proxies) {
        if !has(&env, name) {
            env.push((name.clone(), value.clone()));
        }
    }
    for (name, value) in exec.devices.env.iter().chain(mounts.variables()) {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}

fn variable<'a>(env: &'a [(String, String)], name: &str) -> &'a str {
    let found = env.iter().rev().find(|(known, _)| known == name);
    found.map_or("", |(_, value)| value.as_str())
}

/// Runs the sandbox; every line goes to the events and to the step's log. Gives the last ones.
fn run_logged(
    step: &Step<'_>,
    sandbox: &Sandbox,
    secrets: &Secrets,
) -> Result<(Exit, Vec<String>), StepError> {
    let engine = step.engine;
    let log = engine
        .store
        .log_writer(&engine.settings.run, &step.id.0.to_string())?;
    let mut log = BufWriter::new(log);
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut stdout = Lines::default();
    let mut stderr = Lines::default();
    let mut send = |stream: Stream, line: &str| {
        let line = secrets.mask(line);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.clone());
        // A full disk must not hide the step's own result; its commit will report it.
        let _ = writeln!(log, "{line}");
        engine.events.emit(Event::Output {
            vertex: step.id,
            stream,
            line,
        });
    };
    let exit = sandbox.run(engine.cancel, &mut |stream, bytes| match stream {
        cairn_sandbox::Stream::Stdout => stdout.push(bytes, |line| send(Stream::Stdout, line)),
        cairn_sandbox::Stream::Stderr => stderr.push(bytes, |line| send(Stream::Stderr, line)),
    });
    stdout.finish(|line| send(Stream::Stdout, line));
    stderr.finish(|line| send(Stream::Stderr, line));
    let _ = log.flush();
    Ok((exit?, last.into()))
}

/// The log of a step of this run, if it wrote one.
pub(super) fn log_path(engine: &Engine<'_>, id: VertexId) -> Option<PathBuf> {
    let path = engine
        .store
        .log_path(&engine.settings.run, &id.0.to_string());
    let written = File::open(&path)
        .and_then(|log| log.metadata())
        .is_ok_and(|log| log.len() > 0);
    written.then_some(path)
}

fn shown(argv: &[String]) -> String {
    format!("{:?}", argv.join(" "))
}
