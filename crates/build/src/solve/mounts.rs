//! `RUN --mount`: from requests to what the sandbox mounts, and what must be held meanwhile.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cairn_sandbox::Mount;
use cairn_store::ActiveSnapshot;

use super::Step;
use super::lines::Secrets;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{ExecOp, FileSource, Fs};
use crate::mount::{CacheSharing, MountKind, MountRequest};

/// The mounts of one step, ready, with everything they hold until the step is over.
pub(super) struct Mounts {
    ready: Vec<Mount>,
    variables: Vec<(String, String)>,
    secrets: Secrets,
    /// Context files laid out for this step only.
    _layouts: Vec<ActiveSnapshot>,
    /// Locks of cache directories.
    _locks: Vec<File>,
}

impl Mounts {
    /// Gets everything that the step's mounts need.
    pub(super) fn prepare(step: &Step<'_>, exec: &ExecOp) -> Result<Self, StepError> {
        let mut mounts = Self {
            ready: Vec::new(),
            variables: Vec::new(),
            secrets: Secrets::default(),
            _layouts: Vec::new(),
            _locks: Vec::new(),
        };
        let mut used = Vec::new();
        for request in &exec.mounts {
            if let MountKind::Secret { name, .. } = &request.kind
                && let Some(value) = step.engine.settings.secrets.get(name)
            {
                used.push(value.as_slice());
            }
            mounts.one(step, exec, request)?;
        }
        mounts.secrets = Secrets::new(used.into_iter());
        Ok(mounts)
    }

    /// As the sandbox wants them.
    pub(super) fn to_sandbox(&self) -> Vec<Mount> {
        self.ready.clone()
    }

    /// Variables that hold secrets.
    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// What must not be shown.
    pub(super) fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }

    fn one(
        &mut self,
        step: &Step<'_>,
        exec: &ExecOp,
        request: &MountRequest,
    ) -> Result<(), StepError> {
        let target = PathBuf::from(&request.target);
        match &request.kind {
            MountKind::Bind {
                from,
                path,
                writable,
            } => self.bind(step, request, *from, path, *writable),
            MountKind::Cache { .. } => self.cache(step, exec, request),
            MountKind::Tmpfs { size } => {
                self.ready.push(Mount::Tmpfs {
                    target,
                    size_bytes: *size,
                    mode: 0o1777,
                });
                Ok(())
            }
            MountKind::Script { content } => {
                self.ready.push(Mount::File {
                    target,
                    content: content.clone().into_bytes(),
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                });
                Ok(())
            }
            MountKind::Secret {
                name,
                required,
                file,
                env,
                mode,
                uid,
                gid,
            } => {
                let Some(value) = step.engine.settings.secrets.get(name) else {
                    return not_given("secret", name, *required);
                };
                if *file {
                    self.ready.push(Mount::File {
                        target,
                        content: value.clone(),
                        mode: *mode,
                        uid: *uid,
                        gid: *gid,
                    });
                }
                if let Some(variable) = env {
                    let value = String::from_utf8_lossy(value).into_owned();
                    self.variables.push((variable.clone(), value));
                }
                Ok(())
            }
            MountKind::Ssh { name, required, .. } => {
                let Some(socket) = step.engine.settings.ssh.get(name) else {
                    return not_given("ssh agent", name, *required);
                };
                let socket_inside = request.target.clone();
                self.ready.push(Mount::Bind {
                    source: socket.clone(),
                    target,
                    read_only: false,
                });
                self.variables
                    .push(("SSH_AUTH_SOCK".to_owned(), socket_inside));
                Ok(())
            }
        }
    }

    fn bind(
        &mut self,
        step: &Step<'_>,
        request: &MountRequest,
        from: FileSource,
        path: &str,
        writable: bool,
    ) -> Result<(), StepError> {
        let target = PathBuf::from(&request.target);
        let lowers = match from {
            FileSource::Context(_) => {
                let layout = step.engine.store.begin_snapshot()?;
                step.taker
                    .lay_out(step.engine, from, path, path, step.result_of, &layout)?;
                let lower = layout.upper().to_owned();
                self._layouts.push(layout);
                vec![lower]
            }
            FileSource::Fs(fs) => lower_dirs(step, fs),
        };
        let subpath = PathBuf::from(path);
        self.ready.push(Mount::Layers {
            lowers,
            subpath,
            target,
            read_only: !writable,
        });
        Ok(())
    }

    fn cache(
        &mut self,
        step: &Step<'_>,
        exec: &ExecOp,
        request: &MountRequest,
    ) -> Result<(), StepError> {
        let MountKind::Cache {
            name,
            from,
            sharing,
            read_only,
            mode,
            uid,
            gid,
        } = &request.kind
        else {
            return Ok(());
        };
        // As with BuildKit, caches that start differently are different caches.
        let content = step
            .taker
            .mount_digest(step.engine, request, step.result_of)?;
        let start = format!("{name} {mode:o} {uid} {gid} {content:?}");
        let (directory, lock) = cache_directory(step, &start, *sharing)?;
        let files = directory.join("fs");
        if exec.ignore_cache && start_is_given(&request.kind) && step.taker.is_first_use(&start) {
            remove_tree(&files)?;
        }
        if !files.exists() {
            // Made under another name first: a killed process leaves no half-filled cache.
            let fresh = directory.join(format!("fs.{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&fresh);
            make_dir(&fresh)?;
            if let Some((source, path)) = from {
                let seed = step.engine.store.begin_snapshot()?;
                step.taker
                    .lay_out(step.engine, *source, path, "/", step.result_of, &seed)?;
                move_children(seed.upper(), &fresh)?;
            }
            own(&fresh, *mode, *uid, *gid)?;
            match std::fs::rename(&fresh, &files) {
                Ok(()) => {}
                // Another step was first; its directory is as good.
                Err(_) if files.exists() => {
                    let _ = std::fs::remove_dir_all(&fresh);
                }
                Err(source) => {
                    return Err(StepError::Io {
                        doing: "make the cache",
                        path: files,
                        source,
                    });
                }
            }
        }
        self._locks.extend(lock);
        self.ready.push(Mount::Bind {
            source: files,
            target: PathBuf::from(&request.target),
            read_only: *read_only,
        });
        Ok(())
    }
}

/// Whether a cache says how it starts: a build without cache then starts it anew, as BuildKit's.
fn start_is_given(kind: &MountKind) -> bool {
    match kind {
        MountKind::Cache {
            from,
            mode,
            uid,
            gid,
            ..
        } => from.is_some() || (*mode, *uid, *gid) != (0o755, 0, 0),
        _ => false,
    }
}

fn remove_tree(path: &Path) -> Result<(), StepError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(StepError::Io {
            doing: "clear the cache",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn not_given(kind: &'static str, name: &str, required: bool) -> Result<(), StepError> {
    if required {
        Err(StepError::NotGiven {
            kind,
            name: name.to_owned(),
        })
    } else {
        Ok(())
    }
}

fn filesystem(step: &Step<'_>, fs: Fs) -> Filesystem {
    match fs.vertex() {
        Some(vertex) => (step.result_of)(vertex).as_ref().clone(),
        None => Filesystem::scratch(),
    }
}

fn lower_dirs(step: &Step<'_>, fs: Fs) -> Vec<PathBuf> {
    let filesystem = filesystem(step, fs);
    filesystem
        .layers
        .iter()
        .map(|layer| step.engine.store.snapshot_dir(&layer.snapshot))
        .collect()
}

/// Finds the directory of a cache by its name, and locks it as its sharing asks.
fn cache_directory(
    step: &Step<'_>,
    name: &str,
    sharing: CacheSharing,
) -> Result<(PathBuf, Option<File>), StepError> {
    let root = step.engine.store.home().join("mounts");
    let named = blake3::hash(name.as_bytes()).to_hex().to_string();
    match sharing {
        CacheSharing::Shared => {
            let directory = root.join(&named);
            make_dir(&directory)?;
            Ok((directory, None))
        }
        CacheSharing::Locked => {
            let directory = root.join(&named);
            make_dir(&directory)?;
            let lock = lock_file(&directory)?;
            lock.lock().map_err(|source| StepError::Io {
                doing: "lock the cache",
                path: directory.clone(),
                source,
            })?;
            Ok((directory, Some(lock)))
        }
        CacheSharing::Private => {
            for number in 0.. {
                let directory = root.join(format!("{named}.{number}"));
                make_dir(&directory)?;
                let lock = lock_file(&directory)?;
                if lock.try_lock().is_ok() {
                    return Ok((directory, Some(lock)));
                }
            }
            unreachable!("some number is free")
        }
    }
}

fn lock_file(directory: &Path) -> Result<File, StepError> {
    let path = directory.join("lock");
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| StepError::Io {
            doing: "open",
            path,
            source,
        })
}

fn move_children(from: &Path, to: &Path) -> Result<(), StepError> {
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

fn make_dir(path: &Path) -> Result<(), StepError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|source| StepError::Io {
            doing: "make the directory",
            path: path.to_owned(),
            source,
        })
}

fn own(path: &Path, mode: u32, uid: u32, gid: u32) -> Result<(), StepError> {
    let io = |source| StepError::Io {
        doing: "set up the cache",
        path: path.to_owned(),
        source,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(io)?;
    match std::os::unix::fs::chown(path, Some(uid), Some(gid)) {
        // With a single id every process inside has it: the directory is theirs anyway.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            Ok(())
        }
        result => result.map_err(io),
    }
}
