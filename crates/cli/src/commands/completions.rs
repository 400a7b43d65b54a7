//! `cairn completions`: what shells need to complete our command lines.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cairn;
use crate::error::CommandError;
use crate::session::Session;

/// Print a shell's completion script
///
/// For bash: `cairn completions bash > ~/.local/share/bash-completion/completions/cairn`
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, session: &Session) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cairn::command(), "cairn", &mut script);
    Ok(session.printer.bytes(&script)?)
}
