//! What vertices take from contexts, stages and the network, as digests: the other place, beside
//! lowering, where names become content.
//!
//! What was selected is kept for the vertex that will copy it, so that planning and running look
//! at each file once. What an instruction takes from a filesystem of the store is remembered in
//! the store: it is a function of the filesystem's content and the instruction.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_oci::{Digest, redact};
use cairn_registry::Fetched;
use cairn_registry::git::{Checkout, GitAddress, GitError, Repository};
use cairn_store::{
    ActiveSnapshot, CacheKey, CacheMountClaims, CacheRecord, ContentDigest, KeyHasher, LayeredView,
    Store,
};

use sha2::{Digest as _, Sha512};

use crate::cache;
use crate::context::{Context, LayerTree, SourceTree};
use crate::copy::{
    CopyOptions, CopySet, CopySources, CopyTarget, Selection, apply, changed_files, listed, select,
};
use crate::engine::Engine;
use crate::event::VertexId;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{CopyOp, FileSource, Fs, Op, RemoteFile, RepositorySource, Vertex};
use crate::key::{KeyInputs, Taken};
use crate::mount::{MountKind, MountRequest};
use crate::web_file;

/// A commit's hash has at least so many digits.
const COMMIT_LENGTH: usize = 40;

/// Gives the result of a vertex that is done.
pub(crate) type ResultOf<'a> = dyn Fn(VertexId) -> Arc<Filesystem> + 'a;

/// Finds out what vertices take.
pub(crate) struct Taker<'a> {
    store: &'a Store,
    selections: Mutex<HashMap<VertexId, Arc<Selection>>>,
    downloads: Mutex<HashMap<String, Fetched>>,
    commits: Mutex<HashMap<GitAddress, String>>,
    cache_claims: CacheMountClaims,
    /// The keys of what was remembered, or is now.
    remembered: Mutex<BTreeSet<CacheKey>>,
}

impl<'a> Taker<'a> {
    pub(crate) fn new(engine: &Engine<'a>) -> Self {
        Self {
            store: engine.store,
            selections: Mutex::default(),
            downloads: Mutex::default(),
            commits: Mutex::default(),
            cache_claims: CacheMountClaims::default(),
            remembered: Mutex::default(),
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
                for repository in &copy.repositories {
                    taken.commits.push(self.commit(engine, repository)?);
                }
            }
            Op::Exec(exec) => {
                for mount in &exec.mounts {
                    taken
                        .mounts
                        .push(self.mount_digest(engine, mount, result_of)?);
                }
            }
            Op::Image(image) => {
                let layers = cache::corrected(engine, &image.layers);
                taken.image = Some(Filesystem::new(layers).content);
            }
            Op::Debian(_) | Op::MakeDir(_) => {}
        }
        Ok(KeyInputs::of(vertex, &taken))
    }

    /// Finds what several copies take from contexts, side by side. What cannot be found shows when
    /// it is asked for.
    pub(crate) fn look_ahead(&self, engine: &Engine<'_>, copies: &[(VertexId, &CopyOp)]) {
        let workers = engine.settings.jobs.min(copies.len());
        if workers < 2 {
            return;
        }
        let next = AtomicUsize::new(0);
        let nobody = |_: VertexId| -> Arc<Filesystem> { unreachable!("they are contexts") };
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some((id, copy)) = copies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        drop(self.selection(engine, *id, copy, &nobody));
                    }
                });
            }
        });
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

    /// Forgets what a `COPY` takes: it was looked up elsewhere than where it will be taken from.
    pub(crate) fn forget(&self, id: VertexId) {
        let mut selections = self
            .selections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        selections.remove(&id);
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

    /// The files of a `COPY` from a context by name and digest; nothing where they are too many, or
    /// come from another stage or image.
    pub(crate) fn files(
        &self,
        engine: &Engine<'_>,
        id: VertexId,
        copy: &CopyOp,
        result_of: &ResultOf<'_>,
    ) -> Vec<(String, String)> {
        if !matches!(copy.from, FileSource::Context(_)) {
            return Vec::new();
        }
        let Ok(selection) = self.selection(engine, id, copy, result_of) else {
            return Vec::new();
        };
        let list = with_tree(engine, copy.from, result_of, |tree| {
            Ok(listed(tree, &selection).unwrap_or_default())
        });
        list.unwrap_or_default()
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
            return check(self.store, remote, fetched.clone());
        }
        let fetched = web_file::fetch(engine, &remote.url)?;
        lock().insert(remote.url.clone(), fetched.clone());
        check(self.store, remote, fetched)
    }

    /// The commit that a repository's address means. A full checksum is that commit, and asks
    /// nobody; whether the address leads to it shows when it is fetched.
    pub(crate) fn commit(
        &self,
        engine: &Engine<'_>,
        source: &RepositorySource,
    ) -> Result<String, StepError> {
        match &source.address.checksum {
            Some(commit) if commit.len() >= COMMIT_LENGTH => Ok(commit.to_ascii_lowercase()),
            _ => self.resolved(engine, source),
        }
    }

    /// The commit that an address leads to, asked for once in a run.
    fn resolved(
        &self,
        engine: &Engine<'_>,
        source: &RepositorySource,
    ) -> Result<String, StepError> {
        let lock = || self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commit) = lock().get(&source.address) {
            return Ok(commit.clone());
        }
        let address = &source.address;
        let go_on = || !engine.cancel.is_cancelled();
        let commit = Repository::new(&address.remote, &go_on)
            .with_logins(engine.fetcher.logins())
            .allowed(engine.fetcher.is_offline())
            .map_err(git_error)?
            .resolve(address.reference.as_deref(), address.checksum.as_deref())
            .map_err(git_error)?;
        lock().insert(address.clone(), commit.clone());
        Ok(commit)
    }

    /// Fetches the files that an `ADD` takes from a repository.
    pub(crate) fn check_out(
        &self,
        engine: &Engine<'_>,
        source: &RepositorySource,
        exclude: &[String],
    ) -> Result<(Context, Selection), StepError> {
        let address = &source.address;
        let commit = self.resolved(engine, source)?;
        let go_on = || !engine.cancel.is_cancelled();
        let checkout = Checkout {
            commit: &commit,
            reference: address.reference.as_deref(),
            keep_git_dir: source.keep_git_dir,
            skip_submodules: address.skip_submodules,
        };
        let tree = Context::checked_out(self.store, |into| {
            let repository = Repository::new(&address.remote, &go_on);
            repository
                .with_logins(engine.fetcher.logins())
                .check_out(&checkout, into)
                .map(drop)
                .map_err(git_error)
        })?;
        let paths = [address.subdir.clone().unwrap_or_else(|| "/".to_owned())];
        let sources = CopySources {
            paths: &paths,
            parents: false,
            exclude,
            workers: engine.settings.jobs,
            cancel: engine.cancel,
        };
        let selection = select(&tree, &sources)?;
        Ok((tree, selection))
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
                further: Vec::new(),
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
        self.remembered(engine, hasher, || {
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
                self.remembered(engine, hasher, digest).map(Some)
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
            Some(checksum) => checksum.to_string(),
            None => self.download(engine, remote)?.digest.to_string(),
        };
        let mut hasher = KeyHasher::new("cairn download");
        hasher.field("digest", text.as_bytes());
        Ok(hasher.finish_content())
    }

    /// The keys of what was remembered of files that vertices take.
    pub(crate) fn remembered_keys(&self) -> Vec<CacheKey> {
        let remembered = self.remembered.lock();
        let remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        remembered.iter().copied().collect()
    }

    /// Looks a digest up in the store's records and in caches, or finds it and remembers it.
    fn remembered(
        &self,
        engine: &Engine<'_>,
        hasher: KeyHasher,
        find: impl FnOnce() -> Result<ContentDigest, StepError>,
    ) -> Result<ContentDigest, StepError> {
        let key = hasher.finish_key();
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key);
        let known = self.store.get_record(&key).or_else(|| {
            cache::find(engine, &key)?;
            self.store.get_record(&key)
        });
        if let Some(record) = known {
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
            let snapshots = match fs.vertex() {
                Some(id) => {
                    let filesystem = result_of(id);
                    if engine.settings.only_looks && !cache::is_here(engine, &filesystem) {
                        return Err(StepError::Unseen { of: id });
                    }
                    cache::brought(engine, &filesystem)?.snapshots()
                }
                None => Vec::new(),
            };
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

/// Compares a download with its checksum, whatever algorithm that is of.
fn check(store: &Store, remote: &RemoteFile, fetched: Fetched) -> Result<Fetched, StepError> {
    let Some(expected) = &remote.checksum else {
        return Ok(fetched);
    };
    let found = match expected.algorithm() == fetched.digest.algorithm() {
        true => fetched.digest.clone(),
        false => {
            let path = store.blob_path(&fetched.digest);
            let io = |source| StepError::Io {
                doing: "read",
                path: path.clone(),
                source,
            };
            sha512(File::open(&path).map_err(io)?).map_err(io)?
        }
    };
    if found == *expected {
        return Ok(fetched);
    }
    Err(StepError::Checksum {
        url: redact(&remote.url),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

fn sha512(mut file: File) -> std::io::Result<Digest> {
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(Digest::from_sha512(hasher.finalize().into()))
}

fn git_error(error: GitError) -> StepError {
    match error {
        GitError::Cancelled => StepError::Cancelled,
        error => StepError::Git(Box::new(error)),
    }
}
