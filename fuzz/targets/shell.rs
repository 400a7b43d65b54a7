//! The reader of shell scripts that the checker has: any text.
//!
//! - nothing panics or runs away, however deep things nest;
//! - every command and word stands in the text, and words stand in their command, in order;
//! - a word without anything to expand or quote reads as it is written.
#![no_main]

use cairn_dockerfile::shell::{AndOr, Command, Invocation, Script, Simple};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(script) = Script::parse(text) else {
        return;
    };
    for simple in script.simple_commands() {
        check(text, simple);
    }
    walk(text, &script);
});

fn walk(text: &str, script: &Script) {
    for command in script.lists.iter().flat_map(AndOr::commands) {
        match command {
            Command::Simple(simple) => check(text, simple),
            Command::Compound(compound) => {
                assert!(text.get(compound.range.clone()).is_some());
                compound.parts.iter().for_each(|part| walk(text, part));
            }
        }
    }
}

fn check(text: &str, simple: &Simple) {
    assert!(text.get(simple.range.clone()).is_some(), "{simple:?}");
    let mut end = 0;
    for word in &simple.words {
        let written = text.get(word.range.clone());
        let written = written.unwrap_or_else(|| panic!("{word:?} is no part of {text:?}"));
        assert!(word.range.start >= end, "words overlap: {simple:?}");
        end = word.range.end;
        let is_plain = written.chars().all(|ch| ch.is_ascii_alphanumeric());
        assert!(
            !is_plain || written == word.text,
            "{written:?} reads {:?}",
            word.text
        );
    }
    for redirect in &simple.redirects {
        assert!(
            text.get(redirect.target.range.clone()).is_some(),
            "{redirect:?}"
        );
    }
    if let Some(invocation) = Invocation::of(simple) {
        let _ = invocation.subcommand();
        let _ = invocation.operands().count();
    }
}
