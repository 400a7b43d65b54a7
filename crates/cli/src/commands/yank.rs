//! `cairn yank`: a generation that nobody should get any more.

use cairn_stack::publish::Ledger;
use clap::Args;

use super::generations::{RegistryOption, Workplace};
use super::options::StackOption;
use crate::error::CommandError;
use crate::session::Session;

/// Mark a generation as one that nobody should get any more
///
/// It is never promoted again and no rollback goes to it. Tags that mean it stay until they are
/// rolled back.
#[derive(Debug, Clone, Args)]
pub struct YankArgs {
    /// The generation, as `cairn log` prints it, or what its name begins with
    #[arg(value_name = "GENERATION")]
    generation: String,
    /// Take the mark away
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    registry: RegistryOption,
    #[command(flatten)]
    stack: StackOption,
}

pub fn run(args: &YankArgs, session: &Session) -> Result<(), CommandError> {
    let place = Workplace::open(session, &args.stack, &args.registry)?;
    place.change(session, |means| {
        let ledgers = Ledger::open_all(means, &place.registries, &place.stack.name)?;
        let Some(generation) = Ledger::generation_named(&ledgers, &args.generation)? else {
            return Err(unknown(&args.generation));
        };
        // All of them are looked at before the first is changed.
        let mut knowing = Vec::new();
        for ledger in &ledgers {
            if ledger.generation(means, &generation)?.is_some() {
                knowing.push(ledger);
            }
        }
        if knowing.is_empty() {
            return Err(unknown(&generation));
        }
        for ledger in knowing {
            ledger.yank(means, &generation, !args.undo)?;
        }
        let done = match args.undo {
            true => "may be promoted and rolled back to again",
            false => "is yanked: nothing is promoted from it and no rollback goes to it",
        };
        session
            .printer
            .note(&format!("generation {generation} {done}"));
        Ok(())
    })
}

fn unknown(generation: &str) -> CommandError {
    let text = format!("no registry knows a generation `{generation}`");
    CommandError::usage(text).hint("`cairn log TAG` lists generations")
}
