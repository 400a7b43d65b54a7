//! `cairn lock`: the exact packages and external images of a stack, written to `cairn.lock`.

use cairn_stack::lockfile::{ExternalChange, LockFile, LockMode, Locking};
use clap::Args;
use serde::Serialize;

use super::options::{BuildOptions, JsonOption, StackOption};
use crate::error::CommandError;
use crate::platforms::Purpose;
use crate::progress::count;
use crate::sanitize;
use crate::session::Session;
use crate::stack_run::{LockOutcome, StackRun};
use crate::style::{Line, Tone};

/// Write the exact packages and external images of a stack to `cairn.lock`
///
/// What has a lock that fits the spec stays as it is, unless `--update` is given.
#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// Images of the stack [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Choose the newest packages again, and take what external images are now
    #[arg(long, conflicts_with = "locked")]
    update: bool,
    /// Change nothing; fail if a lock does not fit the spec
    #[arg(long)]
    locked: bool,
    /// Lock for these platforms, with commas [default: those that the spec lists, else this
    /// machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

/// What became of one base.
#[derive(Debug, Serialize)]
struct Locked {
    image: String,
    state: &'static str,
    packages: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
}

pub fn run(args: &LockArgs, session: &Session) -> Result<(), CommandError> {
    let options = BuildOptions {
        platform: args.platform.clone(),
        ..BuildOptions::default()
    };
    let elsewhere = Purpose::Elsewhere;
    let stack = StackRun::open_for(session, &args.stack, &options, &args.images, elsewhere)?;
    let mode = match (args.update, args.locked) {
        (true, _) => LockMode::Update,
        (_, true) => LockMode::Locked,
        _ => LockMode::AsNeeded,
    };
    let LockOutcome {
        locks,
        images,
        external,
    } = stack.lock(mode, &session.printer)?;
    if images.values().any(|locking| *locking != Locking::Kept) || !external.is_empty() {
        locks.write(&stack.loaded.directory)?;
        stack.means.make_durable()?;
    }
    let locked: Vec<Locked> = images
        .into_iter()
        .map(|(name, locking)| locked(name, locking, &locks))
        .chain(external.into_iter().map(locked_external))
        .collect();
    if locked.is_empty() {
        session.printer.note(match locks.external.is_empty() {
            true => {
                "there is nothing to lock: these images have no `debian` base and none from \
                 outside the stack"
            }
            false => "nothing moved: all is as cairn.lock has it",
        });
    }
    match args.json.json {
        true => session.printer.json(&locked)?,
        false => session.printer.lines(&lines(&locked))?,
    }
    Ok(())
}

fn locked(image: String, locking: Locking, locks: &LockFile) -> Locked {
    let packages = locks
        .images
        .get(&image)
        .map_or(0, |lock| lock.packages.len());
    let (state, reasons, changes) = match locking {
        Locking::Kept => ("kept", Vec::new(), Vec::new()),
        Locking::New { .. } => ("new", Vec::new(), Vec::new()),
        Locking::Moved { reasons, changes } => {
            let changes = changes.iter().map(ToString::to_string).collect();
            ("moved", reasons, changes)
        }
    };
    Locked {
        image,
        state,
        packages,
        reasons,
        changes,
    }
}

fn locked_external(change: ExternalChange) -> Locked {
    let (state, changes) = match change.old {
        None => ("new", Vec::new()),
        Some(old) => ("moved", vec![format!("{old} -> {}", change.new)]),
    };
    Locked {
        image: change.name,
        state,
        packages: 0,
        reasons: Vec::new(),
        changes,
    }
}

fn lines(locked: &[Locked]) -> Vec<Line> {
    let mut lines = Vec::new();
    for base in locked {
        let tone = if base.state == "kept" {
            Tone::Good
        } else {
            Tone::Busy
        };
        let packages = match base.packages {
            0 => "an image from outside the stack".to_owned(),
            packages => count(packages, "package"),
        };
        let mut line = Line::new(tone, format!("{:<5}", base.state))
            .with(Tone::Strong, format!(" {}", sanitize::name(&base.image)))
            .with(Tone::Plain, format!("  {packages}"));
        if base.state == "moved" && base.changes.is_empty() {
            line = line.with(Tone::Plain, ", none of them changed");
        }
        if !base.reasons.is_empty() {
            line = line.with(Tone::Dim, format!("  because {}", base.reasons.join("; ")));
        }
        lines.push(line);
        let changes = base.changes.iter();
        lines.extend(changes.map(|change| Line::new(Tone::Plain, format!("  {change}"))));
    }
    lines
}
