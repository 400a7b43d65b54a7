//! `COPY` and `ADD`: what was selected goes into a new snapshot.

use cairn_dockerfile::chmod::Chmod;
use cairn_store::{LayeredView, SnapshotId};

use super::exec::{accounts, adopt_root, commit_changes};
use super::{Step, now};
use crate::account::Owner;
use crate::context::SourceTree;
use crate::copy::{CopyOptions, CopySet, CopyTarget, GivenContent, GivenFile, apply};
use crate::event::{Event, Stream};
use crate::failure::StepError;
use crate::graph::CopyOp;
use crate::take::with_tree;

/// The numbers of an owner. What the image does not know is told, and no failure: root's number
/// stands in its place, as with BuildKit.
pub(super) fn settled(step: &Step<'_>, owner: Owner) -> (u32, u32) {
    for unknown in owner.unknown {
        step.engine.events.emit(Event::Output {
            vertex: step.id,
            stream: Stream::Stderr,
            line: format!("warning: {unknown}; root stands in for it, as with BuildKit"),
        });
    }
    (owner.uid, owner.gid)
}

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
            Some(settled(step, accounts(&names)?.owner(owner)))
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
    let repositories = copy
        .repositories
        .iter()
        .map(|source| step.taker.check_out(step.engine, source, &copy.exclude))
        .collect::<Result<Vec<_>, _>>()?;
    let active = store.begin_snapshot()?;
    adopt_root(&view, &active)?;
    with_tree(step.engine, copy.from, step.result_of, |tree| {
        let set = CopySet {
            tree,
            selection: &selection,
            further: repositories
                .iter()
                .map(|(tree, selection)| (tree as &dyn SourceTree, selection))
                .collect(),
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
            mtime: Some(fetched.last_modified.unwrap_or(0)),
            unpack: remote.unpack,
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
    match percent_decoded(name) {
        // A slash or nothing is no name; BuildKit's word for that.
        name if name.is_empty() || name.contains('/') || name == "." || name == ".." => {
            "__unnamed__".to_owned()
        }
        name => name,
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let number = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        (rest, _) = match (first, number) {
            (b'%', Some(number)) => (&after[2..], bytes.push(number)),
            (byte, _) => (after, bytes.push(*byte)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_called_as_their_address_ends() {
        assert_eq!(file_name("https://host/a/b.tar.gz?x=1#y"), "b.tar.gz");
        assert_eq!(file_name("https://host/a%20b/c%20d"), "c d");
        assert_eq!(file_name("https://host/a/100%"), "100%");
        assert_eq!(file_name("https://host/a/"), "a");
        assert_eq!(file_name("https://host"), "__unnamed__");
        assert_eq!(file_name("https://host/a/..%2Fb"), "__unnamed__");
    }
}
