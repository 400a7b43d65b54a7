//! `COPY` and `ADD`: what was selected goes into a new snapshot.

use cairn_dockerfile::chmod::Chmod;
use cairn_store::{LayeredView, SnapshotId};

use super::exec::{accounts, adopt_root, commit_changes};
use super::{Step, now};
use crate::copy::{CopyOptions, CopySet, CopyTarget, GivenContent, GivenFile, apply};
use crate::failure::StepError;
use crate::graph::CopyOp;
use crate::take::with_tree;

/// Copies; gives the snapshot of what was copied, or none if that was nothing.
pub(super) fn run(step: &Step<'_>, copy: &CopyOp) -> Result<Option<SnapshotId>, StepError> {
    let store = step.engine.store;
    // With `--link` the layer must not depend on the base: it is not looked at.
    let layers = if copy.link {
        Vec::new()
    } else {
        step.base.snapshots()
    };
    let view = LayeredView::new(store, &layers)?;
    let owner = match &copy.chown {
        Some(owner) => {
            let names = LayeredView::new(store, &step.base.snapshots())?;
            Some(accounts(&names)?.owner(owner)?)
        }
        None => None,
    };
    let chmod = match &copy.chmod {
        Some(mode) => Some(Chmod::parse(mode).map_err(StepError::Mode)?),
        None => None,
    };
    let selection = step
        .taker
        .selection(step.engine, step.id, copy, step.result_of)?;
    let given = given(step, copy)?;
    let active = store.begin_snapshot()?;
    adopt_root(&view, &active)?;
    with_tree(step.engine, copy.from, step.result_of, |tree| {
        let set = CopySet {
            tree,
            selection: &selection,
            given,
        };
        let options = CopyOptions {
            dest: &copy.dest,
            owner,
            chmod: chmod.as_ref(),
            unpack: copy.unpack,
            time: now(),
            workers: step.engine.settings.jobs,
            cancel: step.engine.cancel,
        };
        apply(
            &set,
            &options,
            &CopyTarget {
                store,
                layers: &layers,
                active: &active,
            },
        )?;
        Ok(())
    })?;
    commit_changes(&view, active)
}

/// Files that come from the Dockerfile itself or from the network.
fn given(step: &Step<'_>, copy: &CopyOp) -> Result<Vec<GivenFile>, StepError> {
    let mut files = Vec::new();
    for (name, content) in &copy.inline {
        files.push(GivenFile {
            name: name.clone(),
            content: GivenContent::Bytes(content.clone().into_bytes()),
            mode: 0o644,
            mtime: None,
            unpack: false,
        });
    }
    for remote in &copy.remote {
        let fetched = step.taker.download(step.engine, remote)?;
        let path = step.engine.store.blob_path(&fetched.digest);
        files.push(GivenFile {
            name: file_name(&remote.url),
            content: GivenContent::File(path),
            mode: 0o600,
            mtime: fetched.last_modified,
            unpack: false,
        });
    }
    Ok(files)
}

/// What a download is called in a directory: the last part of the address's path.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .map_or("", |(_, name)| name);
    if name.is_empty() {
        "download".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_called_as_their_address_ends() {
        assert_eq!(file_name("https://host/a/b.tar.gz?x=1#y"), "b.tar.gz");
        assert_eq!(file_name("https://host/a/"), "a");
        assert_eq!(file_name("https://host"), "download");
    }
}
