//! Tests of what commands do.
//!
//! Every test starts from the image as it was built. Its setup commands run first, each over what
//! the ones before it changed; then the command, whose output and exit code are compared; then the
//! teardown commands. Nothing that any of them writes stays: changes go into snapshots that are
//! never committed, or into memory.
//!
//! As in the original, the image's entry point does not run, a setup command may fail without
//! failing the test (it is noted), and a program that does not exist fails the test. Unlike there,
//! where the docker driver skips them, teardown commands do run; what comes of them is only noted.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cairn_build::account::Accounts;
use cairn_sandbox::{
    Cancel, Exit, Mount, Network, Sandbox, SandboxError, Security, Stdin, Stream, Writable,
};
use cairn_store::ActiveSnapshot;

use super::env_file;
use super::expand::expand;
use super::file::{BindMount, CommandTest, NetworkOption, RunOptions};
use super::filesystem::check_patterns;
use super::result::{CheckError, Failure, TestKind, TestResult};
use super::subject::{Conditions, Content, Inspection, lookup, set};

/// Docker's, for images that set none.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const HOSTNAME: &str = "cairn";
/// Of a command's output, so much is kept and compared.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// The capabilities that every container has.
const USUAL_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Runs one command test.
pub(crate) fn check(
    test: &CommandTest,
    options: &RunOptions,
    inspection: &Inspection<'_>,
    conditions: &Conditions,
    cancel: &Cancel,
) -> Result<TestResult, CheckError> {
    let start = Instant::now();
    let mut notes = Vec::new();
    let container = match Container::prepare(test, options, inspection, conditions, &mut notes)? {
        Ok(container) => container,
        Err(failure) => {
            let mut result = TestResult::new(TestKind::Command, &test.name, vec![failure]);
            result.duration = start.elapsed();
            return Ok(result);
        }
    };
    let mut run = Run {
        test,
        inspection,
        container,
        cancel,
        changes: Vec::new(),
        notes,
    };
    let mut result = run.whole()?;
    result.notes = run.notes;
    result.duration = start.elapsed();
    Ok(result)
}

/// What all commands of one test have in common.
struct Container {
    sandbox: Sandbox,
    env: Vec<(String, String)>,
}

impl Container {
    /// Gives a failure if the image does not know the user.
    fn prepare(
        test: &CommandTest,
        options: &RunOptions,
        inspection: &Inspection<'_>,
        conditions: &Conditions,
        notes: &mut Vec<String>,
    ) -> Result<Result<Self, Failure>, CheckError> {
        let config = inspection.subject.config;
        let user = options.user.as_deref().unwrap_or(&config.user);
        let identity = match accounts(inspection)?.identity(user) {
            Ok(identity) => identity,
            Err(error) => {
                let expected = "one that the image knows";
                return Ok(Err(Failure::new("user", expected, error.to_string())));
            }
        };
        let mut env = inspection.env.clone();
        for variable in &test.env {
            let value = expand(&variable.value, |name| lookup(&env, name));
            set(&mut env, &variable.key, value);
        }
        for (name, value) in handed_on(options, conditions, notes) {
            set(&mut env, &name, value);
        }
        let defaults = [
            ("PATH", DEFAULT_PATH),
            ("HOME", &identity.home),
            ("HOSTNAME", HOSTNAME),
        ];
        let terminal = options.allocate_tty.then_some(("TERM", "xterm"));
        let proxies = conditions
            .proxies
            .iter()
            .map(|(name, value)| (&**name, &**value));
        for (name, value) in defaults.into_iter().chain(terminal).chain(proxies) {
            if lookup(&env, name).is_none() {
                set(&mut env, name, value.to_owned());
            }
        }
        let mut sandbox = Sandbox::new(
            conditions.scratch.clone(),
            Vec::new(),
            Writable::Tmpfs,
            Vec::new(),
        );
        sandbox.exe.clone_from(&conditions.exe);
        sandbox.env.clone_from(&env);
        sandbox.cwd = match config.working_dir.as_str() {
            "" => PathBuf::from("/"),
            directory => PathBuf::from(directory),
        };
        sandbox.uid = identity.uid;
        sandbox.gid = identity.gid;
        sandbox.groups = identity.groups;
        sandbox.network = match options.network {
            Some(NetworkOption::None) => Network::None,
            Some(NetworkOption::Host) => Network::Host,
            Some(NetworkOption::Usual) | None => conditions.network,
        };
        sandbox.hostname = Some(HOSTNAME.to_owned());
        sandbox.security = security(options, notes);
        sandbox.timeout = conditions.timeout;
        sandbox.ca.clone_from(&conditions.ca);
        sandbox.emulator.clone_from(&conditions.emulator);
        sandbox.mounts = options
            .bind_mounts
            .iter()
            .map(|mount| bind(mount, &conditions.folder))
            .collect();
        if options.allocate_tty {
            sandbox.stdin = Stdin::Tty;
        }
        Ok(Ok(Self { sandbox, env }))
    }
}

/// The variables that come from outside: a file's, then the caller's that are asked for by name.
fn handed_on(
    options: &RunOptions,
    conditions: &Conditions,
    notes: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    if let Some(file) = &options.env_file {
        match std::fs::read_to_string(conditions.folder.join(file)) {
            Ok(text) => variables.extend(env_file::parse(&text)),
            Err(error) => notes.push(format!("the variables of `{file}` are missing: {error}")),
        }
    }
    for name in &options.env_vars {
        match conditions.variables.get(name) {
            Some(value) => variables.push((name.clone(), value.clone())),
            None => notes.push(format!("`{name}` is not set here, so it is not handed on")),
        }
    }
    variables
}

/// Capabilities cannot be added one by one: more than the usual means all.
fn security(options: &RunOptions, notes: &mut Vec<String>) -> Security {
    let is_usual = |name: &String| {
        let name = name.to_uppercase();
        USUAL_CAPABILITIES.contains(&name.strip_prefix("CAP_").unwrap_or(&name))
    };
    if options.privileged {
        return Security::Insecure;
    }
    if options.capabilities.iter().all(is_usual) {
        return Security::Default;
    }
    notes.push("capabilities beyond the usual were asked for: it ran with all".to_owned());
    Security::Insecure
}

/// A folder that the host does not have is an empty one inside.
fn bind(mount: &BindMount, folder: &Path) -> Mount {
    let source = folder.join(&mount.source);
    let target = PathBuf::from(&mount.target);
    if !source.exists() {
        return Mount::Tmpfs {
            target,
            size_bytes: None,
            mode: 0o755,
        };
    }
    Mount::Bind {
        source,
        target,
        read_only: mount.read_only,
    }
}

pub(crate) fn accounts(inspection: &Inspection<'_>) -> Result<Accounts, CheckError> {
    let text = |path| {
        Ok::<_, CheckError>(match inspection.read(path)? {
            Content::Text(text) => text,
            _ => String::new(),
        })
    };
    Ok(Accounts {
        passwd: text("/etc/passwd")?,
        group: text("/etc/group")?,
    })
}

/// The commands of one test, one after the other.
struct Run<'a> {
    test: &'a CommandTest,
    inspection: &'a Inspection<'a>,
    container: Container,
    cancel: &'a Cancel,
    /// What the commands before have changed; discarded with this value.
    changes: Vec<ActiveSnapshot>,
    notes: Vec<String>,
}

/// How a command has ended, if it could be started.
enum Ended {
    Normally(Exit),
    NotStarted(String),
}

#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    is_cut: bool,
}

impl Run<'_> {
    fn whole(&mut self) -> Result<TestResult, CheckError> {
        for argv in &self.test.setup {
            let mut output = Output::default();
            let ended = self.command(argv, true, &mut output)?;
            match ended {
                Ended::NotStarted(reason) => {
                    let failure = Failure::new("setup", "to start", reason);
                    return Ok(TestResult::new(
                        TestKind::Command,
                        &self.test.name,
                        vec![failure],
                    ));
                }
                Ended::Normally(exit) if exit.is_success() => {}
                Ended::Normally(exit) => self.note_failure("setup", argv, exit, &output),
            }
        }
        let keeps_changes = !self.test.teardown.is_empty();
        let mut output = Output::default();
        let ended = self.command(&self.test.argv, keeps_changes, &mut output)?;
        let result = self.verdict(ended, output);
        for argv in &self.test.teardown {
            let mut output = Output::default();
            match self.command(argv, true, &mut output)? {
                Ended::NotStarted(reason) => self.notes.push(format!("teardown: {reason}")),
                Ended::Normally(exit) if exit.is_success() => {}
                Ended::Normally(exit) => self.note_failure("teardown", argv, exit, &output),
            }
        }
        Ok(result)
    }

    /// Runs one command over the image and what the commands before it changed.
    fn command(
        &mut self,
        argv: &[String],
        keeps_changes: bool,
        output: &mut Output,
    ) -> Result<Ended, CheckError> {
        if self.cancel.is_cancelled() {
            return Err(CheckError::Cancelled);
        }
        let subject = self.inspection.subject;
        let mut sandbox = self.container.sandbox.clone();
        let env = &self.container.env;
        sandbox.argv = argv
            .iter()
            .map(|word| expand(word, |name| lookup(env, name)))
            .collect();
        let image = subject
            .snapshots
            .iter()
            .map(|it| subject.store.snapshot_dir(it));
        let changed = self.changes.iter().map(|it| it.upper().to_owned());
        sandbox.lowers = image.chain(changed).collect();
        let change = match keeps_changes {
            true => Some(self.inspection.begin_change()?),
            false => None,
        };
        if let Some(change) = &change {
            sandbox.writable = Writable::Upper {
                upper: change.upper().to_owned(),
                work: change.work().to_owned(),
            };
        }
        let ran = sandbox.run(self.cancel, &mut |stream, bytes| output.push(stream, bytes));
        self.changes.extend(change);
        match ran {
            Ok(Exit::Cancelled) => Err(CheckError::Cancelled),
            Ok(exit) => Ok(Ended::Normally(exit)),
            Err(SandboxError::Exec(failure)) => Ok(Ended::NotStarted(failure.to_string())),
            Err(source) => Err(CheckError::Sandbox {
                test: self.test.name.clone(),
                source,
            }),
        }
    }

    fn verdict(&mut self, ended: Ended, output: Output) -> TestResult {
        if output.is_cut {
            self.notes.push(format!(
                "only the first {} MiB of its output were looked at",
                OUTPUT_BYTES_MAX >> 20
            ));
        }
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let failures = match ended {
            Ended::NotStarted(reason) => vec![Failure::new("command", "to start", reason)],
            Ended::Normally(exit) => self.failures(exit, &stdout, &stderr),
        };
        let mut result = TestResult::new(TestKind::Command, &self.test.name, failures);
        result.stdout = stdout;
        result.stderr = stderr;
        result
    }

    fn failures(&self, exit: Exit, stdout: &str, stderr: &str) -> Vec<Failure> {
        let test = self.test;
        let mut failures =
            check_patterns("stderr", stderr, &test.expected_error, &test.excluded_error);
        failures.extend(check_patterns(
            "stdout",
            stdout,
            &test.expected_output,
            &test.excluded_output,
        ));
        let wanted = test.exit_code.to_string();
        match exit {
            Exit::TimedOut => {
                let limit = self.container.sandbox.timeout.unwrap_or_default();
                let expected = format!("an end within {} s", limit.as_secs_f64());
                failures.push(Failure::new("time", expected, "none: it was stopped"));
            }
            exit if exit.shell_code() != test.exit_code => {
                failures.push(Failure::new("exit code", wanted, shown(exit)));
            }
            _ => {}
        }
        failures
    }

    fn note_failure(&mut self, phase: &str, argv: &[String], exit: Exit, output: &Output) {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().next_back().unwrap_or_default();
        let command = argv.join(" ");
        let mut note = format!("{phase} `{command}` ended with {}", shown(exit));
        if !last.is_empty() {
            note.push_str(&format!(": {last}"));
        }
        self.notes.push(note);
    }
}

impl Output {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        self.is_cut |= bytes.len() > room;
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn shown(exit: Exit) -> String {
    let code = exit.shell_code();
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => format!("{code} (signal {signal})"),
        Exit::TimedOut => "a stop after too long a time".to_owned(),
        Exit::OutOfMemory => format!("{code} (killed for want of memory)"),
        Exit::Cancelled => format!("{code} (stopped)"),
    }
}
