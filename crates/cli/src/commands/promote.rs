//! `cairn promote`: another tag for a generation that is published.

use cairn_stack::publish::plan_promotion;
use clap::Args;

use super::generations::{RegistryOption, Workplace};
use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
use crate::session::Session;

/// Make a tag mean what another tag means, for all images of the stack at once
///
/// Only manifests move, inside each registry: digests and platforms stay.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn promote 2026.3-main 2026.3-stable
  cairn promote 2026.3-stable stable --dry-run")]
pub struct PromoteArgs {
    /// The tag that means the generation
    #[arg(value_name = "FROM")]
    from: String,
    /// The tag that shall mean it, too
    #[arg(value_name = "TO")]
    to: String,
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

pub fn run(args: &PromoteArgs, session: &Session) -> Result<(), CommandError> {
    let place = Workplace::open_unless(args.dry_run, session, &args.stack, &args.registry)?;
    place.carry_out(session, args.dry_run, args.json.json, |means| {
        let (stack, registries) = (&place.stack.name, &place.registries);
        Ok(plan_promotion(
            means, stack, registries, &args.from, &args.to,
        )?)
    })
}
