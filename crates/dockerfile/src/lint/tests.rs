//! The table of rules, and what holds for all of them.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::Source;

use super::*;
use crate::ignore::Patterns;
use crate::predefined::PlatformParts;

/// Checks a text with everything at its default, and gives `rule line` of each finding that
/// people are shown.
#[track_caller]
pub(super) fn found(text: &str) -> Vec<String> {
    let none = BTreeMap::new();
    findings(text, &none)
}

#[track_caller]
fn findings(text: &str, levels: &BTreeMap<&'static str, Option<Level>>) -> Vec<String> {
    let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
    let checked = checked(&file, levels);
    let shown = checked.findings.iter();
    shown
        .filter(|finding| finding.level > Level::Info)
        .map(|finding| {
            let line = file.source.position(finding.span.start).line;
            format!("{} {line}", finding.rule.name)
        })
        .collect()
}

/// How often a rule is violated, at any level.
#[track_caller]
pub(super) fn count(rule: &str, text: &str) -> usize {
    let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
    let found = checked(&file, &BTreeMap::new()).findings;
    found
        .iter()
        .filter(|finding| finding.rule.name == rule)
        .count()
}

fn checked(file: &Dockerfile, levels: &BTreeMap<&'static str, Option<Level>>) -> Checked {
    let only_arm = BaseImage {
        platform: Some("linux/arm64".to_owned()),
        ..BaseImage::default()
    };
    let input = Input {
        ignore: Some(&Patterns::parse("*.md\n").unwrap()),
        bases: &BTreeMap::from([("only-arm:1".to_owned(), only_arm)]),
        ..input(levels)
    };
    check(file, &input).unwrap()
}

/// Nothing is known but the text.
fn input<'a>(levels: &'a BTreeMap<&'static str, Option<Level>>) -> Input<'a> {
    static NO_ARGS: BTreeMap<String, String> = BTreeMap::new();
    static NO_BASES: BTreeMap<String, BaseImage> = BTreeMap::new();
    static NO_NAMES: BTreeSet<String> = BTreeSet::new();
    let amd64 = PlatformParts {
        os: "linux",
        architecture: "amd64",
        ..PlatformParts::default()
    };
    Input {
        args: &NO_ARGS,
        reach: Reach::AllStages,
        ignore: None,
        build_platform: amd64,
        target_platform: amd64,
        bases: &NO_BASES,
        pinned: &NO_NAMES,
        package_files: &NO_ARGS,
        levels,
        wants: |_| true,
    }
}

#[test]
fn names_and_aliases_are_unique() {
    let mut seen = BTreeSet::new();
    for rule in RULES {
        for name in std::iter::once(&rule.name).chain(rule.aliases) {
            assert!(seen.insert(name.to_lowercase()), "{name} twice");
        }
    }
    assert_eq!(
        rule("dl3025").map(|rule| rule.name),
        Some("JSONArgsRecommended")
    );
    assert!(rule("NoSuchRule").is_none());
}

/// The examples of every page are what they say.
#[test]
fn pages_are_true() {
    for rule in RULES {
        let level = match rule.level {
            // What is silent by default has examples, too.
            Level::Info => Some(Level::Warning),
            level => Some(level),
        };
        let levels = BTreeMap::from([(rule.name, level)]);
        let is_found = |text: &str| {
            let found = findings(text, &levels);
            found
                .iter()
                .any(|one| one.starts_with(&format!("{} ", rule.name)))
        };
        assert!(
            is_found(rule.bad),
            "{}: not found in\n{}",
            rule.name,
            rule.bad
        );
        assert!(
            !is_found(rule.good),
            "{}: found in\n{}",
            rule.name,
            rule.good
        );
        assert!(rule.why.ends_with('.'), "{}", rule.name);
        assert!(!rule.summary.is_empty() && rule.bad.ends_with('\n') && rule.good.ends_with('\n'));
    }
}

/// Who tries an example sees what its page says, and nothing else.
#[test]
fn an_example_stands_alone() {
    // What these find is beside the text, and the example says what.
    let not_alone = ["CopyIgnoredFile", "InvalidBaseImagePlatform"];
    for rule in RULES {
        let levels = BTreeMap::from([(rule.name, Some(Level::Warning))]);
        let names = |text: &str| {
            let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
            let input = Input {
                ignore: None,
                bases: &BTreeMap::new(),
                ..input(&levels)
            };
            let mut names: Vec<&str> = check(&file, &input)
                .unwrap()
                .findings
                .iter()
                .filter(|finding| finding.level > Level::Info)
                .map(|finding| finding.rule.name)
                .collect();
            names.dedup();
            names
        };
        match not_alone.contains(&rule.name) {
            true => assert!(rule.bad.starts_with("# ") && names(rule.bad).is_empty()),
            false => assert_eq!(names(rule.bad), [rule.name], "{}", rule.bad),
        }
        assert_eq!(names(rule.good), [""; 0], "{}: {}", rule.name, rule.good);
    }
}

#[test]
fn a_fix_that_changes_the_image_says_so() {
    let effects = |text: &str| {
        let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
        let findings = checked(&file, &BTreeMap::new()).findings;
        let effects = fix::effects(&findings).into_iter();
        effects.map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    let maintained = "FROM scratch\nMAINTAINER a\nMAINTAINER b\n";
    assert_eq!(effects(maintained), ["MaintainerDeprecated"]);
    assert_eq!(effects("FROM scratch AS a\nENV a b\n"), [""; 0]);
}

#[test]
fn the_directive_skips_and_comments_do() {
    let bad = "FROM scratch as base\ncopy a /\n";
    assert_eq!(
        found(bad),
        ["FromAsCasing 1", "ConsistentInstructionCasing 2"]
    );
    assert_eq!(
        found(&format!("# check=skip=FromAsCasing\n{bad}")),
        ["ConsistentInstructionCasing 3"]
    );
    assert_eq!(found(&format!("# check=skip=all\n{bad}")), [""; 0]);
    let commented = "FROM scratch AS base\n# cairn ignore=JSONArgsRecommended\nCMD a\n";
    assert_eq!(found(commented), [""; 0]);
    let aliased = "FROM scratch AS base\n# hadolint ignore=DL3025\nCMD a\n";
    assert_eq!(found(aliased), [""; 0]);
    let global = "# about\n# hadolint global ignore=DL3025\n\nFROM scratch AS base\nCMD a\n";
    assert_eq!(found(global), [""; 0]);
    let distant = "FROM scratch AS base\n# hadolint ignore=DL3025\n\nCMD a\n";
    assert_eq!(found(distant), ["JSONArgsRecommended 4"]);
}

#[test]
fn levels_can_be_given() {
    let text = "FROM scratch\nCMD a\n";
    let off = BTreeMap::from([("JSONArgsRecommended", None)]);
    assert_eq!(findings(text, &off), [""; 0]);
    let info = BTreeMap::from([("JSONArgsRecommended", Some(Level::Info))]);
    assert_eq!(findings(text, &info), [""; 0]);
}

#[test]
fn violations_are_buildkits_only_with_error() {
    let none = BTreeMap::new();
    let of = |text: &str| {
        let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
        checked(&file, &none).violations()
    };
    let bad = "FROM scratch as a\nFROM scratch as b\n";
    assert_eq!(of(bad), [""; 0]);
    assert_eq!(of(&format!("# check=error=true\n{bad}")), ["FromAsCasing"]);
}

/// What a base may set is not known for most images.
#[test]
fn variables_of_unknown_bases_are_not_blamed() {
    let text = |base: &str| format!("FROM {base}\nENV A=$JAVA_HOME\n");
    assert_eq!(found(&text("debian:13")), ["UndefinedVar 2"]);
    assert_eq!(found(&text("eclipse-temurin:21")), [""; 0]);
    let golang = "FROM golang:1.24\nWORKDIR $GOPATH/src\n";
    assert_eq!(found(golang), [""; 0], "no slip for PATH");
    assert_eq!(
        found("FROM eclipse-temurin:21\nENV A=$PAHT\n"),
        ["UndefinedVar 2"]
    );
}

#[test]
fn triggers_are_checked_where_they_go_off() {
    let text = "FROM scratch AS a\nONBUILD ENV A=$b\nFROM a\n";
    assert_eq!(found(text), ["UndefinedVar 3"]);
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let file = crate::parse(&Source::new("f", "# check=skpi=all\nFROM scratch\n")).unwrap();
    let none = BTreeMap::new();
    let input = Input {
        args: &BTreeMap::new(),
        reach: Reach::Target(Some("nope")),
        ignore: None,
        build_platform: PlatformParts::default(),
        target_platform: PlatformParts::default(),
        bases: &BTreeMap::new(),
        pinned: &BTreeSet::new(),
        package_files: &BTreeMap::new(),
        levels: &none,
        wants: |_| true,
    };
    let error = check(&file, &input).unwrap_err();
    assert_eq!(error.position().map(|at| at.line), Some(1));
    let args = BTreeMap::from([(CHECK_ARGUMENT.to_owned(), "skip=all".to_owned())]);
    let input = Input {
        args: &args,
        ..input
    };
    assert!(
        check(&file, &input)
            .unwrap_err()
            .message
            .contains("could not be found")
    );
}

/// What mends the bad example of a page mends it: the rule is silent afterwards.
#[test]
fn fixes_mend() {
    let mut mended = 0;
    for rule in RULES {
        let levels = BTreeMap::from([(rule.name, Some(Level::Warning))]);
        let file = crate::parse(&Source::new("Dockerfile", rule.bad)).unwrap();
        let mut findings = checked(&file, &levels).findings;
        findings.retain(|finding| finding.rule.name == rule.name && finding.fix.is_some());
        if findings.is_empty() {
            continue;
        }
        let text = fix::apply(rule.bad, &fix::edits(&findings));
        let again = crate::parse(&Source::new("Dockerfile", text.as_str())).unwrap();
        let left = checked(&again, &levels).findings.into_iter();
        let left = left.filter(|finding| finding.rule.name == rule.name);
        assert_eq!(left.count(), 0, "{}:\n{text}", rule.name);
        mended += 1;
    }
    assert!(mended > 10, "only {mended} rules mend anything");
}

#[test]
fn fixes_keep_the_meaning() {
    let mend = |text: &str| {
        let file = crate::parse(&Source::new("Dockerfile", text)).unwrap();
        let findings = checked(&file, &BTreeMap::new()).findings;
        fix::apply(text, &fix::edits(&findings))
    };
    assert_eq!(
        mend("from scratch as A\nENV a b c\nLABEL d e\nMAINTAINER \"x y\"\n"),
        "FROM scratch as a\nENV a=\"b c\"\nLABEL d=e\n\
         LABEL org.opencontainers.image.authors=\"x y\"\n"
    );
    assert_eq!(
        mend("FROM scratch\nENV a \"b\" c\n"),
        "FROM scratch\nENV a \"b\" c\n"
    );
    assert_eq!(
        mend(
            "FROM debian:13\nRUN apt-get update && \\\n    # tools\n    apt-get install \\\n      gcc\n"
        ),
        "FROM debian:13\nRUN apt-get update && \\\n    # tools\n    apt-get install -y --no-install-recommends \\\n      \
         gcc \\\n && rm -rf /var/lib/apt/lists/*\n"
    );
}

#[test]
fn a_directory_of_windows_may_have_a_drive() {
    let relative = |platform: &str, path: &str| {
        let text = format!(
            "# escape=`\nFROM --platform={platform} a:1 AS below\nFROM below\nWORKDIR {path}\n"
        );
        count("WorkdirRelativePath", &text) == 1
    };
    for path in ["/app", "C:\\app", "c:/app", "\\app"] {
        assert!(!relative("windows(10.0.1)/amd64", path), "{path}");
    }
    for path in ["app", "D:\\app", "C:app"] {
        assert!(relative("windows/amd64", path), "{path}");
    }
    assert!(relative("linux/amd64", "C:\\app"));
}

#[test]
fn stages_may_stand_on_each_other_as_long_as_the_file_is() {
    let mut text = "FROM debian:13 AS a0\nARG A=1\n".to_owned();
    for at in 1..50_000 {
        text.push_str(&format!("FROM a{} AS a{at}\n", at - 1));
    }
    text.push_str("RUN echo $A $B\nWORKDIR x\nUSER root\n");
    assert_eq!(count("WorkdirRelativePath", &text), 1);
}
