//! `cairn run`: one process in a container of an image.
//!
//! What it writes goes to a fresh change on top of the image and is thrown away with the
//! container. The exit code is the process's; 125, 126 and 127 mean what they mean with docker.

mod mounts;
mod process;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use cairn_build::device::Allowed;
use cairn_build::image::ImageRecord;
use cairn_sandbox::{
    Cancel, Emulator, ExecFailure, Exit, Limits, Network, Sandbox, SandboxError, Security, Stdin,
    Stream,
};
use cairn_sandbox::{Writable, interrupt};
use cairn_store::{LayeredView, Store};
use clap::{Args, ValueEnum};

use self::mounts::Volume;
use super::devices::{DeviceArgs, refusal};
use super::images::open_image;
use super::options::{PlatformOption, host_line, variable};
use crate::error::{CommandError, Kind, OutputError};
use crate::exit;
use crate::quantity::{parse_bytes, parse_duration};
use crate::session::Session;

/// A process that is asked to stop has so long to do it.
const GRACE: Duration = Duration::from_secs(10);

/// Run a command in a container of an image
///
/// What the command writes is gone afterwards, but for what it writes to volumes. Signals go on to
/// the command, and the exit code is the command's: 128 and the number of the signal that ended it.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn run model                         what the image was made to run
  cairn run -it model bash                a shell in it
  cairn run -v ./data:/data model python3 /data/fit.py")]
pub struct RunArgs {
    #[command(flatten)]
    platform: PlatformOption,
    /// Keep standard input open
    #[arg(long, short)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(long, short)]
    tty: bool,
    /// Mount a file or directory of the host, which must exist: `SOURCE:TARGET[:ro]` (can be
    /// repeated)
    #[arg(long, short, value_name = "VOLUME", value_parser = Volume::parse)]
    volume: Vec<Volume>,
    /// Mount an empty directory in memory (can be repeated)
    #[arg(long, value_name = "TARGET")]
    tmpfs: Vec<PathBuf>,
    /// Set a variable; without a value, from the environment (can be repeated)
    #[arg(long, short, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, Option<String>)>,
    /// Set the variables that a file lists (can be repeated)
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Start in this directory
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Run as this user: a name or number, with `:GROUP` if wanted
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// What the command can reach
    #[arg(long, value_enum, default_value_t)]
    network: NetworkChoice,
    /// Add a line to /etc/hosts (can be repeated)
    #[arg(long, value_name = "HOST:IP", value_parser = host_line)]
    add_host: Vec<(String, IpAddr)>,
    /// Set the host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Refuse writes outside of volumes
    #[arg(long)]
    read_only: bool,
    /// Run this instead of the image's entrypoint; empty for none
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Stop the command after so long: `90s`, `15m`, `2h`
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Give the command so much memory at most: `2GB`
    #[arg(long, short, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Give the command so many CPUs at most: `1.5`
    #[arg(long, value_name = "N", value_parser = cpus)]
    cpus: Option<f64>,
    /// Make /dev/shm so large
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    shm_size: Option<u64>,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Do not confine the command: all capabilities of the caller, no system call is refused
    #[arg(long)]
    privileged: bool,
    /// Always so: what the command writes is removed afterwards
    #[arg(long, hide = true)]
    rm: bool,
    /// Always so: signals are handed on and orphans reaped
    #[arg(long, hide = true)]
    init: bool,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The command and its arguments [default: the image's]
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

/// What the command can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum NetworkChoice {
    /// The host's network
    #[default]
    #[value(alias = "default")]
    Host,
    /// Nothing but itself
    None,
}

fn cpus(text: &str) -> Result<f64, String> {
    let cpus = text.parse().ok();
    cpus.filter(|cpus: &f64| cpus.is_finite() && *cpus > 0.0)
        .ok_or_else(|| format!("`{text}` is not a number of CPUs"))
}

pub fn run(args: &RunArgs, session: &Session) -> Result<(), CommandError> {
    let exit = start(args, session).map_err(|mut error| {
        // A code of its own tells "cairn could not" from "the command failed".
        if matches!(error.kind, Kind::Usage | Kind::Environment | Kind::Work) {
            error.kind = Kind::Code(exit::RUN_NOT_STARTED);
        }
        error
    })?;
    let told = match exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(_) | Exit::Signal(_) | Exit::Cancelled => None,
        Exit::TimedOut => Some("the command was stopped: its time was over".to_owned()),
        Exit::OutOfMemory => Some("the kernel killed the command for want of memory".to_owned()),
    };
    let code = u8::try_from(exit.shell_code()).unwrap_or(exit::WORK_FAILED);
    match told {
        Some(told) => Err(CommandError::new(Kind::Code(code), told)),
        None => Err(CommandError::told(Kind::Code(code))),
    }
}

fn start(args: &RunArgs, session: &Session) -> Result<Exit, CommandError> {
    if args.tty && !session.settings.terminals.stdin {
        return Err(CommandError::usage("standard input is not a terminal")
            .hint("leave `-t` out, or run in a terminal"));
    }
    let platform = args.platform.named(session)?;
    let store = session.open_existing_store()?;
    let record = open_image(&store, &args.image, platform.as_ref())?;
    let active = match args.read_only {
        true => None,
        false => Some(store.begin_snapshot()?),
    };
    let writable = match &active {
        None => Writable::ReadOnly,
        Some(active) => Writable::Upper {
            upper: active.upper().to_owned(),
            work: active.work().to_owned(),
        },
    };
    let sandbox = sandbox(args, session, &store, &record, writable)?;
    let cancel = Cancel::new();
    let signals = interrupt::hand_on_signals()?;
    let mut broken = None;
    let exit = sandbox.run_as_me(&cancel, &signals, &mut |stream, bytes| {
        let written = match stream {
            Stream::Stdout => write_through(io::stdout(), bytes),
            Stream::Stderr => write_through(io::stderr(), bytes),
        };
        if let (Err(error), Stream::Stdout) = (written, stream) {
            broken.get_or_insert(error);
            cancel.cancel();
        }
    });
    if let Some(error) = broken {
        return Err(OutputError(error).into());
    }
    exit.map_err(|error| match &error {
        SandboxError::Exec(failure) => {
            let code = u8::try_from(failure.shell_code()).unwrap_or(exit::RUN_NOT_STARTED);
            let told = CommandError::from_error(Kind::Code(code), &error);
            match failure {
                ExecFailure::Foreign { .. } => told.hint(Emulator::how_to_get_one()),
                _ => told,
            }
        }
        _ => error.into(),
    })
}

/// The command's own bytes, as they are: a terminal that shows them belongs to the command.
fn write_through(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

fn sandbox(
    args: &RunArgs,
    session: &Session,
    store: &Store,
    record: &ImageRecord,
    writable: Writable,
) -> Result<Sandbox, CommandError> {
    let snapshots = record.snapshots();
    let view = LayeredView::new(store, &snapshots)?;
    let lowers = snapshots.iter().map(|id| store.snapshot_dir(id)).collect();
    let user = args.user.as_deref().unwrap_or(&record.config.user);
    let identity = process::identity(&view, user)?;
    let asked = process::asked_variables(&args.env_file, &args.env, &session.settings)?;
    let command = process::command(&record.config, args.entrypoint.as_deref(), &args.command);
    if command.is_empty() {
        return Err(CommandError::usage(format!(
            "the image `{}` has no command of its own",
            args.image
        ))
        .hint("say what to run: `cairn run IMAGE COMMAND`"));
    }
    let default = Sandbox::new(session.scratch(store)?, lowers, writable, command);
    let stdin = match (args.tty, args.interactive) {
        (true, _) => Stdin::Tty,
        (false, true) => Stdin::Inherit,
        (false, false) => Stdin::Null,
    };
    // Who asks for a device of a container of his own need not allow it, too.
    let devices = args.devices.handed(&args.devices.known(Allowed::All))?;
    for what in &devices.without {
        let text = format!("the command goes without {what}");
        session.printer.warning(&text);
    }
    let mut mounts = args.devices.files()?;
    mounts.extend(devices.mounts().map_err(refusal)?);
    mounts.extend(mounts::mounts(&args.volume, &args.tmpfs)?);
    Ok(Sandbox {
        mounts,
        env: process::environment(
            &record.config,
            devices.env.into_iter().chain(asked).collect(),
            session.settings.proxies(),
            &identity.home,
            args.tty,
        ),
        cwd: process::directory(&record.config, args.workdir.as_deref()),
        uid: identity.uid,
        gid: identity.gid,
        groups: [identity.groups, devices.groups].concat(),
        network: match args.network {
            NetworkChoice::Host => Network::Host,
            NetworkChoice::None => Network::None,
        },
        hostname: args.hostname.clone(),
        hosts: args.add_host.clone(),
        limits: Limits {
            memory_bytes_max: args.memory,
            cpus_max: args.cpus,
            ..Limits::default()
        },
        stdin,
        security: match args.privileged {
            true => Security::Insecure,
            false => Security::Default,
        },
        timeout: args.timeout,
        grace: GRACE,
        stop_signal: process::stop_signal(&record.config),
        shm_bytes: args.shm_size.unwrap_or(default.shm_bytes),
        ca: session.host_certificates(),
        emulator: Emulator::needed_for(&record.platform.architecture),
        ..default
    })
}
