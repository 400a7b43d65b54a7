//! Instructions that change settings only: no vertex, no layer.

use std::time::Duration;

use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::ast::{
    Arg, CommandLine, Healthcheck as HealthcheckSpec, InstructionKind, KeyValue, Word,
};
use cairn_dockerfile::expose::Exposed;
use cairn_oci::{Empty, Healthcheck};

use super::dockerfile::FileLowering;
use super::env::EnvList;
use super::files::absolute;
use super::stage::{Place, StageState};
use super::windows;
use crate::graph::{MakeDirOp, Op};

/// Arguments that steer the builder and are no variables of the build.
const NOT_IN_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

type Lowered = Result<(), Box<Diagnostic>>;

impl FileLowering<'_, '_> {
    /// Lowers an instruction that is not `RUN`, `COPY`, `ADD` or `WORKDIR`.
    pub(super) fn setting(&mut self, state: &mut StageState, place: &Place<'_>) -> Lowered {
        match &place.instruction.kind {
            InstructionKind::Env(pairs) => self.env(state, pairs),
            InstructionKind::Label(pairs) => self.label(state, pairs),
            InstructionKind::Arg(arg) => self.arg(state, arg),
            InstructionKind::User(user) => self.user(state, user),
            InstructionKind::Expose(ports) => self.expose(state, ports),
            InstructionKind::Volume(paths) => self.volume(state, paths),
            InstructionKind::StopSignal(signal) => self.stop_signal(state, signal),
            InstructionKind::Healthcheck(check) => {
                let check = healthcheck(check);
                state.note(format!("HEALTHCHECK {:?}", check.test));
                state.config.healthcheck = Some(check);
                Ok(())
            }
            InstructionKind::Shell(words) => {
                let shell: Vec<_> = words.iter().map(|word| word.value.clone()).collect();
                state.note(format!("SHELL {}", go_list(&shell)));
                state.config.shell = Some(shell);
                Ok(())
            }
            InstructionKind::OnBuild(trigger) => {
                state.config.on_build.push(trigger.trigger.clone());
                Ok(())
            }
            InstructionKind::Cmd(line) => {
                let argv = command(state, line);
                state.note(format!("CMD {}", quoted_list(&argv)));
                state.config.cmd = Some(argv);
                state.config.args_escaped = true;
                state.cmd_set = true;
                Ok(())
            }
            InstructionKind::Entrypoint(line) => {
                let argv = command(state, line);
                state.note(format!("ENTRYPOINT {}", quoted_list(&argv)));
                state.config.entrypoint = Some(argv);
                if !state.cmd_set {
                    state.config.cmd = None;
                }
                Ok(())
            }
            InstructionKind::Maintainer(name) => {
                state.author = Some(name.value.clone());
                state.note(format!("MAINTAINER {}", name.value));
                Ok(())
            }
            InstructionKind::Run(_)
            | InstructionKind::Copy(_)
            | InstructionKind::Add(_)
            | InstructionKind::Workdir(_) => unreachable!("these touch files"),
        }
    }

    /// `WORKDIR`: a setting, and a directory unless it is the root.
    pub(super) fn workdir(
        &mut self,
        state: &mut StageState,
        place: &Place<'_>,
        path: &Word,
    ) -> Lowered {
        let given = self.expand(state, path.as_str(), path.span)?;
        let given = self.plain(state, given, path.span)?;
        let path = absolute(&state.workdir(), &given);
        // An absolute one stands in the settings as it was written, slash at the end and all.
        let told = match given.starts_with('/') {
            _ if state.is_windows() => windows::told(&path),
            true => given,
            false => path.clone(),
        };
        let created_by = format!("WORKDIR {told}");
        state.config.working_dir = told;
        if path == "/" {
            state.note(created_by);
            return Ok(());
        }
        let user = state.config.user.clone();
        self.push(
            state,
            place,
            Op::MakeDir(MakeDirOp { path, user }),
            created_by,
        );
        Ok(())
    }

    fn pairs(
        &self,
        state: &StageState,
        pairs: &[KeyValue],
    ) -> Result<Vec<(String, String)>, Box<Diagnostic>> {
        // All pairs see the variables from before the instruction.
        pairs
            .iter()
            .map(|pair| {
                let name = self.expand(state, pair.key.as_str(), pair.key.span)?;
                let value = self.expand(state, pair.value.as_str(), pair.value.span)?;
                Ok((name, value))
            })
            .collect()
    }

    fn env(&self, state: &mut StageState, pairs: &[KeyValue]) -> Lowered {
        let pairs = self.pairs(state, pairs)?;
        let mut image_env = EnvList::from_config(&state.config.env);
        for (name, value) in &pairs {
            state.env.set(name, value);
            image_env.set(name, value);
        }
        state.config.env = image_env.to_config();
        state.note(format!("ENV {}", joined(&pairs)));
        Ok(())
    }

    fn label(&self, state: &mut StageState, pairs: &[KeyValue]) -> Lowered {
        let pairs = self.pairs(state, pairs)?;
        state.note(format!("LABEL {}", joined(&pairs)));
        state.config.labels.extend(pairs);
        Ok(())
    }

    fn arg(&self, state: &mut StageState, arg: &Arg) -> Lowered {
        let mut shown = Vec::new();
        for declaration in &arg.declarations {
            let name = self.expand(state, declaration.name.as_str(), declaration.name.span)?;
            let value = match (self.recipe.args.get(&name), &declaration.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    Some(self.expand(state, default.as_str(), default.span)?)
                }
                (None, None) => self.globals.get(&name).map(str::to_owned),
            };
            if let Some(value) = &value
                && !NOT_IN_ENVIRONMENT.contains(&name.as_str())
            {
                state.env.set(&name, value);
            }
            shown.push(match &value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            });
            state.args.push((name, value));
        }
        state.note(format!("ARG {}", shown.join(" ")));
        Ok(())
    }

    fn user(&self, state: &mut StageState, user: &Word) -> Lowered {
        let user = self.expand(state, user.as_str(), user.span)?;
        state.note(format!("USER {user}"));
        state.config.user = user;
        Ok(())
    }

    fn expose(&self, state: &mut StageState, words: &[Word]) -> Lowered {
        let mut ports = Vec::new();
        for word in words {
            let expanded = self
                .expander
                .words(word.as_str(), &state.env)
                .map_err(|error| self.error(error.to_string(), word.span))?;
            for text in &expanded {
                let exposed = Exposed::parse(text)
                    .map_err(|error| self.error(error.to_string(), word.span))?;
                ports.extend(exposed.ports.iter().map(ToString::to_string));
            }
        }
        state.note(format!("EXPOSE {}", go_list(&ports)));
        state
            .config
            .exposed_ports
            .extend(ports.into_iter().map(|port| (port, Empty {})));
        Ok(())
    }

    fn volume(&self, state: &mut StageState, words: &[Word]) -> Lowered {
        let mut paths = Vec::new();
        for word in words {
            let path = self.expand(state, word.as_str(), word.span)?;
            if path.is_empty() {
                let text = "VOLUME specified can not be an empty string";
                return Err(self.error(text, word.span));
            }
            paths.push(path);
        }
        state.note(format!("VOLUME {}", go_list(&paths)));
        state
            .config
            .volumes
            .extend(paths.into_iter().map(|path| (path, Empty {})));
        Ok(())
    }

    fn stop_signal(&self, state: &mut StageState, word: &Word) -> Lowered {
        let signal = self.expand(state, word.as_str(), word.span)?;
        cairn_dockerfile::signal::check(&signal)
            .map_err(|error| self.error(error.to_string(), word.span))?;
        state.note(format!("STOPSIGNAL {signal}"));
        state.config.stop_signal = Some(signal);
        Ok(())
    }
}

/// The argument vector of a `CMD` or `ENTRYPOINT`.
fn command(state: &StageState, line: &CommandLine) -> Vec<String> {
    match line {
        CommandLine::Exec(_) => line.arguments(),
        CommandLine::Shell(text) => {
            let mut argv = state.shell();
            argv.push(text.value.clone());
            argv
        }
    }
}

fn healthcheck(check: &HealthcheckSpec) -> Healthcheck {
    let nanoseconds = |time: Option<Duration>| {
        time.and_then(|time| i64::try_from(time.as_nanos()).ok())
            .unwrap_or(0)
    };
    match check {
        HealthcheckSpec::None => Healthcheck {
            test: vec!["NONE".to_owned()],
            ..Healthcheck::default()
        },
        HealthcheckSpec::Command { command, timing } => {
            let mut test = match command {
                // Docker's own shell runs it, whatever `SHELL` says.
                CommandLine::Shell(_) => vec!["CMD-SHELL".to_owned()],
                CommandLine::Exec(_) => vec!["CMD".to_owned()],
            };
            test.extend(command.arguments());
            Healthcheck {
                test,
                interval: nanoseconds(timing.interval),
                timeout: nanoseconds(timing.timeout),
                start_period: nanoseconds(timing.start_period),
                start_interval: nanoseconds(timing.start_interval),
                retries: timing.retries.map_or(0, i64::from),
            }
        }
    }
}

fn joined(pairs: &[(String, String)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `[a b]`, as Go prints a list: the form histories hold.
fn go_list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

/// `["a" "b"]`.
fn quoted_list(items: &[String]) -> String {
    let quoted: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", quoted.join(" "))
}
