//! musl under numbers (BOR-02).

use std::collections::BTreeSet;

use crate::lint::facts::{Facts, RunStep};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::lint::{installs, reference};

/// No Alpine under Python packages and numerical libraries.
pub(in crate::lint) static MUSL_UNDER_NUMBERS: Rule = Rule {
    name: "MuslUnderNumbers",
    aliases: &[],
    group: Group::Science,
    level: Level::Warning,
    is_experimental: false,
    summary: "Numerical software should not stand on Alpine's musl",
    why: "Alpine's C library, musl, computes some functions with other last digits than glibc and \
          has a slower allocator and a smaller stack, so results differ from those of every other \
          system. Most packages on PyPI bring no binaries for it: they are compiled during the \
          build, for minutes or hours, with options of their own. Debian's slim images are small \
          as well.",
    bad: "FROM python:3.13-alpine\nRUN pip install --no-cache-dir numpy\n",
    good: "FROM python:3.13-slim\nRUN pip install --no-cache-dir numpy\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    let mut told = BTreeSet::new();
    for stage in facts.reached() {
        let Some(image) = facts.root(stage).filter(|image| is_musl(image)) else {
            continue;
        };
        let numbers = facts.runs_of(stage).find_map(|run| numbers(&run));
        let what = match (numbers, is_python(image)) {
            (Some(what), _) => what,
            (None, true) => "Python".to_owned(),
            (None, false) => continue,
        };
        // One finding at the `FROM` that brings musl in, whichever stages stand on it.
        let bottom = facts.bottom(stage);
        if told.insert(bottom.stage.index) {
            let detail = format!("{what} on {image}, whose C library is musl");
            found.at(bottom.stage.from.kind.image.span, detail);
        }
    }
}

fn is_musl(image: &str) -> bool {
    let (name, tag, _) = reference::parts(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = tag.unwrap_or_default();
    let has = |text: &str, word: &str| text.split(['-', '_', '.']).any(|part| part == word);
    last == "alpine"
        || has(last, "alpine")
        || tag.split(['-', '_']).any(|part| part.starts_with("alpine"))
        || has(tag, "musl")
}

/// Images that exist to run Python or another language of computing.
fn is_python(image: &str) -> bool {
    let (name, ..) = reference::parts(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    matches!(
        last,
        "python" | "pypy" | "r-base" | "r-ver" | "julia" | "octave"
    )
}

/// Packages of Alpine that compute.
const NUMERICAL: [&str; 16] = [
    "gfortran",
    "openblas",
    "openblas-dev",
    "lapack",
    "lapack-dev",
    "fftw",
    "fftw-dev",
    "gsl",
    "gsl-dev",
    "hdf5",
    "hdf5-dev",
    "octave",
    "R",
    "julia",
    "suitesparse",
    "eigen-dev",
];

/// What a `RUN` installs that computes, in words.
fn numbers(run: &RunStep<'_, '_>) -> Option<String> {
    for command in run.work.commands() {
        let invocation = &command.invocation;
        if installs::pip_install(invocation).is_some() {
            return Some("Python packages".to_owned());
        }
        if invocation.program == "apk" && invocation.subcommand() == Some("add") {
            let package = invocation.operands().skip(1).find(|word| {
                let name = word.text.split(['=', '~', '<', '>', '@']).next();
                let name = name.unwrap_or_default();
                NUMERICAL.contains(&name)
                    || ["py3-numpy", "py3-scipy", "py3-pandas", "py3-scikit"]
                        .iter()
                        .any(|start| name.starts_with(start))
            });
            if let Some(word) = package {
                return Some(word.text.clone());
            }
        }
    }
    None
}
