//! `cargo xtask oracle`: whether `cairn plan` is right, against builds from nothing.
//!
//! Stacks and changes of them come from a seed: made-up stacks, some of them for two platforms, and
//! the layouts of the five teams as import takes them in. After each change the plan is asked first;
//! then every image is built again without any cache, in another store. A plan is right where
//!
//! - it says `reuse` for an image whose content a build from nothing leaves as it was, and `build`
//!   or `retag` for one that is another then;
//! - the build that follows runs steps exactly where it says `build`, and gives the content of the
//!   build from nothing;
//! - the cause that it names is what was changed: the file, the argument, the instruction, the
//!   label - or, for what builds on it, the image where it was changed;
//! - where it says `maybe`, all that holds for what `--settle` makes of it.
//!
//! Some stacks have matrices that leave combinations out, an environment that is laid over, images
//! that are built in every run. Some are committed as well: then a machine that has built nothing
//! plans each commit, whose message may ask for everything or for nothing, and may skip only what is
//! as it was. Others are published: then what a plan says of the published images - the same, or
//! not, and why - is held against what was published, before and after the build.
//!
//! A step that has to run may make what it made before. Nobody can know that without running it:
//! `build` is right then, and such cases are counted.

mod commits;
mod layouts;
mod mutation;
mod stack;
mod sum;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Random;
use crate::error::ChoreError;
use crate::{command, workspace};
use stack::Stack;
use sum::Sum;
use trial::{Beside, Subject, Trial};

const USAGE: &str = "\
usage: cargo xtask oracle [OPTION...]

  --mutations N   changes to try (default: 200)
  --seed N        what stacks and changes are made from (default: 1)
  --dir DIR       where stacks and stores live (default: /var/tmp)
  --cairn FILE    the program to ask (default: the debug build)";

/// After so many changes another stack is made.
const MUTATIONS_PER_STACK: usize = 20;

struct Options {
    mutations: usize,
    seed: u64,
    dir: PathBuf,
    cairn: Option<PathBuf>,
}

/// `cargo xtask oracle`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    if arguments
        .iter()
        .any(|word| word == "--help" || word == "-h")
    {
        println!("{USAGE}");
        return Ok(());
    }
    let options = parse(arguments)?;
    let program = match &options.cairn {
        Some(program) => fs::canonicalize(program).map_err(ChoreError::file(program))?,
        None => debug_build()?,
    };
    let sum = run(&program, &options.dir, options.mutations, options.seed)?;
    println!("{}", sum.in_words());
    match sum.is_right() {
        true => Ok(()),
        false => Err(ChoreError::Unmet(
            "the plan was not always right".to_owned(),
        )),
    }
}

fn parse(arguments: &[String]) -> Result<Options, ChoreError> {
    let wrong = |text: &str| ChoreError::Usage(format!("{text}\n\n{USAGE}"));
    let mut options = Options {
        mutations: 200,
        seed: 1,
        dir: PathBuf::from("/var/tmp"),
        cairn: None,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next();
        let value = value.ok_or_else(|| wrong(&format!("{word} needs a value")))?;
        let number = || {
            value
                .parse::<u32>()
                .map_err(|_| wrong(&format!("{value}: not a number")))
        };
        match word.as_str() {
            "--mutations" => options.mutations = number()? as usize,
            "--seed" => options.seed = u64::from(number()?),
            "--dir" => options.dir = PathBuf::from(value),
            "--cairn" => options.cairn = Some(PathBuf::from(value)),
            other => return Err(wrong(&format!("there is no option `{other}`"))),
        }
    }
    Ok(options)
}

fn debug_build() -> Result<PathBuf, ChoreError> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root()).args([
        "build",
        "--locked",
        "--package",
        "cairn-cli",
        "--message-format=json-render-diagnostics",
    ]);
    command::built_program(&mut cargo)
}

/// Tries so many changes.
fn run(program: &Path, dir: &Path, mutations: usize, seed: u64) -> Result<Sum, ChoreError> {
    let mut sum = Sum::default();
    let mut random = Random::new(seed);
    let mut layouts = layouts::all().into_iter();
    while sum.changes < mutations {
        let place = tempfile::Builder::new()
            .prefix("cairn-oracle-")
            .tempdir_in(dir)
            .map_err(ChoreError::file(dir))?;
        // A layout after each made-up stack, while there are any.
        let is_turn = sum.changes % (2 * MUTATIONS_PER_STACK) == MUTATIONS_PER_STACK;
        let layout = is_turn.then(|| layouts.next()).flatten();
        let subject = match layout {
            Some(layout) => Subject::Layout(layout),
            None => Subject::MadeUp(Stack::new(&mut random)),
        };
        let kind = Beside::of(sum.changes / MUTATIONS_PER_STACK);
        let mut trial = Trial::new(program, place.path(), subject, kind)?;
        for _ in 0..MUTATIONS_PER_STACK.min(mutations - sum.changes) {
            trial.change(&mut random, &mut sum)?;
        }
    }
    Ok(sum)
}
