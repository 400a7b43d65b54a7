//! `RUN --mount=type=cache`: takes a step's caches from the store, filled and locked as it asks.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cairn_store::{CacheMount, CacheMountSharing, CacheMountStart};

use super::Step;
use crate::failure::StepError;
use crate::graph::{ExecOp, FileSource};
use crate::mount::{CacheSharing, MountKind, MountRequest};

/// The caches of one step, by their keys. While it lives, others keep to what was agreed.
#[derive(Debug, Default)]
pub(super) struct Caches(BTreeMap<String, (CacheMountStart, CacheMount)>);

impl Caches {
    /// Takes all caches of a step, each once however often it is mounted. They are taken in one
    /// order by all steps, so that two which lock the same caches cannot wait for each other.
    pub(super) fn take(step: &Step<'_>, exec: &ExecOp) -> Result<Self, StepError> {
        let mut wanted = BTreeMap::new();
        for request in &exec.mounts {
            if let Some(start) = start(step, request)? {
                wanted.entry(start.key()).or_insert((start, request));
            }
        }
        let mut caches = Self::default();
        for (key, (start, request)) in wanted {
            let cache = take(step, exec, request, &start)?;
            caches.0.insert(key, (start, cache));
        }
        Ok(caches)
    }

    /// The cache that a mount asks for.
    pub(super) fn of(
        &self,
        step: &Step<'_>,
        request: &MountRequest,
    ) -> Result<Option<&CacheMount>, StepError> {
        let start = start(step, request)?;
        Ok(start.and_then(|start| {
            let known = self.0.values().find(|(known, _)| *known == start);
            known.map(|(_, cache)| cache)
        }))
    }
}

/// As with BuildKit, caches that start differently are different caches.
fn start(step: &Step<'_>, request: &MountRequest) -> Result<Option<CacheMountStart>, StepError> {
    let MountKind::Cache {
        name,
        mode,
        uid,
        gid,
        ..
    } = &request.kind
    else {
        return Ok(None);
    };
    let content = step
        .taker
        .mount_digest(step.engine, request, step.result_of)?;
    Ok(Some(CacheMountStart {
        name: name.clone(),
        mode: *mode,
        uid: *uid,
        gid: *gid,
        content,
    }))
}

fn take(
    step: &Step<'_>,
    exec: &ExecOp,
    request: &MountRequest,
    start: &CacheMountStart,
) -> Result<CacheMount, StepError> {
    let MountKind::Cache { from, sharing, .. } = &request.kind else {
        unreachable!("only caches have a start");
    };
    let sharing = match sharing {
        CacheSharing::Shared => CacheMountSharing::Shared,
        CacheSharing::Private => CacheMountSharing::Private,
        CacheSharing::Locked => CacheMountSharing::Locked,
    };
    let cache = step.engine.store.take_cache_mount(
        start,
        sharing,
        exec.ignore_cache && start_is_given(start, from.as_ref()),
        step.taker.cache_claims(),
        &mut || !step.engine.cancel.is_cancelled(),
    )?;
    let mut cache = cache.ok_or(StepError::Cancelled)?;
    if cache.is_new() {
        cache.fill(|directory| {
            if let Some((source, path)) = from {
                let seed = step.engine.store.begin_snapshot()?;
                step.taker
                    .lay_out(step.engine, *source, path, "/", step.result_of, &seed)?;
                move_children(seed.upper(), directory)?;
            }
            own(directory, start)
        })?;
    }
    Ok(cache)
}

/// Whether a cache says how it starts: a build without cache then starts it anew, as BuildKit's.
fn start_is_given(start: &CacheMountStart, from: Option<&(FileSource, String)>) -> bool {
    from.is_some() || (start.mode, start.uid, start.gid) != (0o755, 0, 0)
}

/// Moves what lies in one directory into another of the same file system.
pub(crate) fn move_children(from: &Path, to: &Path) -> Result<(), StepError> {
    let io = |source| StepError::Io {
        doing: "fill the cache",
        path: to.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        std::fs::rename(entry.path(), to.join(entry.file_name())).map_err(io)?;
    }
    Ok(())
}

/// Gives a cache's root the mode and the owner it starts with.
pub(crate) fn own(path: &Path, start: &CacheMountStart) -> Result<(), StepError> {
    let io = |source| StepError::Io {
        doing: "set up the cache",
        path: path.to_owned(),
        source,
    };
    let mode = std::fs::Permissions::from_mode(start.mode);
    std::fs::set_permissions(path, mode).map_err(io)?;
    match std::os::unix::fs::chown(path, Some(start.uid), Some(start.gid)) {
        // With a single id every process inside has it: the directory is theirs anyway.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            Ok(())
        }
        result => result.map_err(io),
    }
}
