//! Properties that hold for any text: nothing panics, places are true, what is quoted comes back.

use std::collections::BTreeMap;

use cairn_diagnostic::{Source, Span};
use cairn_dockerfile::ast::{CommandLine, CopySource, InstructionKind, Word};
use cairn_dockerfile::chmod::Chmod;
use cairn_dockerfile::expand::{Expander, NoEnv};
use cairn_dockerfile::expose::Exposed;
use cairn_dockerfile::glob::Glob;
use cairn_dockerfile::ignore::{Matched, Patterns};
use cairn_dockerfile::mount::MountFlag;
use cairn_dockerfile::{Dockerfile, parse, tree, value};
use proptest::prelude::*;

/// Pieces of which Dockerfiles, good and bad, are made.
const PIECES: [&str; 60] = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "ONBUILD",
    "HEALTHCHECK",
    "CMD",
    "SHELL",
    "EXPOSE",
    "VOLUME",
    "USER",
    "WORKDIR",
    "STOPSIGNAL",
    "MAINTAINER",
    "ENTRYPOINT",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\\\n",
    "\\ \n",
    "`\n",
    "\\",
    "`",
    "#",
    "# escape=`\n",
    "# syntax=x\n",
    "# check=skip=all\n",
    "<<EOF",
    "<<-EOF",
    "<<'E F'",
    "3<<\"EOF\"",
    "EOF\n",
    "\tEOF\n",
    "--from=",
    "--mount=type=cache,target=/x",
    "--chmod=",
    "--",
    "--link",
    "[\"a\", \"b\"]",
    "[",
    "]",
    "\"",
    "'",
    "=",
    "a=b",
    "$x",
    "${x:-y}",
    "${",
    "}",
    "as",
    "NONE",
    "x",
    "é",
    "\u{feff}",
    "\u{85}",
];

fn dockerfile_like() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..40)
        .prop_map(|pieces| pieces.concat())
}

fn any_bytes() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 0..200)
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => dockerfile_like(), 1 => any_bytes(), 1 => any::<String>()]
}

/// A Dockerfile whose only instruction after `FROM` is the given one.
fn single(instruction: &str) -> Dockerfile {
    let source = Source::new("Dockerfile", format!("FROM x\n{instruction}\n"));
    parse(&source).unwrap_or_else(|errors| panic!("{instruction:?}: {errors:?}"))
}

fn kind(file: &Dockerfile) -> &InstructionKind {
    &file.stages[0].instructions[0].kind
}

fn assert_inside(source: &Source, span: Span) {
    assert!(
        source.text.get(span.start..span.end).is_some(),
        "{span:?} is no part of {:?}",
        source.text
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_never_panics_and_places_are_true(text in text()) {
        let source = Source::new("Dockerfile", text);
        if let Ok(tree) = tree::read(&source) {
            let _ = tree.to_string();
            let mut end = 0;
            for node in &tree.nodes {
                assert_inside(&source, node.span);
                assert_inside(&source, node.keyword.span);
                prop_assert!(node.span.start >= end, "instructions overlap");
                end = node.span.end;
                let keyword = &source.text[node.keyword.span.start..node.keyword.span.end];
                prop_assert!(keyword.starts_with(node.keyword.value.chars().next().unwrap()));
                for word in node.flags.iter().chain(&node.comments).chain([&node.rest]) {
                    assert_inside(&source, word.span);
                }
                for heredoc in &node.heredocs {
                    assert_inside(&source, heredoc.span);
                    let body = &source.text[heredoc.span.start..heredoc.span.end];
                    prop_assert_eq!(body, &heredoc.content);
                }
            }
        }
        match parse(&source) {
            Ok(file) => {
                prop_assert!(!file.stages.is_empty());
                for stage in &file.stages {
                    assert_inside(&source, stage.span);
                    for instruction in &stage.instructions {
                        assert_inside(&source, instruction.span);
                        if let InstructionKind::OnBuild(on_build) = &instruction.kind {
                            prop_assert!(!on_build.trigger.is_empty());
                        }
                    }
                }
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in &errors {
                    assert_inside(&source, error.label.as_ref().unwrap().span);
                    let _ = cairn_diagnostic::render(error);
                }
            }
        }
    }

    #[test]
    fn expanding_never_panics(text in text(), name in "[a-z]{1,2}", value in any::<String>()) {
        let env = BTreeMap::from([(name, value)]);
        for escape in ['\\', '`'] {
            let _ = Expander::new(escape).word(&text, &env);
        }
        let _ = Expander::for_heredoc().word(&text, &env);
    }

    #[test]
    fn escaped_text_comes_back(text in "\\PC*") {
        let escaped: String = text.chars().flat_map(|ch| ['\\', ch]).collect();
        let expanded = Expander::new('\\').word(&escaped, &NoEnv).unwrap();
        prop_assert_eq!(&expanded.text, &text);
        prop_assert_eq!(expanded.words.len(), usize::from(!text.is_empty()));
    }

    #[test]
    fn quoted_text_comes_back(text in "[^']*", value in any::<String>()) {
        let expanded = Expander::new('\\').word(&format!("'{text}'"), &NoEnv).unwrap();
        prop_assert_eq!(&expanded.text, &text);
        let env = BTreeMap::from([("v", value.as_str())]);
        let expanded = Expander::new('\\').word("\"${v}\"", &env).unwrap();
        prop_assert_eq!(&expanded.text, &value);
    }

    #[test]
    fn exec_forms_come_back(arguments in prop::collection::vec(any::<String>(), 0..5)) {
        let json = serde_json::to_string(&arguments).unwrap();
        // U+2028 and the like are white space, but no line ends of a Dockerfile.
        let file = single(&format!("CMD {json}"));
        let InstructionKind::Cmd(CommandLine::Exec(words)) = kind(&file) else {
            panic!("{:?}", kind(&file));
        };
        let read: Vec<&str> = words.iter().map(Word::as_str).collect();
        prop_assert_eq!(&read, &arguments);
        for word in words {
            let written = &file.source.text[word.span.start..word.span.end];
            let decoded: String = serde_json::from_str(written).unwrap();
            prop_assert_eq!(&decoded, &word.value);
        }
    }

    #[test]
    fn heredocs_come_back(lines in prop::collection::vec("[^\n\r]{0,20}", 0..6)) {
        prop_assume!(lines.iter().all(|line| line != "EOF"));
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = single(&format!("COPY <<'EOF' /x\n{body}EOF"));
        let InstructionKind::Copy(copy) = kind(&file) else {
            panic!("no COPY");
        };
        let [CopySource::Heredoc(heredoc)] = copy.files.sources.as_slice() else {
            panic!("no heredoc");
        };
        prop_assert_eq!(heredoc.text(), body);
        prop_assert!(!heredoc.expand);
    }

    #[test]
    fn continuations_change_nothing(words in prop::collection::vec("[a-z]{1,6}", 1..6)) {
        let plain = single(&format!("RUN {}", words.join(" ")));
        let broken = single(&format!("RUN {}", words.join(" \\\n# comment\n")));
        let text = |file: &Dockerfile| file.stages[0].instructions[0].text.clone();
        prop_assert_eq!(text(&plain), text(&broken));
    }

    #[test]
    fn small_languages_never_panic(text in "\\PC*", flag in "[a-z=,\"$/0-9]*") {
        let _ = Chmod::parse(&text).map(|chmod| chmod.apply(0o644, true));
        let _ = Exposed::parse(&flag);
        let _ = value::bytes(&flag);
        let _ = value::duration(&text);
        let _ = Glob::parse(&text).map(|glob| glob.matches(&text));
        let _ = Patterns::parse(&text).map(|patterns| patterns.matches(&flag));
        let word = Word::new(flag, Span::default());
        let _ = MountFlag::parse(word).map(|flag| flag.resolve(&mut |word| Ok(word.to_owned())));
    }

    #[test]
    fn modes_stay_modes(text in "([augo]{0,2}[-+=][rwxXstugo]{0,3},?){1,3}", mode in 0u32..0o10000) {
        if let Ok(chmod) = Chmod::parse(&text) {
            prop_assert!(chmod.apply(mode, false) <= 0o7777);
        }
    }

    #[test]
    fn globs_match_like_the_plain_definition(pattern in "[ab*?/]{0,8}", path in "[ab/]{0,8}") {
        let glob = Glob::parse(&pattern).unwrap();
        let pattern: Vec<char> = pattern.chars().collect();
        let path_chars: Vec<char> = path.chars().collect();
        prop_assert_eq!(glob.matches(&path), matches_plainly(&pattern, &path_chars));
    }

    #[test]
    fn walking_finds_what_asking_finds(
        patterns in prop::collection::vec("!?[ab*]{1,3}(/[ab*]{1,3}){0,2}", 0..5),
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        let patterns = Patterns::parse(&patterns.join("\n")).unwrap();
        let mut matched = Matched::default();
        let mut is_skipped = false;
        let mut is_ignored = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            (is_ignored, matched) = patterns.below(&path[..end], &matched);
            prop_assert!(is_ignored || !is_skipped, "{} was skipped", &path[..end]);
            is_skipped |= is_ignored && patterns.can_skip(&path[..end]);
        }
        prop_assert_eq!(is_ignored, patterns.matches(&path));
    }
}

fn matches_plainly(pattern: &[char], path: &[char]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            matches_plainly(rest, path)
                || matches!(path, [ch, more @ ..] if *ch != '/' && matches_plainly(pattern, more))
        }
        (['?', rest @ ..], [ch, more @ ..]) => *ch != '/' && matches_plainly(rest, more),
        ([own, rest @ ..], [ch, more @ ..]) => own == ch && matches_plainly(rest, more),
        _ => false,
    }
}
