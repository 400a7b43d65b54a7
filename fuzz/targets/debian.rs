//! What comes from Debian's archives as text: paragraphs, relations, versions, Release files, dates.
//!
//! - nothing panics;
//! - versions are ordered: no pair is smaller both ways, and three of them form no ring;
//! - a relation that is printed reads as the same one;
//! - a time that is printed reads as the same one.
#![no_main]

use std::cmp::Ordering;

use cairn_debian::release::Release;
use cairn_debian::version::Version;
use cairn_debian::{date, deb822, relation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([first, second, third]) = cairn_fuzz::texts::<3>(data) else {
        return;
    };
    check_order(Version(first), Version(second), Version(third));
    check_relations(first);
    for paragraph in deb822::paragraphs(first) {
        for (name, value) in paragraph.fields() {
            assert!(
                first.contains(name) && first.contains(value),
                "{name:?}: {value:?}"
            );
        }
    }
    if let Ok(release) = Release::parse(first) {
        let _ = release.check(second, release.date, true);
        let _ = release.file(third);
    }
    for seconds in [date::parse(first), date::parse_iso(first)]
        .into_iter()
        .flatten()
    {
        assert_eq!(
            date::parse_iso(&date::iso(seconds)),
            Some(seconds),
            "{first:?}"
        );
    }
});

fn check_order(a: Version<'_>, b: Version<'_>, c: Version<'_>) {
    assert_eq!(a.cmp(&a), Ordering::Equal, "{a}");
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse(), "{a} and {b}");
    let mut three = [a, b, c];
    three.sort();
    let [low, middle, high] = three;
    assert!(
        low <= middle && middle <= high && low <= high,
        "{low}, {middle}, {high}"
    );
}

fn check_relations(text: &str) {
    let Ok(clauses) = relation::parse(text, "amd64") else {
        return;
    };
    for relation in clauses.iter().flatten() {
        let printed = relation.to_string();
        let again = relation::parse(&printed, "amd64")
            .unwrap_or_else(|error| panic!("printed as {printed:?}: {error}"));
        assert_eq!(
            again,
            vec![vec![relation.clone()]],
            "printed as {printed:?}"
        );
    }
}
