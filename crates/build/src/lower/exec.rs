//! `RUN`: what is executed, with which variables and mounts.

use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::ast::{Run, RunNetwork, RunScript, RunSecurity, Spanned};
use cairn_dockerfile::device::Device;
use cairn_dockerfile::mount::{FileAttributes, Mount, MountFlag, Sharing};
use cairn_dockerfile::predefined;

use super::dockerfile::FileLowering;
use super::files::absolute;
use super::stage::{Place, StageState};
use crate::device::Handed;
use crate::graph::{BuildArgs, ExecNetwork, ExecOp, FileSource, Op};
use crate::mount::{CacheSharing, MountKind, MountRequest};

/// The build argument that names the machine a step sees, as with BuildKit.
const HOSTNAME_ARG: &str = "BUILDKIT_SANDBOX_HOSTNAME";
/// Where a heredoc that is a script of its own appears, as with BuildKit.
const SCRIPT_DIR: &str = "/dev/pipes";

impl FileLowering<'_, '_> {
    pub(super) fn run(
        &mut self,
        state: &mut StageState,
        place: &Place<'_>,
        run: &Run,
    ) -> Result<(), Box<Diagnostic>> {
        let devices = self.devices(place, run)?;
        let mut mounts = Vec::new();
        for flag in &run.mounts {
            let is_agent = |mount: &&MountRequest| matches!(mount.kind, MountKind::Ssh { .. });
            let agents = mounts.iter().filter(is_agent).count();
            mounts.push(self.mount(state, place, flag, agents)?);
        }
        let argv = match run.script() {
            RunScript::Exec(argv) => argv,
            RunScript::Shell(text) => shell_argv(state, text),
            RunScript::File { name, content } => {
                let target = format!("{SCRIPT_DIR}/{name}");
                let kind = MountKind::Script { content };
                mounts.push(MountRequest {
                    target: target.clone(),
                    kind,
                });
                shell_argv(state, target)
            }
        };
        let network = match run.network.as_ref().map(|network| network.value) {
            Some(RunNetwork::None) => ExecNetwork::None,
            Some(RunNetwork::Host) => ExecNetwork::Host,
            Some(RunNetwork::Default) | None if self.recipe.network_none => ExecNetwork::None,
            Some(RunNetwork::Default) | None => ExecNetwork::Host,
        };
        let insecure = run
            .security
            .as_ref()
            .is_some_and(|mode| mode.value == RunSecurity::Insecure);
        let created_by = format!("RUN {}{} # buildkit", shown_args(state), argv.join(" "));
        let op = ExecOp {
            argv,
            env: state.env.to_pairs(),
            architecture: state.platform.architecture.clone(),
            cwd: absolute("/", &state.workdir()),
            user: state.config.user.clone(),
            mounts,
            network,
            insecure,
            ignore_cache: self.runs_anyway(place.stage),
            proxies: proxies(&self.recipe.args),
            surroundings: self.request.changes.surroundings.clone(),
            hostname: self.recipe.args.get(HOSTNAME_ARG).cloned(),
            devices,
        };
        self.push(state, place, Op::Exec(Box::new(op)), created_by);
        Ok(())
    }

    /// What a step is handed of this machine's devices.
    fn devices(&self, place: &Place<'_>, run: &Run) -> Result<Handed, Box<Diagnostic>> {
        let asked: Vec<_> = run.devices.iter().map(|it| it.value.clone()).collect();
        let handed = self.run.devices.hand(&asked, &self.request.changes.devices);
        handed.map_err(|error| {
            let is_it = |flag: &&Spanned<Device>| error.is_about(&flag.value.name);
            let flag = run.devices.iter().find(is_it).or(run.devices.first());
            let span = flag.map_or(place.span, |flag| flag.span);
            let finding = *self.error(error.to_string(), span);
            Box::new(finding.hint(error.hint()))
        })
    }

    /// Whether the steps of a stage run whatever the store holds.
    fn runs_anyway(&self, stage: usize) -> bool {
        let name = self.file.stages[stage].name();
        let filter = &self.recipe.no_cache_stages;
        self.recipe.no_cache
            || name.is_some_and(|name| filter.iter().any(|one| one.eq_ignore_ascii_case(name)))
    }

    fn mount(
        &mut self,
        state: &StageState,
        place: &Place<'_>,
        flag: &MountFlag,
        agents: usize,
    ) -> Result<MountRequest, Box<Diagnostic>> {
        let span = flag.span();
        let mount = flag
            .resolve(&mut |text| self.expander.word(text, &state.env).map(|word| word.text))
            .map_err(|error| {
                let finding = *self.error(error.to_string(), span);
                Box::new(error.hint().into_iter().fold(finding, Diagnostic::hint))
            })?;
        let workdir = state.workdir();
        let inside = |target: &str| absolute(&workdir, target);
        Ok(match mount {
            Mount::Bind {
                from,
                source,
                target,
                read_only,
            } => {
                let from = match from {
                    Some(name) => self.file_source(&name, place.stage, span)?,
                    None => FileSource::Context(self.recipe.context),
                };
                let path = absolute("/", source.as_deref().unwrap_or("/"));
                let kind = MountKind::Bind {
                    from,
                    path,
                    writable: !read_only,
                };
                MountRequest {
                    target: self.target(inside(&target), span)?,
                    kind,
                }
            }
            Mount::Cache {
                id,
                target,
                sharing,
                from,
                source,
                read_only,
                file,
            } => {
                let target = self.target(inside(&target), span)?;
                let path = absolute("/", source.as_deref().unwrap_or("/"));
                let from = match from {
                    Some(name) => Some((self.file_source(&name, place.stage, span)?, path)),
                    None => None,
                };
                let (mode, uid, gid) = attributes(file, 0o755);
                let name = id.unwrap_or_else(|| target.clone());
                let sharing = match sharing {
                    Sharing::Shared => CacheSharing::Shared,
                    Sharing::Private => CacheSharing::Private,
                    Sharing::Locked => CacheSharing::Locked,
                };
                let kind = MountKind::Cache {
                    name,
                    from,
                    sharing,
                    read_only,
                    mode,
                    uid,
                    gid,
                };
                MountRequest { target, kind }
            }
            Mount::Tmpfs { target, size, .. } => {
                let target = self.target(inside(&target), span)?;
                MountRequest {
                    target,
                    kind: MountKind::Tmpfs { size },
                }
            }
            Mount::Secret {
                id,
                target,
                env,
                required,
                file,
            } => {
                let (mode, uid, gid) = attributes(file, 0o400);
                let is_file = target.is_some();
                let target = inside(target.as_deref().unwrap_or("/"));
                let kind = MountKind::Secret {
                    name: id,
                    required,
                    file: is_file,
                    env,
                    mode,
                    uid,
                    gid,
                };
                MountRequest { target, kind }
            }
            Mount::Ssh {
                id,
                target,
                required,
                file,
            } => {
                let (mode, uid, gid) = attributes(file, 0o600);
                // Numbered within its step, so that what stands before it does not matter.
                let target = target.map_or_else(
                    || format!("/run/buildkit/ssh_agent.{agents}"),
                    |target| inside(&target),
                );
                let name = id.unwrap_or_else(|| "default".to_owned());
                MountRequest {
                    target,
                    kind: MountKind::Ssh {
                        name,
                        required,
                        mode,
                        uid,
                        gid,
                    },
                }
            }
        })
    }

    fn target(
        &self,
        target: String,
        span: cairn_diagnostic::Span,
    ) -> Result<String, Box<Diagnostic>> {
        if target == "/" {
            return Err(self.error("invalid mount target \"/\"", span));
        }
        Ok(target)
    }
}

/// The proxy settings among the build arguments, each in both spellings that programs know.
fn proxies(args: &BuildArgs) -> Vec<(String, String)> {
    let mut proxies = Vec::new();
    for (name, value) in args {
        let upper = name.to_ascii_uppercase();
        if predefined::PROXY_ARGS.contains(&upper.as_str()) {
            proxies.push((upper, value.clone()));
            proxies.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    proxies
}

fn attributes(file: FileAttributes, mode: u32) -> (u32, u32, u32) {
    (
        file.mode.unwrap_or(mode),
        file.uid.unwrap_or(0),
        file.gid.unwrap_or(0),
    )
}

fn shell_argv(state: &StageState, text: String) -> Vec<String> {
    let mut argv = state.shell();
    argv.push(text);
    argv
}

/// The declared arguments as histories show them: `|2 a=1 b= `.
fn shown_args(state: &StageState) -> String {
    let mut shown: Vec<(String, String)> = Vec::new();
    for (name, value) in &state.args {
        let value = state
            .env
            .get(name)
            .or(value.as_deref())
            .unwrap_or("")
            .to_owned();
        match shown.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => shown.push((name.clone(), value)),
        }
    }
    if shown.is_empty() {
        return String::new();
    }
    let list: Vec<_> = shown
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("|{} {} ", list.len(), list.join(" "))
}
