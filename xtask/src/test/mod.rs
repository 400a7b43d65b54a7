//! `cargo xtask test`: everything a change must pass, in the order in which it fails fastest.
//!
//! Developers and CI run the same command. A step that cannot run on a machine says so and is
//! skipped; with `CAIRN_CI=1` a skip is a failure, so that CI cannot lose a step by accident.

mod conformance;
mod users;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::command;
use crate::error::ChoreError;
use crate::{oracle, tidy, workspace};

/// How a step ended when it did not fail.
pub(crate) enum Outcome {
    /// It ran.
    Passed,
    /// It could not run here; the reason.
    Skipped(String),
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Path) -> Result<Outcome, ChoreError>,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        what: "rustfmt agrees",
        run: format,
    },
    Step {
        name: "tidy",
        what: "the tree's invariants hold",
        run: tidy,
    },
    Step {
        name: "deny",
        what: "licences, banned crates and sources (cargo-deny)",
        run: deny,
    },
    Step {
        name: "lint",
        what: "clippy has nothing to say",
        run: lint,
    },
    Step {
        name: "unit",
        what: "every test of every crate, as whoever runs this",
        run: unit,
    },
    Step {
        name: "doc",
        what: "the examples in the documentation",
        run: doc,
    },
    Step {
        name: "users",
        what: "the tests that touch the kernel, as ordinary users (CAIRN_TEST_USERS)",
        run: users::run,
    },
    Step {
        name: "oracle",
        what: "some plans of made-up stacks, held against builds from nothing",
        run: oracle,
    },
    Step {
        name: "conformance",
        what: "BuildKit's recorded builds, where their data is",
        run: conformance::run,
    },
];

/// `cargo xtask test [STEP...]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    if arguments
        .iter()
        .any(|word| word == "--help" || word == "-h")
    {
        println!("{}", usage());
        return Ok(());
    }
    let root = workspace::root();
    for step in chosen(arguments)? {
        run(step, &root)?;
    }
    Ok(())
}

/// Whether a skip counts as a failure.
fn is_ci() -> bool {
    std::env::var_os("CAIRN_CI").is_some_and(|value| value == "1")
}

fn usage() -> String {
    let mut text = "usage: cargo xtask test [STEP...]\n\nsteps, all of them by default:".to_owned();
    for step in STEPS {
        text.push_str(&format!("\n  {:<12} {}", step.name, step.what));
    }
    text
}

fn chosen(arguments: &[String]) -> Result<Vec<&'static Step>, ChoreError> {
    if arguments.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    arguments
        .iter()
        .map(|name| {
            STEPS.iter().find(|step| step.name == name).ok_or_else(|| {
                ChoreError::Usage(format!("there is no step `{name}`\n\n{}", usage()))
            })
        })
        .collect()
}

fn run(step: &Step, root: &Path) -> Result<(), ChoreError> {
    println!("==> {}: {}", step.name, step.what);
    let begun = Instant::now();
    match (step.run)(root)? {
        Outcome::Passed => println!("    {}: {:.1} s", step.name, begun.elapsed().as_secs_f64()),
        Outcome::Skipped(why) if is_ci() => {
            return Err(ChoreError::Unmet(format!(
                "{} was skipped, and CI skips nothing: {why}",
                step.name
            )));
        }
        Outcome::Skipped(why) => println!("    {}: skipped: {why}", step.name),
    }
    Ok(())
}

/// A cargo command in the checkout.
fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(arguments);
    cargo
}

/// A short campaign; `cargo xtask oracle` is the long one.
fn oracle(_: &Path) -> Result<Outcome, ChoreError> {
    const MUTATIONS: &str = "8";
    oracle::main(&["--mutations".to_owned(), MUTATIONS.to_owned()])?;
    Ok(Outcome::Passed)
}

fn format(root: &Path) -> Result<Outcome, ChoreError> {
    command::run(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed)
}

fn tidy(root: &Path) -> Result<Outcome, ChoreError> {
    tidy::run(root)?;
    Ok(Outcome::Passed)
}

fn deny(root: &Path) -> Result<Outcome, ChoreError> {
    if command::find("cargo-deny").is_none() {
        let hint = "cargo-deny is not installed; `cargo install --locked cargo-deny`";
        return Ok(Outcome::Skipped(hint.to_owned()));
    }
    let check = [
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ];
    command::run(&mut cargo(root, &check))?;
    Ok(Outcome::Passed)
}

fn lint(root: &Path) -> Result<Outcome, ChoreError> {
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--locked",
    ];
    command::run(cargo(root, &clippy).args(["--", "-D", "warnings"]))?;
    Ok(Outcome::Passed)
}

fn unit(root: &Path) -> Result<Outcome, ChoreError> {
    let runner: &[&str] = match command::find("cargo-nextest") {
        Some(_) => &["nextest", "run", "--no-fail-fast"],
        None => &["test", "--lib", "--bins", "--tests", "--no-fail-fast"],
    };
    command::run(cargo(root, runner).args(["--workspace", "--locked"]))?;
    Ok(Outcome::Passed)
}

fn doc(root: &Path) -> Result<Outcome, ChoreError> {
    let doctests = ["test", "--quiet", "--doc", "--workspace", "--locked"];
    command::run(&mut cargo(root, &doctests))?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name() {
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[]).expect("all").len(), STEPS.len());
        assert_eq!(
            chosen(&["tidy", "format"]).expect("two"),
            ["tidy", "format"]
        );
        assert!(chosen(&["speed"]).is_err());
    }

    #[test]
    fn a_failing_step_is_an_error_and_a_skip_is_not() {
        let step = |run| Step {
            name: "a",
            what: "b",
            run,
        };
        let failing = step(|_| Err(ChoreError::Unmet("no".to_owned())));
        assert!(run(&failing, Path::new("/")).is_err());
        if !is_ci() {
            let skipped = step(|_| Ok(Outcome::Skipped("c".to_owned())));
            assert!(run(&skipped, Path::new("/")).is_ok());
        }
    }
}
