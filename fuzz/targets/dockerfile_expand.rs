//! Words and their expansion: a text, an escape character and the values of two variables.
//!
//! The parts are separated by NULs: the text, the values of `a` and of `B_1`. A text that begins
//! with a backtick has that as its escape character.
//!
//! - nothing panics, and the result is at most as long as what could be put into it;
//! - a text without `$`, quotes and the escape character comes back as it is, in the words that
//!   its spaces make;
//! - the same with quotes and escapes kept, if only `$` is missing and the quotes are closed;
//! - a variable is said to be set or to be missing, never both, and rightly so;
//! - a value is never expanded again: `$a` alone is the value of `a`.
#![no_main]

use std::collections::BTreeMap;

use cairn_dockerfile::expand::{Env, Expander, NoEnv};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([text, a, b]) = cairn_fuzz::texts(data) else {
        return;
    };
    let escape = if text.starts_with('`') { '`' } else { '\\' };
    let env = BTreeMap::from([("a", a), ("B_1", b)]);
    let rules = Expander::new(escape);
    let all = [
        rules,
        Expander::for_heredoc(),
        Expander {
            raw_quotes: true,
            ..rules
        },
        Expander {
            raw_escapes: true,
            ..rules
        },
        Expander {
            skip_unset: true,
            ..rules
        },
        Expander {
            raw_quotes: true,
            raw_escapes: true,
            skip_unset: true,
            ..rules
        },
    ];
    for rules in all {
        check(rules, text, &env);
        check(rules, text, &NoEnv);
    }
    plain_text_comes_back(rules, text);
    let whole = rules.word("$a", &env).expect("a variable alone");
    assert_eq!(whole.text, a, "a value is put in as it is");
});

fn check(rules: Expander, text: &str, env: &dyn Env) {
    let Ok(found) = rules.word(text, env) else {
        return;
    };
    for name in &found.used {
        assert!(env.get(name).is_some(), "{name:?} is not set");
    }
    for name in &found.unmatched {
        assert!(env.get(name).is_none(), "{name:?} is set");
    }
    let letters = |text: &str| text.chars().filter(|ch| !ch.is_whitespace()).count();
    let in_words: usize = found.words.iter().map(|word| letters(word)).sum();
    assert_eq!(
        in_words,
        letters(&found.text),
        "the words are not the text: {found:?}"
    );
}

fn plain_text_comes_back(rules: Expander, text: &str) {
    let is_plain = |ch| ch != '$' && ch != '"' && ch != '\'' && ch != rules.escape;
    if text.chars().all(is_plain) {
        let found = rules.word(text, &NoEnv).expect("a plain text");
        assert_eq!(found.text, text);
        // `<< EOF` is one word: a heredoc.
        if !text.contains("<<") {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(found.words, words);
        }
        assert!(found.used.is_empty() && found.unmatched.is_empty());
    }
    // Between double quotes BuildKit writes a kept escape character twice, and so do we.
    let is_doubled = text.contains('"') && text.contains(rules.escape);
    let raw = Expander {
        raw_quotes: true,
        raw_escapes: true,
        ..rules
    };
    if !text.contains('$')
        && !is_doubled
        && let Ok(found) = raw.word(text, &NoEnv)
    {
        assert_eq!(found.text, text, "quotes and escapes are kept");
    }
}
