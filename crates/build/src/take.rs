//! What vertices take from contexts, stages and the network, as digests: the other place, beside
//! lowering, where names become content.
//!
//! What was selected is kept for the vertex that will copy it, so that planning and running look
//! at each file once. What an instruction takes from a filesystem of the store is remembered in
//! the store: it is a function of the filesystem's content and the instruction.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_oci::Digest;
use cairn_registry::{Download, Fetched};
use cairn_store::{
    ActiveSnapshot, CacheMountClaims, CacheRecord, ContentDigest, KeyHasher, LayeredView, Store,
};

use crate::context::{LayerTree, SourceTree};
use crate::copy::{
    CopyOptions, CopySet, CopySources, CopyTarget, Selection, apply, changed_files, select,
};
use crate::engine::Engine;
use crate::event::VertexId;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{CopyOp, FileSource, Fs, Op, RemoteFile, Vertex};
use crate::key::{KeyInputs, Taken};
use crate::mount::{MountKind, MountRequest};

/// A download larger than this is refused.
const DOWNLOAD_MAX: u64 = 64 << 30;

/// Gives the result of a vertex that is done.
pub(crate) type ResultOf<'a> = dyn Fn(VertexId) -> Arc<Filesystem> + 'a;

/// Finds out what vertices take.
pub(crate) struct Taker<'a> {
    store: &'a Store,
    selections: Mutex<HashMap<VertexId, Arc<Selection>>>,
    downloads: Mutex<HashMap<String, Fetched>>,
    cache_claims: CacheMountClaims,
}

impl<'a> Taker<'a> {
    pub(crate) fn new(engine: &Engine<'a>) -> Self {
        Self {
            store: engine.store,
            selections: Mutex::default(),
            downloads: Mutex::default(),
            cache_claims: CacheMountClaims::default(),
        }
    }

    /// The key inputs of a vertex whose input vertices are all done.
    pub(crate) fn inputs(
        &self,
        engine: &Engine<'_>,
        id: VertexId,
        vertex: &Vertex,
        result_of: &ResultOf<'_>,
    ) -> Result<KeyInputs, StepError> {
        let mut taken = Taken {
            base: vertex.base.vertex().map(|base| result_of(base).content),
            ..Taken::default()
        };
        match &vertex.op {
            Op::Copy(copy) => {
                taken
                    .files
                    .push(self.selection_digest(engine, id, copy, result_of)?);
                for remote in &copy.remote {
                    taken.files.push(self.remote_digest(engine, remote)?);
                }
            }
            Op::Exec(exec) => {
                for mount in &exec.mounts {
                    taken
                        .mounts
                        .push(self.mount_digest(engine, mount, result_of)?);
                }
            }
            Op::Image(_) | Op::Debian(_) | Op::MakeDir(_) => {}
        }
        Ok(KeyInputs::of(vertex, &taken))
    }

    /// What a `COPY` takes: found before, or found now.
    pub(crate) fn selection(
        &self,
        engine: &Engine<'_>,
        id: VertexId,
        copy: &CopyOp,
        result_of: &ResultOf<'_>,
    ) -> Result<Arc<Selection>, StepError> {
        let known = self
            .selections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let selection = if copy.paths.is_empty() {
            Selection::nothing()
        } else {
            let sources = sources(engine, copy);
            with_tree(engine, copy.from, result_of, |tree| {
                Ok(select(tree, &sources)?)
            })?
        };
        let selection = Arc::new(selection);
        let mut selections = self
            .selections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        selections.insert(id, selection.clone());
        Ok(selection)
    }

    /// Names files of a `COPY` that are not what an earlier changeset of it holds.
    pub(crate) fn changed_files(
        &self,
        engine: &Engine<'_>,
        id: VertexId,
        copy: &CopyOp,
        result_of: &ResultOf<'_>,
        earlier: &Path,
    ) -> Vec<String> {
        let Ok(selection) = self.selection(engine, id, copy, result_of) else {
            return Vec::new();
        };
        with_tree(engine, copy.from, result_of, |tree| {
            Ok(changed_files(tree, &selection, &copy.dest, earlier))
        })
        .unwrap_or_default()
    }

    /// Gets a file that `ADD` names, once in a run.
    pub(crate) fn download(
        &self,
        engine: &Engine<'_>,
        remote: &RemoteFile,
    ) -> Result<Fetched, StepError> {
        let lock = || {
            self.downloads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(fetched) = lock().get(&remote.url) {
            return check(remote, fetched.clone());
        }
        let download = Download {
            url: &remote.url,
            digest: None,
            size: None,
            limit: DOWNLOAD_MAX,
        };
        let fetched = engine
            .fetcher
            .get_blob(self.store, &download, &mut |_| {
                if engine.cancel.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .map_err(|source| StepError::Fetch(Box::new(source)))?;
        lock().insert(remote.url.clone(), fetched.clone());
        check(remote, fetched)
    }

    /// Lays out the files below `path` of a source in an active snapshot, at the same path.
    pub(crate) fn lay_out(
        &self,
        engine: &Engine<'_>,
        from: FileSource,
        path: &str,
        dest: &str,
        result_of: &ResultOf<'_>,
        active: &ActiveSnapshot,
    ) -> Result<(), StepError> {
        let paths = [path.to_owned()];
        let sources = CopySources {
            paths: &paths,
            parents: false,
            exclude: &[],
            workers: engine.settings.jobs,
            cancel: engine.cancel,
        };
        with_tree(engine, from, result_of, |tree| {
            let selection = select(tree, &sources)?;
            let set = CopySet {
                tree,
                selection: &selection,
                given: Vec::new(),
            };
            let options = CopyOptions::plain(dest, engine.settings.jobs, engine.cancel);
            let target = CopyTarget {
                store: self.store,
                layers: &[],
                active,
            };
            apply(&set, &options, &target)?;
            Ok(())
        })
    }

    /// The claims of this run on cache mounts.
    pub(crate) fn cache_claims(&self) -> &CacheMountClaims {
        &self.cache_claims
    }

    fn selection_digest(
        &self,
        engine: &Engine<'_>,
        id: VertexId,
        copy: &CopyOp,
        result_of: &ResultOf<'_>,
    ) -> Result<ContentDigest, StepError> {
        let FileSource::Fs(fs) = copy.from else {
            return Ok(*self.selection(engine, id, copy, result_of)?.digest());
        };
        let content = content(fs, result_of);
        let mut hasher = KeyHasher::new("cairn selection of a filesystem");
        hasher.field("content", content.as_bytes());
        hasher.list("paths", copy.paths.iter().map(String::as_bytes));
        hasher.list("exclude", copy.exclude.iter().map(String::as_bytes));
        hasher.number("parents", u64::from(copy.parents));
        self.remembered(hasher, || {
            Ok(*self.selection(engine, id, copy, result_of)?.digest())
        })
    }

    pub(crate) fn mount_digest(
        &self,
        engine: &Engine<'_>,
        mount: &MountRequest,
        result_of: &ResultOf<'_>,
    ) -> Result<Option<ContentDigest>, StepError> {
        let (from, path) = match &mount.kind {
            MountKind::Bind { from, path, .. } => (*from, path),
            MountKind::Cache {
                from: Some((from, path)),
                ..
            } => (*from, path),
            _ => return Ok(None),
        };
        let paths = [path.clone()];
        let digest = || {
            let sources = CopySources {
                paths: &paths,
                parents: false,
                exclude: &[],
                workers: engine.settings.jobs,
                cancel: engine.cancel,
            };
            with_tree(engine, from, result_of, |tree| {
                Ok(*select(tree, &sources)?.digest())
            })
        };
        match from {
            FileSource::Context(_) => digest().map(Some),
            FileSource::Fs(fs) => {
                let mut hasher = KeyHasher::new("cairn mount of a filesystem");
                hasher.field("content", content(fs, result_of).as_bytes());
                hasher.field("path", path.as_bytes());
                self.remembered(hasher, digest).map(Some)
            }
        }
    }

    fn remote_digest(
        &self,
        engine: &Engine<'_>,
        remote: &RemoteFile,
    ) -> Result<ContentDigest, StepError> {
        // With a checksum nothing need be fetched to know what will be added.
        let text = match &remote.checksum {
            Some(checksum) => checksum.clone(),
            None => self.download(engine, remote)?.digest.to_string(),
        };
        let mut hasher = KeyHasher::new("cairn download");
        hasher.field("digest", text.as_bytes());
        Ok(hasher.finish_content())
    }

    /// Looks a digest up in the store's records, or finds it and remembers it.
    fn remembered(
        &self,
        hasher: KeyHasher,
        find: impl FnOnce() -> Result<ContentDigest, StepError>,
    ) -> Result<ContentDigest, StepError> {
        let key = hasher.finish_key();
        if let Some(record) = self.store.get_record(&key) {
            return Ok(record.content);
        }
        let content = find()?;
        self.store.put_record(&CacheRecord {
            key,
            snapshot: None,
            content,
            created: 0,
            cost_ms: 0,
            description: "files taken".to_owned(),
            inputs: Vec::new(),
        })?;
        Ok(content)
    }
}

/// What a copy looks for.
fn sources<'a>(engine: &'a Engine<'_>, copy: &'a CopyOp) -> CopySources<'a> {
    CopySources {
        paths: &copy.paths,
        parents: copy.parents,
        exclude: &copy.exclude,
        workers: engine.settings.jobs,
        cancel: engine.cancel,
    }
}

/// Opens the tree that files come from.
pub(crate) fn with_tree<T>(
    engine: &Engine<'_>,
    from: FileSource,
    result_of: &ResultOf<'_>,
    work: impl FnOnce(&dyn SourceTree) -> Result<T, StepError>,
) -> Result<T, StepError> {
    match from {
        FileSource::Context(id) => work(engine.context(id)),
        FileSource::Fs(fs) => {
            let snapshots = fs
                .vertex()
                .map(|id| result_of(id).snapshots())
                .unwrap_or_default();
            let view = LayeredView::new(engine.store, &snapshots)?;
            work(&LayerTree::new(view))
        }
    }
}

fn content(fs: Fs, result_of: &ResultOf<'_>) -> ContentDigest {
    match fs.vertex() {
        Some(id) => result_of(id).content,
        None => Filesystem::scratch().content,
    }
}

fn check(remote: &RemoteFile, fetched: Fetched) -> Result<Fetched, StepError> {
    let Some(expected) = &remote.checksum else {
        return Ok(fetched);
    };
    let matches = expected
        .parse::<Digest>()
        .is_ok_and(|expected| expected == fetched.digest);
    if matches {
        return Ok(fetched);
    }
    Err(StepError::Checksum {
        url: remote.url.clone(),
        expected: expected.clone(),
        found: fetched.digest.to_string(),
    })
}
