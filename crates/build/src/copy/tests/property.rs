//! Whatever the patterns, a copy holds exactly what a plain walk that asks about each path would
//! take.

use std::collections::BTreeSet;

use cairn_dockerfile::ignore::Patterns;
use proptest::prelude::*;

use super::*;

/// Names are few, so that patterns and trees meet.
pub(super) fn tree() -> impl Strategy<Value = BTreeSet<String>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c.x"), Just("d.x")];
    let path = prop::collection::vec(name, 1..5).prop_map(|parts| parts.join("/"));
    prop::collection::btree_set(path, 1..12).prop_map(without_files_above_files)
}

/// A path that others lie below is a directory: its file goes.
fn without_files_above_files(paths: BTreeSet<String>) -> BTreeSet<String> {
    let is_dir = |path: &String| {
        paths
            .iter()
            .any(|other| other.starts_with(&format!("{path}/")))
    };
    paths.iter().filter(|path| !is_dir(path)).cloned().collect()
}

pub(super) fn patterns() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![
        4 => prop_oneof![Just("a"), Just("b"), Just("c.x"), Just("d.x")],
        2 => Just("*"),
        2 => Just("*.x"),
        1 => Just("**"),
        1 => Just("[ab]"),
    ];
    let body = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let pattern = (prop::bool::weighted(0.3), body)
        .prop_map(|(exception, body)| if exception { format!("!{body}") } else { body });
    prop::collection::vec(pattern, 0..5)
}

/// Every path that patterns leave, with the directories that lead to files, and those that are
/// not matched themselves.
fn expected(files: &BTreeSet<String>, patterns: &Patterns) -> BTreeSet<String> {
    let mut expected = BTreeSet::new();
    for file in files {
        let above = file.match_indices('/').map(|(at, _)| &file[..at]);
        let is_left = !patterns.matches(file);
        for dir in above {
            if is_left || !patterns.matches(dir) {
                let whole = dir
                    .match_indices('/')
                    .map(|(at, _)| &dir[..at])
                    .chain([dir]);
                expected.extend(whole.map(|dir| format!("{dir}/")));
            }
        }
        if is_left {
            expected.insert(format!("{file}={file}"));
        }
    }
    expected
}

fn bench(files: &BTreeSet<String>) -> Bench {
    let bench = Bench::new();
    for file in files {
        bench.write(&[&format!("{file}={file}")]);
    }
    bench
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exclude_equals_a_plain_walk(files in tree(), patterns in patterns()) {
        let bench = bench(&files);
        let exclude: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let copy = Copy { exclude: &exclude, ..Copy::new(&["."], "/") };
        let active = bench.run(&bench.context(), &[], &copy).expect("a copy");
        let copied: BTreeSet<String> = bench.change(active).into_iter().collect();
        let parsed = Patterns::from_flags(&patterns).expect("patterns");
        prop_assert_eq!(copied, expected(&files, &parsed));
    }

    #[test]
    fn an_ignore_file_equals_the_same_exclusions(files in tree(), patterns in patterns()) {
        let bench = bench(&files);
        let dir = bench.context.parent().expect("a parent").to_owned();
        fs::write(dir.join("D.dockerignore"), patterns.join("\n")).expect("a file");
        let context = Context::directory(&bench.context, &dir.join("D")).expect("a context");
        let active = bench.run(&context, &[], &Copy::new(&["."], "/")).expect("a copy");
        let copied: BTreeSet<String> = bench.change(active).into_iter().collect();
        let parsed = Patterns::from_flags(&patterns).expect("patterns");
        prop_assert_eq!(copied, expected(&files, &parsed));
    }

    #[test]
    fn parents_equals_what_the_pattern_matches(files in tree(), body in patterns()) {
        let Some(pattern) = body.first().map(|body| body.trim_start_matches('!')) else {
            return Ok(());
        };
        let bench = bench(&files);
        let wildcard = format!("{pattern}*");
        let paths = [wildcard.as_str()];
        let copy = Copy { parents: true, ..Copy::new(&paths, "/") };
        let active = bench.run(&bench.context(), &[], &copy).expect("a copy");
        let copied: BTreeSet<String> = bench.change(active).into_iter().collect();
        let hidden = ["**".to_owned(), format!("!{wildcard}")];
        let parsed = Patterns::from_flags(&hidden).expect("patterns");
        prop_assert_eq!(copied, expected(&files, &parsed));
    }
}
