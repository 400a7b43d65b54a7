//! Properties of the checker and of the shell reader: nothing panics, places are true, what is
//! quoted comes back, and mending ends.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::Source;
use cairn_dockerfile::ignore::Patterns;
use cairn_dockerfile::lint::{self, Checked, Input, Level, RULES, Reach};
use cairn_dockerfile::predefined::PlatformParts;
use cairn_dockerfile::shell::{Invocation, Script};
use cairn_dockerfile::{Dockerfile, parse};
use proptest::prelude::*;

/// Pieces of which scripts, good and bad, are made.
const SHELL: [&str; 44] = [
    "apt-get update",
    "apt-get install x",
    "pip install y",
    "conda install z",
    "rm -rf /tmp/x",
    "chmod -R a+rwx /app",
    "curl https://u:p@x.org",
    "git clone https://$T@x.org",
    "sudo",
    "env",
    "A=1",
    "conda activate e",
    "python3 -m venv /v",
    "set -e",
    "sh -c 'a; b'",
    "if",
    "then",
    "else",
    "fi",
    "for x in",
    "do",
    "done",
    "case",
    "esac",
    "{",
    "}",
    "(",
    ")",
    "&&",
    "||",
    ";",
    "|",
    "&",
    "<<E\nx\nE\n",
    ">",
    "2>&1",
    "'",
    "\"",
    "$(",
    "`",
    "\\\n",
    " # c\n",
    "é",
    "true",
];

/// Instructions, good and bad.
const LINES: [&str; 24] = [
    "FROM python:3-alpine AS a\n",
    "FROM a\n",
    "FROM nvidia/cuda:13.0.0\n",
    "FROM scratch as B\n",
    "ARG CUDA=12.6\n",
    "ARG T\n",
    "ENV A=$B PATH=/v/bin:$PATH\n",
    "COPY . /app\n",
    "COPY --from=a /x /x\n",
    "ADD x.md /\n",
    "WORKDIR x\n",
    "USER u\n",
    "CMD x\n",
    "ENTRYPOINT [\"/e.sh\"]\n",
    "SHELL [\"/bin/bash\", \"-ec\"]\n",
    "EXPOSE 1:2/TCP\n",
    "ONBUILD RUN x\n",
    "# cairn ignore=all\n",
    "# hadolint ignore=DL3008\n",
    "\n",
    "HEALTHCHECK CMD x\n",
    "MAINTAINER x\n",
    "RUN <<E\npip install x\nE\n",
    "RUN --mount=type=cache,target=/root/.cache pip install x\n",
];

fn script() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(SHELL.as_slice()).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.join(" "))
}

fn dockerfile() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => prop::sample::select(LINES.as_slice()).prop_map(str::to_owned),
        2 => script().prop_map(|script| format!("RUN {}\n", script.replace('\n', "\\\n"))),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| format!("FROM x\n{}", lines.concat()))
}

fn check(file: &Dockerfile) -> Checked {
    let platform = PlatformParts {
        os: "linux",
        architecture: "amd64",
        ..PlatformParts::default()
    };
    let levels: BTreeMap<&str, Option<Level>> = RULES
        .iter()
        .map(|rule| (rule.name, Some(Level::Error)))
        .collect();
    let input = Input {
        args: &BTreeMap::new(),
        reach: Reach::AllStages,
        ignore: Some(&Patterns::parse("*.md\n").unwrap()),
        build_platform: platform,
        target_platform: platform,
        bases: &BTreeMap::new(),
        pinned: &BTreeSet::new(),
        package_files: &BTreeMap::new(),
        levels: &levels,
        wants: |_| true,
    };
    lint::check(file, &input).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_scripts_never_panics_and_places_are_true(text in script()) {
        if let Ok(script) = Script::parse(&text) {
            for simple in script.simple_commands() {
                prop_assert!(text.get(simple.range.clone()).is_some(), "{:?}", simple.range);
                for word in &simple.words {
                    prop_assert!(text.get(word.range.clone()).is_some());
                }
                let _ = Invocation::of(simple);
            }
        }
    }

    #[test]
    fn quoted_words_come_back(words in prop::collection::vec("[^']*", 1..5)) {
        let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = Script::parse(&line.join(" ")).unwrap();
        let commands = script.simple_commands();
        let found: Vec<&str> = commands[0].words.iter().map(|word| word.text.as_str()).collect();
        prop_assert_eq!(found, words);
    }

    #[test]
    fn checking_never_panics_and_places_are_true(text in dockerfile()) {
        let source = Source::new("Dockerfile", text);
        if let Ok(file) = parse(&source) {
            for finding in check(&file).findings {
                let span = finding.span;
                prop_assert!(source.text.get(span.start..span.end).is_some(), "{finding:?}");
                prop_assert!(!finding.detail.is_empty());
                for edit in finding.fix.iter().flat_map(|fix| &fix.edits) {
                    prop_assert!(source.text.get(edit.span.start..edit.span.end).is_some());
                }
            }
        }
    }

    #[test]
    fn a_mended_file_is_a_dockerfile(text in dockerfile()) {
        let source = Source::new("Dockerfile", text);
        if let Ok(file) = parse(&source) {
            let mended = lint::fix::apply(&source.text, &lint::fix::edits(&check(&file).findings));
            let again = parse(&Source::new("Dockerfile", mended.as_str()));
            prop_assert!(again.is_ok(), "{mended}");
            prop_assert_eq!(again.unwrap().stages.len(), file.stages.len());
        }
    }
}
