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
    /// The generation, as `cairn log` prints it
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
    place.with(session, |means| {
        let ledgers = place
            .targets
            .iter()
            .map(|target| Ledger::new(&target.0, &place.stack))
            .collect::<Result<Vec<_>, _>>()?;
        // All of them are looked at before the first is changed.
        for ledger in &ledgers {
            if ledger.generation(means, &args.generation)?.is_none() {
                return Err(CommandError::usage(format!(
                    "{} knows no generation `{}`",
                    ledger.place(),
                    args.generation
                ))
                .hint("`cairn log TAG` lists generations"));
            }
        }
        for ledger in &ledgers {
            let mut yanked = ledger.yanked(means)?;
            yanked.retain(|name| *name != args.generation);
            if !args.undo {
                yanked.push(args.generation.clone());
            }
            ledger.put_yanked(means, &yanked)?;
        }
        Ok(())
    })
}
