//! Each campaign once, in small: it must hold, and it must be able to find out that it does not.

use std::path::PathBuf;

use super::options::{self, Kind, Options, Parsed};
use super::random::Random;
use super::stack::{REGISTRIES, Site};
use super::{registry, run};
use crate::command;

/// The program that the tests of the workspace have built, if they have.
fn cairn() -> Option<PathBuf> {
    let here = std::env::current_exe().expect("this test's path");
    let cairn = here.parent()?.parent()?.join("cairn");
    let is_there = cairn.is_file() && command::find(registry::PROGRAM).is_some();
    if !is_there {
        println!("skipped: no built cairn, or no docker-registry");
        let is_ci = std::env::var_os("CAIRN_CI").is_some();
        assert!(!is_ci, "CI has both");
    }
    is_there.then_some(cairn)
}

fn options(kind: Kind, rounds: u64) -> Option<Options> {
    Some(Options {
        kind,
        rounds,
        seed: 7,
        cairn: Some(cairn()?),
        images: 2,
        word: 1 << 10,
        is_verbose: true,
    })
}

#[test]
fn a_few_faults() {
    if let Some(options) = options(Kind::Faults, 1) {
        run(&options).unwrap();
    }
}

#[test]
fn a_few_kills() {
    if let Some(options) = options(Kind::Kills, 1) {
        run(&options).unwrap();
    }
}

#[test]
fn a_promotion_and_a_rollback() {
    if let Some(options) = options(Kind::Promote, 1) {
        run(&options).unwrap();
    }
}

#[test]
fn a_tag_that_leads_nowhere_is_found() {
    let Some(options) = options(Kind::Promote, 1) else {
        return;
    };
    let site = Site::new(&options, &mut Random::new(1)).unwrap();
    assert_eq!(site.meaning("main"), vec![None; 2 * REGISTRIES]);
    site.succeed(&["publish", "--tag", "main"]).unwrap();
    assert_eq!(site.broken_tags(), [""; 0]);
    site.lose_a_blob();
    assert_eq!(site.broken_tags().len(), 1, "{:?}", site.broken_tags());
}

#[test]
fn options_are_read() {
    let parsed = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        options::parse(&words)
    };
    let Ok(Parsed::Run(options)) = parsed(&["publish-kills", "--rounds", "3", "--seed", "9"])
    else {
        panic!("options");
    };
    assert_eq!(
        (options.kind, options.rounds, options.seed),
        (Kind::Kills, 3, 9)
    );
    for words in [
        &["publish"][..],
        &["promote", "--rounds"],
        &["promote", "--fast"],
    ] {
        let error = parsed(words).expect_err("no such thing");
        assert!(error.to_string().contains("usage: cargo xtask campaign"));
    }
}
