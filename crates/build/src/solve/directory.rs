//! `WORKDIR`: a directory that is there afterwards.

use std::path::Path;

use cairn_store::{EntryKind, LayeredView, SnapshotId};

use super::copy::settled;
use super::exec::{accounts, adopt_root, commit_changes};
use super::{Step, now};
use crate::copy::{CopyTarget, NewDirectory, make_directory};
use crate::failure::StepError;
use crate::graph::MakeDirOp;

/// Makes the directory and its missing parents, owned by the stage's user.
pub(super) fn run(step: &Step<'_>, dir: &MakeDirOp) -> Result<Option<SnapshotId>, StepError> {
    let store = step.engine.store;
    let layers = step.base.snapshots();
    let view = LayeredView::new(store, &layers)?;
    if view
        .find(Path::new(&dir.path), true)?
        .is_some_and(|entry| entry.kind == EntryKind::Directory)
    {
        return Ok(None);
    }
    let owner = settled(step, accounts(&view)?.owner(&dir.user));
    let active = store.begin_snapshot()?;
    adopt_root(&view, &active)?;
    let target = CopyTarget {
        store,
        layers: &layers,
        active: &active,
    };
    let new = NewDirectory {
        mode: 0o755,
        owner,
        time: now(),
    };
    make_directory(&target, Path::new(&dir.path), new)?;
    commit_changes(&view, active)
}
