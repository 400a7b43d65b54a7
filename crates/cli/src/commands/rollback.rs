//! `cairn rollback`: a tag means again what it meant before.

use cairn_stack::publish::plan_rollback;
use clap::Args;

use super::generations::{RegistryOption, Workplace};
use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
use crate::session::Session;

/// Make a tag mean the generation before, for all images of the stack at once
///
/// Going back twice goes back two generations. `cairn log TAG` lists them.
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
    place.carry_out(session, args.dry_run, args.json.json, |means| {
        let (stack, registries) = (&place.stack.name, &place.registries);
        let to = args.to.as_deref();
        Ok(plan_rollback(means, stack, registries, &args.tag, to)?)
    })
}
