//! Arguments, configuration, rendering, exit codes; the only crate that prints, reads the environment or exits.
//!
//! - [`commands`]: one file per command; each gets a [`session::Session`].
//! - [`environment`], [`settings`], [`host_trust`]: what the surroundings say, read once.
//! - [`printer`], [`sanitize`], [`style`], [`table`], [`quantity`]: how words get out.
//! - [`registries`]: logins, certificates and mirrors of the surroundings.
//! - [`means`]: what a run needs; [`stack_run`]: a run over a stack; [`progress`]: a run as it is shown while it lasts;
//!   [`published`]: what registries have of a stack;
//!   [`failures`], [`warnings`]: what is shown of failed steps, and of Dockerfiles, afterwards; [`bookkeeping`]: what is
//!   kept of it.
//! - [`error`], [`exit`]: why a command stopped, and the exit code that follows.

#![allow(
    unreachable_pub,
    reason = "a program has no outside: `pub` means for its other modules"
)]

mod bookkeeping;
mod caches;
mod commands;
mod environment;
mod error;
mod exit;
mod failures;
mod host_trust;
mod means;
mod misread;
mod platforms;
mod policy;
mod printer;
mod progress;
mod published;
mod quantity;
mod registries;
mod sanitize;
mod secrets_file;
mod session;
mod settings;
mod stack_run;
mod style;
mod table;
mod warnings;

use std::ffi::OsString;
use std::process::ExitCode;

use cairn_sandbox::{interrupt, look_for_emulators_in};
use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::Cairn;
use crate::commands::build::spelling;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::printer::Printer;
use crate::session::Session;
use crate::settings::{Settings, Terminals};

fn main() -> ExitCode {
    // First: the program may have been executed again in a role inside a sandbox.
    cairn_sandbox::dispatch();
    ExitCode::from(cairn())
}

fn cairn() -> u8 {
    let arguments = spelling::plain(std::env::args_os());
    let cairn = match Cairn::try_parse_from(&arguments) {
        Ok(cairn) => cairn,
        Err(error) => {
            // Where nobody reads help, there is nobody to tell.
            let _ = misread::print(&error, &arguments);
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::DONE,
                _ if asks_to_run(std::env::args_os().skip(1)) => exit::RUN_NOT_STARTED,
                _ => exit::USAGE,
            };
        }
    };
    let environment = Environment::of_process();
    look_for_emulators_in(environment.program_places());
    let settings = Settings::new(
        environment,
        Terminals::of_process(),
        cairn.globals.home.as_deref(),
        cairn.globals.color,
    );
    let printer = Printer::new(&settings);
    let mut session = Session { settings, printer };
    match cairn.run(&mut session) {
        Ok(()) => exit::DONE,
        Err(error) => {
            // Whatever failed then failed because of it.
            let error = match interrupt::received() {
                Some(_) => CommandError::interrupted(),
                None => error,
            };
            session.printer.error(&error);
            error.kind.exit_code()
        }
    }
}

/// Whether a command line that could not be read is one of `cairn run`, whose code 2 is the
/// command's in the container.
fn asks_to_run(mut arguments: impl Iterator<Item = OsString>) -> bool {
    while let Some(argument) = arguments.next() {
        if argument == "--home" || argument == "--color" {
            arguments.next();
        } else if !argument.as_encoded_bytes().starts_with(b"-") {
            return argument == "run";
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_recognised_behind_global_flags() {
        let asks = |line: &str| asks_to_run(line.split_whitespace().map(OsString::from));
        assert!(asks("run --no-such-flag image"));
        assert!(asks("--home run --color=never run"));
        assert!(!asks("build --target run"));
        assert!(!asks("--home run build"));
        assert!(!asks("--no-such-flag"));
    }
}
