//! Runs every case in every mode that this host and user allow: as root, with a range of ids, with
//! a single id.
//!
//! The harness is our own because a sandbox executes this program again in a role, and because a
//! process can enter only one of the modes. It takes a filter, `--list` and `--exact`, as the
//! usual one does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test runner")]

mod certificates;
mod confinement;
mod emulation;
mod filesystem;
mod fixture;
mod mode;
mod ownership;
mod running;
mod stopping;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use fixture::Fixture;
use mode::Mode;

/// A case and where it makes sense.
pub(crate) struct Case {
    name: &'static str,
    modes: &'static [Mode],
    run: fn(&Fixture),
}

/// Names the functions of a module as cases for the modes given.
macro_rules! cases {
    ($modes:expr; $($name:ident),+ $(,)?) => {
        vec![$(crate::Case { name: stringify!($name), modes: $modes, run: $name }),+]
    };
}
pub(crate) use cases;

fn all_cases() -> Vec<Case> {
    [
        running::cases(),
        stopping::cases(),
        filesystem::cases(),
        confinement::cases(),
        emulation::cases(),
        ownership::cases(),
        certificates::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    cairn_sandbox::dispatch();
    if emulation::is_asked() {
        return emulation::emulate();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..] {
        match first.as_str() {
            fixture::HOLD => return fixture::hold(rest),
            fixture::TOOL => return fixture::tool(rest),
            mode::INSIDE => return run_inside(rest),
            _ => {}
        }
    }
    let filter = Filter::of(&arguments);
    if filter.lists {
        return list(&filter);
    }
    let mut code = ExitCode::SUCCESS;
    for mode in Mode::ALL {
        let names: Vec<&str> = all_cases()
            .iter()
            .filter(|case| case.modes.contains(&mode) && filter.takes(mode, case.name))
            .map(|case| case.name)
            .collect();
        if !names.is_empty() && !mode.run(&names) {
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// In the process that belongs to one mode: enters it and runs the cases named.
fn run_inside(arguments: &[String]) -> ExitCode {
    let fixture = match Fixture::enter(arguments) {
        Ok(fixture) => fixture,
        Err(reason) => return mode::skip(&reason),
    };
    let names = &arguments[fixture::ARGUMENTS..];
    let mut failed = 0;
    for case in all_cases()
        .iter()
        .filter(|case| names.iter().any(|name| name == case.name))
    {
        let start = std::time::Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| (case.run)(&fixture))).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        let took = start.elapsed().as_secs_f32();
        println!(
            "test {}::{} ... {word} ({took:.2} s)",
            fixture.mode, case.name
        );
        failed += u32::from(!passed);
    }
    println!(
        "\n{}: {} passed; {failed} failed\n",
        fixture.mode,
        names.len() - failed as usize
    );
    ExitCode::from(u8::from(failed > 0))
}

struct Filter {
    words: Vec<String>,
    is_exact: bool,
    lists: bool,
    only_ignored: bool,
}

impl Filter {
    fn of(arguments: &[String]) -> Filter {
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let words = arguments
            .iter()
            .filter(|argument| !argument.starts_with('-'));
        Filter {
            words: words.filter(|word| *word != "terse").cloned().collect(),
            is_exact: has("--exact"),
            lists: has("--list"),
            only_ignored: has("--ignored"),
        }
    }

    fn takes(&self, mode: Mode, name: &str) -> bool {
        let name = format!("{mode}::{name}");
        self.words.is_empty()
            || self.words.iter().any(|word| {
                if self.is_exact {
                    *word == name
                } else {
                    name.contains(word.as_str())
                }
            })
    }
}

fn list(filter: &Filter) -> ExitCode {
    if !filter.only_ignored {
        for mode in Mode::ALL {
            for case in all_cases().iter().filter(|case| case.modes.contains(&mode)) {
                println!("{mode}::{}: test", case.name);
            }
        }
    }
    ExitCode::SUCCESS
}
