//! The resolver against apt: the same packages for the same requests.
//!
//! `tests/solve/expected.txt` holds what apt 2.6 chose (`apt-get install --simulate`, without
//! recommendations, beside an installed essential set, as `mmdebstrap --variant=minbase` asks it)
//! on the bookworm archive of 2026-11-21; the indexes are that archive's stanzas that the choices
//! touch, after a stanza that mentions their names in the order of the whole archive (apt's last
//! criterion between providers). A line of the former reads `request: added packages`, automatic ones with `*`, removed ones with `-`.

use std::collections::BTreeSet;
use std::io::Read;

use cairn_debian::solve::{SolveError, Variant, solve};
use cairn_debian::universe::Universe;

fn index(packed: &[u8]) -> String {
    let mut text = String::new();
    lzma_rust2::XzReader::new(packed, true)
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn indexes() -> [String; 3] {
    [
        index(include_bytes!("../solve/main.Packages.xz")),
        index(include_bytes!("../solve/updates.Packages.xz")),
        index(include_bytes!("../solve/security.Packages.xz")),
    ]
}

/// The names chosen, automatic ones with a star.
fn names(universe: &Universe<'_>, variant: Variant, requests: &[String]) -> BTreeSet<String> {
    let chosen = solve(universe, variant, requests).unwrap();
    let name = |c: &cairn_debian::solve::Chosen| {
        let star = if c.automatic { "*" } else { "" };
        format!("{}{star}", universe.package(c.package).name)
    };
    chosen.iter().map(name).collect()
}

#[test]
fn apt_chooses_the_same() {
    let texts = indexes();
    let universe = Universe::new(&texts.each_ref().map(String::as_str), 1, "amd64");
    let essential = names(&universe, Variant::Essential, &[]);
    assert_eq!(essential.len(), 69);
    let mut cases = 0;
    for line in include_str!("../solve/expected.txt").lines() {
        let (request, expected) = line.split_once(':').unwrap();
        let requests: Vec<String> = request.split_whitespace().map(str::to_owned).collect();
        let chosen = names(&universe, Variant::Minbase, &requests);
        let added = chosen.difference(&essential).cloned();
        let removed = essential
            .iter()
            .filter(|name| !chosen.contains(*name) && !chosen.contains(&format!("{name}*")))
            .map(|name| format!("-{name}"));
        let found: BTreeSet<String> = added.chain(removed).collect();
        let expected: BTreeSet<String> = expected.split_whitespace().map(str::to_owned).collect();
        assert_eq!(found, expected, "for {request:?}");
        cases += 1;
    }
    assert!(cases >= 50, "{cases} cases");
}

#[test]
fn versions_come_from_the_suite_that_has_the_highest() {
    let texts = indexes();
    let universe = Universe::new(&texts.each_ref().map(String::as_str), 1, "amd64");
    let chosen = solve(&universe, Variant::Minbase, &["openssh-client".to_owned()]).unwrap();
    let from_security = chosen
        .iter()
        .filter(|c| universe.package(c.package).index == 2)
        .count();
    assert!(from_security > 0);
}

fn refused(packages: &str, request: &str) -> SolveError {
    let universe = Universe::new(&[packages], 1, "amd64");
    let requests: Vec<String> = request.split_whitespace().map(str::to_owned).collect();
    solve(&universe, Variant::Essential, &requests).unwrap_err()
}

/// Writes stanzas from `name version: field value; field value` lines.
fn stanzas(lines: &[&str]) -> String {
    let stanza = |line: &&str| {
        let (head, fields) = line.split_once(':').unwrap();
        let (name, version) = head.split_once(' ').unwrap();
        let fields = fields.split(';').filter(|f| !f.trim().is_empty());
        let fields: String = fields
            .map(|field| field.trim().split_once(' ').unwrap())
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        format!("Package: {name}\nVersion: {version}\nArchitecture: all\n{fields}\n")
    };
    lines.iter().map(stanza).collect()
}

fn chosen(lines: &[&str], request: &str) -> String {
    let text = stanzas(lines);
    let universe = Universe::new(&[&text], 1, "amd64");
    let requests: Vec<String> = request.split_whitespace().map(str::to_owned).collect();
    let found = names(&universe, Variant::Essential, &requests);
    found.into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    let lines = ["a 1: Depends gone | b (>= 2) | c", "b 1:", "c 1:"];
    assert_eq!(chosen(&lines, "a"), "a c*");
}

#[test]
fn a_request_answers_an_alternative_wherever_it_stands() {
    let lines = ["a 1: Depends b | c", "b 1:", "c 1:"];
    assert_eq!(chosen(&lines, "a c"), "a c");
}

#[test]
fn an_alternative_whose_needs_cannot_be_met_is_passed_over() {
    let lines = [
        "a 1: Depends b | c",
        "b 1: Depends d",
        "d 1: Depends missing",
        "c 1:",
    ];
    assert_eq!(chosen(&lines, "a"), "a c*");
}

#[test]
fn what_a_request_excludes_is_not_taken_as_an_alternative() {
    let lines = ["a 1: Depends b | c", "x 1: Conflicts b", "b 1:", "c 1:"];
    assert_eq!(chosen(&lines, "x a"), "a c* x");
    assert_eq!(chosen(&lines, "a x"), "a c* x");
}

#[test]
fn a_corner_into_which_greed_leads_is_left_again() {
    let lines = [
        "a 1: Depends l1 | l2, r",
        "l1 1: Depends m1",
        "m1 1:",
        "l2 1:",
        "r 1: Depends s",
        "s 1: Conflicts m1",
    ];
    assert_eq!(chosen(&lines, "a"), "a l2* r* s*");
}

#[test]
fn an_installed_package_gives_way_to_a_request() {
    let lines = [
        "base 1: Essential yes; Depends one | two",
        "one 1: Conflicts two",
        "two 1: Conflicts one",
    ];
    assert_eq!(chosen(&lines, "two"), "base two");
}

#[test]
fn what_cannot_be_is_explained() {
    let text = stanzas(&[
        "a 1: Depends b (>= 2)",
        "b 1:",
        "x 1: Conflicts y",
        "y 1:",
        "p 1: Provides v",
        "q 1: Provides v",
    ]);
    let cases = [
        (
            "a",
            "the packages cannot be installed together: a needs b (>= 2), which no suite offers",
        ),
        (
            "x y",
            "the packages cannot be installed together: y is excluded by another package",
        ),
        ("v", "v is a virtual package; ask for one of p, q"),
        ("b=2", "b is offered in version 1, not 2"),
        ("nonesuch", "there is no package nonesuch"),
    ];
    for (request, message) in cases {
        assert_eq!(refused(&text, request).to_string(), message);
    }
    let text = stanzas(&["python3 1:"]);
    assert_eq!(
        refused(&text, "pyhton3").to_string(),
        "there is no package pyhton3; is it python3"
    );
}
