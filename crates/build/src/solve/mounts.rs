//! `RUN --mount`: from requests to what the sandbox mounts, and what must be held meanwhile.

use std::path::PathBuf;

use cairn_sandbox::Mount;
use cairn_store::ActiveSnapshot;

use super::Step;
use super::agent::AgentSocket;
use super::caches::Caches;
use crate::clue::Missing;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{ExecOp, FileSource, Fs};
use crate::mount::{MountKind, MountRequest};

/// The mounts of one step, ready, with everything they hold until the step is over.
pub(super) struct Mounts {
    ready: Vec<Mount>,
    variables: Vec<(String, String)>,
    /// Context files laid out for this step only.
    _layouts: Vec<ActiveSnapshot>,
    /// Secrets and agents that were not given and need not be.
    without: Vec<Missing>,
    /// Sockets in front of ssh agents.
    _agents: Vec<AgentSocket>,
    caches: Caches,
}

impl Mounts {
    /// Gets everything that the step's mounts need.
    pub(super) fn prepare(step: &Step<'_>, exec: &ExecOp) -> Result<Self, StepError> {
        let mut mounts = Self {
            ready: Vec::new(),
            variables: Vec::new(),
            _layouts: Vec::new(),
            without: Vec::new(),
            _agents: Vec::new(),
            caches: Caches::take(step, exec)?,
        };
        for request in &exec.mounts {
            mounts.one(step, request)?;
        }
        Ok(mounts)
    }

    /// As the sandbox wants them.
    pub(super) fn to_sandbox(&self) -> Vec<Mount> {
        self.ready.clone()
    }

    /// Gives everything back; what the step went without.
    pub(super) fn end(self) -> Vec<Missing> {
        self.without
    }

    /// Variables that hold secrets.
    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    fn one(&mut self, step: &Step<'_>, request: &MountRequest) -> Result<(), StepError> {
        let target = PathBuf::from(&request.target);
        match &request.kind {
            MountKind::Bind {
                from,
                path,
                writable,
            } => self.bind(step, request, *from, path, *writable),
            MountKind::Cache { read_only, .. } => self.cache(step, request, *read_only),
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
                    return self.not_given("secret", name, *required);
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
            MountKind::Ssh {
                name,
                required,
                mode,
                uid,
                gid,
            } => {
                let Some(agent) = step.engine.settings.ssh.get(name) else {
                    return self.not_given("ssh agent", name, *required);
                };
                let socket = AgentSocket::new(step.engine.store, agent, *mode, (*uid, *gid))?;
                let socket_inside = request.target.clone();
                self.ready.push(Mount::Bind {
                    source: socket.path(),
                    target,
                    read_only: false,
                });
                self._agents.push(socket);
                self.variables
                    .push(("SSH_AUTH_SOCK".to_owned(), socket_inside));
                Ok(())
            }
        }
    }

    fn not_given(
        &mut self,
        kind: &'static str,
        name: &str,
        required: bool,
    ) -> Result<(), StepError> {
        let missing = Missing {
            kind,
            name: name.to_owned(),
        };
        if required {
            return Err(StepError::NotGiven(missing));
        }
        self.without.push(missing);
        Ok(())
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
        request: &MountRequest,
        read_only: bool,
    ) -> Result<(), StepError> {
        if let Some(cache) = self.caches.of(step, request)? {
            self.ready.push(Mount::Bind {
                source: cache.files(),
                target: PathBuf::from(&request.target),
                read_only,
            });
        }
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
