//! What a step copies from a filesystem that is still to be made, where that is known before.
//!
//! ```text
//! FROM base            there
//! RUN make             there      <- /opt/tool is as it was, whatever happens above it
//! COPY app /opt/app    to run     <- writes below /opt/app and nowhere else
//! ```
//!
//! Who copies `/opt/tool` from there gets what it got before. A `RUN` may write anywhere, so nothing
//! is known above one that is to run.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{Decision, GraphPlan};
use crate::cache;
use crate::context::{Kind, SourceTree};
use crate::engine::Engine;
use crate::event::VertexId;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{CopyOp, FileSource, Fs, Graph, Op, Vertex};
use crate::mount::MountKind;
use crate::take::with_tree;

/// A filesystem that is there and has, at all places that `vertex` takes from `input`, the files
/// that the result of `input` will have.
pub(super) fn same_files(
    graph: &Graph,
    engine: &Engine<'_>,
    plan: &GraphPlan,
    vertex: &Vertex,
    input: VertexId,
) -> Option<Arc<Filesystem>> {
    let taken = taken(vertex, input)?;
    let mut written = Vec::new();
    let mut next = input;
    let below = loop {
        match plan.decision(next) {
            Decision::Reuse(filesystem) => break filesystem.clone(),
            Decision::Run(_) | Decision::After(_) => {
                let above = graph.vertex(next);
                written.push(writes_below(&above.op)?);
                next = above.base.vertex()?;
            }
            Decision::Broken(_) => return None,
        }
    };
    if !are_apart(&taken, &written) || !cache::promises(engine, [below.as_ref()]).is_empty() {
        return None;
    }
    let found = below.clone();
    let is_literal = with_tree(
        engine,
        FileSource::Fs(Fs::Of(next)),
        &|_| found.clone(),
        |tree| {
            let mut paths = taken.iter().chain(&written);
            Ok(paths.all(|path| has_no_link(tree, path)))
        },
    );
    matches!(is_literal, Ok::<bool, StepError>(true)).then_some(below)
}

/// The places that a step takes from a filesystem; nothing where they are not known to the letter.
fn taken(vertex: &Vertex, from: VertexId) -> Option<Vec<PathBuf>> {
    let source = FileSource::Fs(Fs::Of(from));
    if vertex.base == Fs::Of(from) {
        return None;
    }
    match &vertex.op {
        Op::Copy(copy) if copy.from == source && !copy.parents => {
            copy.paths.iter().map(|path| literal(path)).collect()
        }
        Op::Exec(exec) => {
            let mounts = exec.mounts.iter().filter_map(|mount| match &mount.kind {
                MountKind::Bind { from, path, .. }
                | MountKind::Cache {
                    from: Some((from, path)),
                    ..
                } if *from == source => Some(literal(path)),
                _ => None,
            });
            mounts.collect()
        }
        _ => None,
    }
}

/// The one place at and below which an operation writes.
fn writes_below(op: &Op) -> Option<PathBuf> {
    match op {
        Op::Copy(copy) if stays_below_its_destination(copy) => literal(&copy.dest),
        Op::MakeDir(dir) => literal(&dir.path),
        _ => None,
    }
}

/// An archive that is unpacked may bring links, and follow them.
fn stays_below_its_destination(copy: &CopyOp) -> bool {
    !copy.unpack && !copy.remote.iter().any(|remote| remote.unpack)
}

/// A path without patterns, as it is counted from the root.
fn literal(path: &str) -> Option<PathBuf> {
    if path.contains(['*', '?', '[', '\\']) {
        return None;
    }
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// Whether nothing is taken from where something is written, and no place that is written to can
/// lie behind a link that another writes.
fn are_apart(taken: &[PathBuf], written: &[PathBuf]) -> bool {
    let touches = |one: &Path, other: &Path| one.starts_with(other) || other.starts_with(one);
    let is_clear = |path: &PathBuf| written.iter().all(|place| !touches(path, place));
    let is_inside = |path: &PathBuf| {
        let mut others = written.iter();
        others.any(|place| path != place && path.starts_with(place))
    };
    taken.iter().all(is_clear) && !written.iter().any(is_inside)
}

/// Whether no part of a path is a symbolic link, so that it means what it says.
fn has_no_link(tree: &dyn SourceTree, path: &Path) -> bool {
    path.ancestors().all(|part| match tree.lookup(part) {
        Ok(Some(entry)) => entry.kind != Kind::Symlink,
        Ok(None) => true,
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter()
            .map(|path| literal(path).expect("a path"))
            .collect()
    }

    #[test]
    fn what_is_written_elsewhere_is_apart() {
        for (taken, written, wanted) in [
            (&["/opt/tool"][..], &["/opt/app"][..], true),
            (&["/opt/tool"], &["/opt/tools/"], true),
            (&["opt/./tool", "/etc"], &["/opt/app", "/var"], true),
            (&["/opt/tool"], &["/opt"], false),
            (&["/opt"], &["/opt/app"], false),
            (&["/opt/tool"], &["/opt/tool"], false),
            (&["/"], &["/opt"], false),
            (&["/opt/tool"], &["/"], false),
            // The first could make a link, and the second write through it.
            (&["/opt/tool"], &["/a", "/a/b"], false),
            (&["/opt/tool"], &["/a", "/a"], true),
        ] {
            let is_apart = are_apart(&paths(taken), &paths(written));
            assert_eq!(is_apart, wanted, "{taken:?} {written:?}");
        }
    }

    #[test]
    fn patterns_are_not_known_to_the_letter() {
        for path in ["/opt/*.so", "/opt/a?", "/opt/[ab]", "/a/../b", "/a\\*"] {
            assert_eq!(literal(path), None, "{path}");
        }
        assert_eq!(literal("./a//b/"), Some(PathBuf::from("a/b")));
    }
}
