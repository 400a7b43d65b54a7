//! The checker: any Dockerfile that can be read, with every rule on.
//!
//! - nothing panics;
//! - findings stand in the text, in order, and say something;
//! - the changes that fixes make lie in the text, do not overlap, and cut no character;
//! - a text that was fixed can still be read, with the same instructions (`COPY` for `ADD`, and
//!   `LABEL` for `MAINTAINER`).
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::Source;
use cairn_dockerfile::lint::{self, Input, Reach, fix};
use cairn_dockerfile::predefined::PlatformParts;
use cairn_dockerfile::{Dockerfile, parse};
use cairn_fuzz::assert_inside;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(source) = cairn_fuzz::source("Dockerfile", data) else {
        return;
    };
    let Ok(file) = parse(&source) else {
        return;
    };
    check(&source, &file);
});

fn check(source: &Source, file: &Dockerfile) {
    let platform = PlatformParts {
        os: "linux",
        architecture: "amd64",
        ..PlatformParts::default()
    };
    let input = Input {
        args: &BTreeMap::new(),
        reach: Reach::AllStages,
        ignore: None,
        build_platform: platform,
        target_platform: platform,
        bases: &BTreeMap::new(),
        pinned: &BTreeSet::new(),
        package_files: &BTreeMap::new(),
        levels: &BTreeMap::new(),
        wants: |_| true,
    };
    let Ok(checked) = lint::check(file, &input) else {
        return;
    };
    let mut start = 0;
    for finding in &checked.findings {
        assert_inside(source, finding.span);
        assert!(finding.span.start >= start, "findings are out of order");
        start = finding.span.start;
        assert!(
            !finding.detail.is_empty(),
            "{} says nothing",
            finding.rule.name
        );
        for edit in finding.fix.iter().flat_map(|fix| &fix.edits) {
            assert_inside(source, edit.span);
        }
    }
    let edits = fix::edits(&checked.findings);
    for pair in edits.windows(2) {
        assert!(
            pair[0].span.end <= pair[1].span.start,
            "changes overlap: {pair:?}"
        );
    }
    if edits.is_empty() {
        return;
    }
    let fixed = Source::new("fixed", fix::apply(&source.text, &edits));
    let again = parse(&fixed).unwrap_or_else(|errors| panic!("{:?}: {errors:?}", fixed.text));
    assert_eq!(
        keywords(file),
        keywords(&again),
        "fixed as {:?}",
        fixed.text
    );
}

/// The instructions; those that a fix puts in the place of others count as what they replace.
fn keywords(file: &Dockerfile) -> Vec<String> {
    let words = file.keywords().map(|word| word.value.to_uppercase());
    let words = words.map(|word| match word.as_str() {
        "ADD" => "COPY".to_owned(),
        "MAINTAINER" => "LABEL".to_owned(),
        _ => word,
    });
    words.collect()
}
