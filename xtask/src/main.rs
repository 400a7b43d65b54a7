//! The project's own chores: `cargo xtask tidy`, `test`, `bench`, `campaign`, `fuzz`, `corpus`,
//! `oracle`.
//!
//! They are Rust and not shell so that they run wherever the project builds, share one idea of the
//! workspace, and are tested themselves.

mod bench;
mod campaign;
mod command;
mod corpus;
mod error;
mod fuzz;
mod oracle;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use error::ChoreError;

const USAGE: &str = "\
usage: cargo xtask <chore>

  tidy    check the invariants of the source tree
  test    everything a change must pass: format, lints, invariants, tests, conformance
  bench   measure Cairn beside the container tools that are installed (`bench --help`)
  campaign publish, promote and roll back under fire (`campaign --help`)
  fuzz    search for inputs that break the readers (`fuzz --help`)
  corpus  check real Dockerfiles from Debian's source packages (`corpus --help`)
  oracle  hold plans of made-up stacks against builds from nothing (`oracle --help`)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            error.exit_code()
        }
    }
}

fn run(arguments: &[String]) -> Result<(), ChoreError> {
    let (chore, rest) = match arguments.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("help", arguments),
    };
    match chore {
        "tidy" => tidy::main(rest),
        "test" => test::main(rest),
        "bench" => bench::main(rest),
        "campaign" => campaign::main(rest),
        "fuzz" => fuzz::main(rest),
        "corpus" => corpus::main(rest),
        "oracle" => oracle::main(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(ChoreError::Usage(format!(
            "there is no chore `{other}`\n\n{USAGE}"
        ))),
    }
}
