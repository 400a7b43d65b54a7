//! Tests of expansion: our own cases here, the public table in `tests/conformance.rs`.

use super::*;

fn env() -> Vec<(&'static str, &'static str)> {
    vec![
        ("FILE", "/usr/lib/app.tar.gz"),
        ("EMPTY", ""),
        ("SPACE", "a  b"),
        ("STAR", "a*b"),
    ]
}

#[track_caller]
fn check(word: &str, expected: &str) {
    assert_eq!(
        Expander::new('\\').word(word, &env()).unwrap().text,
        expected,
        "{word}"
    );
}

#[track_caller]
fn check_error(word: &str, expected: &str) {
    let error = Expander::new('\\').word(word, &env()).unwrap_err();
    assert_eq!(error.reason.to_string(), expected, "{word}");
}

#[test]
fn trims_patterns() {
    check("${FILE#*/}", "usr/lib/app.tar.gz");
    check("${FILE##*/}", "app.tar.gz");
    check("${FILE%.*}", "/usr/lib/app.tar");
    check("${FILE%%.*}", "/usr/lib/app");
    check("${FILE#nothing}", "/usr/lib/app.tar.gz");
    check("${STAR%\\*b}", "a");
    check("${FILE%.???}", "/usr/lib/app.tar.gz");
    check("${FILE%.??}", "/usr/lib/app.tar");
}

#[test]
fn replaces() {
    check("${FILE/./-}", "/usr/lib/app-tar.gz");
    check("${FILE//./-}", "/usr/lib/app-tar-gz");
    check("${FILE//\\//_}", "_usr_lib_app.tar.gz");
    check("${FILE/l*b/x}", "/usr/x/app.tar.gz");
    check("${UNSET/a/b}", "");
}

#[test]
fn requires() {
    check_error("${UNSET:?}", "UNSET: is not allowed to be unset");
    check_error("${EMPTY:?}", "EMPTY: is not allowed to be empty");
    check_error("${UNSET?set me}", "UNSET: set me");
    check("${EMPTY?}", "");
}

#[test]
fn refuses() {
    check_error("${FILE", "unsupported modifier () in substitution");
    check_error("${FILE:-x", "syntax error: missing '}'");
    check_error("${FILE:-'x}", "syntax error: missing '}'");
    check_error("${FILE/a", "syntax error: missing '/' in ${}");
    check_error("${FILE:x}", "unsupported modifier (:x) in substitution");
    check_error(
        "${FILE%\\a}",
        "invalid pattern (\\a) in substitution: invalid escape '\\a'",
    );
    check_error(
        "'open",
        "unexpected end of statement while looking for matching single-quote",
    );
    let deep = "${a:-".repeat(5000);
    assert_eq!(
        Expander::new('\\').word(&deep, &NoEnv).unwrap_err().reason,
        ExpandErrorReason::TooDeep
    );
}

#[test]
fn splits_at_spaces_of_variables_but_not_of_quotes() {
    let words = |text| Expander::new('\\').words(text, &env()).unwrap();
    assert_eq!(words("x$SPACE y"), ["xa", "b", "y"]);
    assert_eq!(words("\"$SPACE\""), ["a  b"]);
    assert_eq!(words("a\\ b"), ["a b"]);
    assert_eq!(words("'' x"), ["x"]);
}

#[test]
fn another_escape_character() {
    let expander = Expander::new('`');
    assert_eq!(
        expander.word("c:\\dir`$x", &NoEnv).unwrap().text,
        "c:\\dir$x"
    );
}

#[test]
fn keeps_what_it_is_told_to() {
    let rules = Expander {
        raw_quotes: true,
        raw_escapes: true,
        skip_unset: true,
        ..Expander::new('\\')
    };
    for text in ["'a' \"b\" \\c", "$x ${x} ${x:-y} ${x/a/b} ${x%%a}"] {
        assert_eq!(rules.word(text, &NoEnv).unwrap().text, text);
    }
}

#[test]
fn heredoc_bodies_keep_quotes() {
    let text = Expander::for_heredoc()
        .word("it's \"$STAR\" \\$STAR", &env())
        .unwrap()
        .text;
    assert_eq!(text, "it's \"a*b\" $STAR");
}

#[test]
fn reports_variables() {
    let expanded = Expander::new('\\')
        .word("$STAR ${NOPE:-$MORE}", &env())
        .unwrap();
    assert!(expanded.used.contains("STAR"));
    assert_eq!(
        expanded.unmatched.into_iter().collect::<Vec<_>>(),
        ["MORE", "NOPE"]
    );
}

#[test]
fn substitutions_that_multiply_each_other_are_stopped() {
    let mut word = "x".to_owned();
    for _ in 0..20 {
        word = format!("${{FILE////{word}}}");
    }
    check_error(
        &word,
        "the substitutions of one word make more than 1048576 bytes",
    );
    let pattern = "${FILE%".to_owned() + &"a".repeat(5000) + "}";
    let error = Expander::new('\\').word(&pattern, &env()).unwrap_err();
    assert!(error.reason.to_string().contains("longer than 4096 bytes"));
    // A long text with many values in it is no such thing.
    let text = "$FILE ".repeat(50_000);
    assert!(Expander::for_heredoc().word(&text, &env()).is_ok());
}
