//! `cargo xtask campaign`: publishing under fire, for long.
//!
//! ```text
//! stack      ten small images, ledgers, three registries        the work
//! registry   Debian's `docker-registry`, and its files          the truth: what tags lead to
//! proxy      between the two: it counts, fails, lies, stalls    the trouble
//! faults, kills, promote                                        what is done, and what must hold
//! ```
//!
//! What holds is read from the files of the registries, not through the protocol.

mod faults;
mod kills;
mod message;
mod options;
mod promote;
mod proxy;
mod random;
pub(crate) mod registry;
mod stack;
#[cfg(test)]
mod tests;

use crate::command;
use crate::error::ChoreError;
use options::{Kind, Options, Parsed};

/// `cargo xtask campaign`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    let mut options = match options::parse(arguments)? {
        Parsed::Help(text) => {
            println!("{text}");
            return Ok(());
        }
        Parsed::Run(options) => options,
    };
    if command::find(registry::PROGRAM).is_none() {
        let text = format!(
            "{} is not installed (Debian: docker-registry)",
            registry::PROGRAM
        );
        return Err(ChoreError::Unmet(text));
    }
    if options.cairn.is_none() {
        let mut cargo = std::process::Command::new("cargo");
        cargo.args(["build", "--release", "-p", "cairn-cli", "--bin", "cairn"]);
        cargo.arg("--message-format=json-render-diagnostics");
        options.cairn = Some(command::built_program(&mut cargo)?);
    }
    println!("{}", run(&options)?);
    Ok(())
}

/// Runs a campaign and says what it came to; what does not hold is an error.
fn run(options: &Options) -> Result<String, ChoreError> {
    match options.kind {
        Kind::Faults => faults::run(options),
        Kind::Kills => kills::run(options),
        Kind::Promote => promote::run(options),
    }
}
