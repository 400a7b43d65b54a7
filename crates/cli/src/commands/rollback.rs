//! `cairn rollback`: a tag means again what it meant before.

use cairn_stack::publish::{Action, LogEntry, plan_rollback};
use clap::Args;

use super::generations::{RegistryOption, Workplace};
use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
use crate::session::Session;

/// Make a tag mean the generation before, for all images of the stack at once
///
/// Going back twice goes back two generations, but for a rollback that was stopped: the next one
/// ends it. `cairn log TAG` lists generations.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn rollback stable
  cairn rollback stable --to 3f2a90c1       the generation whose name begins so")]
pub struct RollbackArgs {
    /// The tag
    #[arg(value_name = "TAG")]
    tag: String,
    /// Go to this generation [default: the one before]
    #[arg(long, value_name = "GENERATION")]
    to: Option<String>,
    /// Say which tags would move
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    registry: RegistryOption,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &RollbackArgs, session: &Session) -> Result<(), CommandError> {
    let place = Workplace::open_unless(args.dry_run, session, &args.stack, &args.registry)?;
    // A second step back is not what somebody wants who asks again because the first was stopped.
    let is_it = |entry: &LogEntry| {
        let is_wanted = args
            .to
            .as_ref()
            .is_none_or(|to| entry.generation.starts_with(to));
        entry.action == Action::Rollback && entry.tag == args.tag && is_wanted
    };
    place.carry_out(session, args.dry_run, args.json.json, is_it, |means| {
        let (stack, registries) = (&place.stack.name, &place.registries);
        let to = args.to.as_deref();
        Ok(plan_rollback(means, stack, registries, &args.tag, to)?)
    })
}
