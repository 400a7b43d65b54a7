//! The public parser, word and checker tables, where they lie beside the project.
//!
//! They are BuildKit's own and are not part of this tree; `CAIRN_CONFORMANCE` names another place
//! for them. Without them the tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cairn_diagnostic::Source;
use cairn_dockerfile::expand::Expander;
use cairn_dockerfile::ignore::Patterns;
use cairn_dockerfile::lint::{self, Input, Level, Reach};
use cairn_dockerfile::predefined::PlatformParts;
use cairn_dockerfile::tree;

/// A folder of the tables; `None`, with a line that says so, when it is not there.
fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CAIRN_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    say(&format!(
        "skipped: no conformance data at {}",
        folder.display()
    ));
    None
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} is empty", folder.display());
    cases
}

fn source(case: &Path) -> Source {
    let text = fs::read_to_string(case.join("Dockerfile")).unwrap();
    Source::new(case.display().to_string(), text)
}

#[test]
fn parse_trees_are_equal() {
    let Some(folder) = folder("parser/testfiles") else {
        return;
    };
    for case in cases(&folder) {
        let expected = fs::read_to_string(case.join("result")).unwrap();
        let tree = tree::read(&source(&case)).unwrap();
        assert_eq!(
            tree.to_string().trim(),
            expected.trim(),
            "{}",
            case.display()
        );
    }
}

#[test]
fn bad_files_are_refused() {
    let Some(folder) = folder("parser/testfiles-negative") else {
        return;
    };
    for case in cases(&folder) {
        assert!(tree::read(&source(&case)).is_err(), "{}", case.display());
    }
}

/// The lines on which the instructions of this file start and end, as BuildKit counts them.
#[test]
fn lines_are_counted() {
    let Some(folder) = folder("parser/testfile-line") else {
        return;
    };
    let source = source(&folder);
    let tree = tree::read(&source).unwrap();
    let lines: Vec<_> = tree
        .nodes
        .iter()
        .map(|node| {
            let last = source.position(node.span.end - 1).line;
            (source.position(node.span.start).line, last)
        })
        .collect();
    assert_eq!(lines, [(5, 5), (11, 12), (17, 31)]);
}

const ENV: [(&str, &str); 5] = [
    ("PWD", "/home"),
    ("SHELL", "bash"),
    ("KOREAN", "한국어"),
    ("NULL", ""),
    ("_", ""),
];

#[test]
fn words_expand() {
    let Some(folder) = folder("words") else {
        return;
    };
    let table = fs::read_to_string(folder.join("envVarTest")).unwrap();
    let mut count = 0;
    for line in table.lines() {
        let Some((platform, rest)) = line.split_once('|') else {
            continue;
        };
        if line.starts_with('#') || platform.trim() == "W" {
            continue;
        }
        let (word, expected) = rest.split_once('|').unwrap();
        let (word, expected) = (word.trim(), expected.trim());
        let result = Expander::new('\\').word(word, &ENV.as_slice());
        match result {
            Ok(expanded) => assert_eq!(expanded.text, expected, "{line}"),
            Err(_) => assert_eq!(expected, "error", "{line}"),
        }
        count += 1;
    }
    assert!(count > 200, "only {count} cases");
}

#[test]
fn words_split() {
    let Some(folder) = folder("words") else {
        return;
    };
    let table = fs::read_to_string(folder.join("wordsTest")).unwrap();
    let mut env: Vec<(String, String)> = Vec::new();
    let mut count = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(pair) = line.strip_prefix("ENV ") {
            let (name, value) = pair.split_once('=').unwrap();
            env.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let Some((words, expected)) = line.split_once('|') else {
            continue;
        };
        let expected = expected.strip_prefix(' ').unwrap_or(expected);
        match Expander::new('\\').words(words.trim(), &env) {
            Ok(words) => assert_eq!(words.join(","), expected, "{line}"),
            Err(_) => assert_eq!(expected, "error", "{line}"),
        }
        count += 1;
    }
    assert!(count > 15, "only {count} cases");
}

/// BuildKit's checker on 44 Dockerfiles: the same rules, lines and wording.
#[test]
fn the_checker_says_what_buildkits_says() {
    let Some(folder) = folder("lint") else {
        return;
    };
    for case in cases(&folder) {
        let text = fs::read_to_string(&case).unwrap();
        let case: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said(&case), expected(&case), "{}", case["dockerfile"]);
    }
}

type Said = Vec<(u64, String, String)>;

/// The warnings of a case: those for all stages where the case tells them apart.
fn expected(case: &serde_json::Value) -> Said {
    let all_stages = &case["unmarshalWarnings"];
    let warnings = match all_stages.is_null() {
        true => &case["warnings"],
        false => all_stages,
    };
    let mut said: Said = warnings
        .as_array()
        .into_iter()
        .flatten()
        .map(|warning| {
            let text = |key: &str| warning[key].as_str().unwrap().to_owned();
            let rule = lint::rule(&text("RuleName")).unwrap();
            assert_eq!(rule.url(), Some(text("URL")));
            assert_eq!(rule.summary, text("Description"));
            let line = warning["Line"].as_u64().unwrap();
            (line, text("RuleName"), text("Detail"))
        })
        .collect();
    said.sort();
    said
}

fn said(case: &serde_json::Value) -> Said {
    let args: BTreeMap<String, String> = case["attrs"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix("build-arg:")?;
            Some((name.to_owned(), value.as_str()?.to_owned()))
        })
        .collect();
    let ignore = Patterns::parse(case["dockerignore"].as_str().unwrap()).unwrap();
    let platform = PlatformParts {
        os: "linux",
        architecture: "amd64",
        ..PlatformParts::default()
    };
    let source = Source::new("Dockerfile", case["dockerfile"].as_str().unwrap());
    let file = cairn_dockerfile::parse(&source).unwrap();
    let input = Input {
        args: &args,
        reach: Reach::AllStages,
        ignore: Some(&ignore),
        build_platform: platform,
        target_platform: platform,
        bases: &BTreeMap::new(),
        pinned: &BTreeSet::new(),
        package_files: &BTreeMap::new(),
        levels: &BTreeMap::new(),
        wants: |_| true,
    };
    let checked = lint::check(&file, &input).unwrap();
    let shown = checked.findings.into_iter();
    let mut said: Said = shown
        .filter(|finding| finding.level > Level::Info)
        .map(|finding| {
            let line = source.position(finding.span.start).line as u64;
            (line, finding.rule.name.to_owned(), finding.detail)
        })
        .collect();
    said.sort();
    said
}
