//! `cairn promote`: another tag for a generation that is published.

use cairn_stack::publish::{LogEntry, plan_promotion};
use clap::Args;

use super::generations::{RegistryOption, Workplace};
use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
use crate::session::Session;

/// Make a tag mean what another tag means, for all images of the stack at once
///
/// Only manifests move, inside each registry: digests and platforms stay. `[promote]` of the spec
/// says what may become what; with one tag it also says where that comes from.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn promote 2026.3-main 2026.3-stable
  cairn promote 2026.3-stable stable --dry-run
  cairn promote stable                      from the tag that the spec says")]
#[command(override_usage = "cairn promote [OPTIONS] [FROM] <TO>")]
pub struct PromoteArgs {
    /// The tag that means the generation, and the tag that shall mean it, too
    #[arg(value_name = "TAG", num_args = 1..=2, required = true)]
    tags: Vec<String>,
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
    let (from, to) = match args.tags.as_slice() {
        [from, to] => (Some(from.as_str()), to.as_str()),
        // There is one: clap asks for it.
        tags => (None, tags.first().map_or("", String::as_str)),
    };
    let place = Workplace::open_unless(args.dry_run, session, &args.stack, &args.registry)?;
    // Promoting again what was promoted changes nothing: there is no need to know.
    let is_it = |_: &LogEntry| false;
    place.carry_out(session, args.dry_run, args.json.json, is_it, |means| {
        let (stack, registries) = (&place.stack, &place.registries);
        Ok(plan_promotion(means, stack, registries, from, to)?)
    })
}
