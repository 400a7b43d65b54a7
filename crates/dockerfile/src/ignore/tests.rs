//! Tests of ignore patterns; the expectations are moby's.

use super::*;

#[track_caller]
fn check(pattern: &str, path: &str, expected: bool) {
    let patterns = Patterns::parse(pattern).unwrap();
    assert_eq!(patterns.matches(path), expected, "{pattern:?} on {path:?}");
    assert_eq!(
        walk(&patterns, path),
        expected,
        "walking: {pattern:?} on {path:?}"
    );
}

/// Asks as a walker does, and checks that nothing needed is skipped on the way.
fn walk(patterns: &Patterns, path: &str) -> bool {
    let mut matched = Matched::default();
    let mut is_ignored = false;
    let mut skipped = false;
    for part in ancestors(path) {
        (is_ignored, matched) = patterns.below(part, &matched);
        assert!(!skipped || is_ignored, "{part} was skipped wrongly");
        skipped |= is_ignored && patterns.can_skip(part);
    }
    is_ignored
}

#[test]
fn plain_names() {
    check("abc", "abc", true);
    check("abc", "abcd", false);
    check("abc", "abc/def", true);
    check("/abc", "abc", true);
    check("./abc/", "abc", true);
    check("a/../b", "b", true);
    check("abc.def", "abcxdef", false);
}

#[test]
fn single_stars() {
    check("*", "a", true);
    check("*", "a/b", true);
    check("*.txt", "a.txt", true);
    check("*.txt", "d/a.txt", false);
    check("*/*.txt", "d/a.txt", true);
    check("a?c", "abc", true);
    check("a?c", "a/c", false);
    check("a[b-d]e", "ace", true);
    check("a[^b-d]e", "ace", false);
    check("a\\*b", "a*b", true);
    check("a\\*b", "axb", false);
    check("a(b)|c$", "a(b)|c$", true);
}

#[test]
fn double_stars() {
    check("**", "a/b/c", true);
    check("**/", "a", true);
    check("dir/**", "dir/file", true);
    check("dir/**", "dir", false);
    check("dir/**", "dir/a/b", true);
    check("**/file", "file", true);
    check("**/file", "a/b/file", true);
    check("**/file", "a/b/xfile", false);
    check("**file", "xfile", true);
    check("**/dir/*", "a/dir/b", true);
    check("dir/**/file", "dir/file", true);
    check("dir/**/file", "dir/a/b/file", true);
    check("**/*.go", "a.go", true);
    check("**/*.go", "x/y/a.go", true);
    check("a**/*.txt", "abc/def.txt", true);
}

#[test]
fn order_and_exceptions() {
    check("*\n!a", "a", false);
    check("*\n!a", "b", true);
    check("!a\n*", "a", true);
    check("docs\n!docs/README.md", "docs/README.md", false);
    check("docs\n!docs/README.md", "docs/other", true);
    check("docs\n!docs/README.md\ndocs/*.md", "docs/README.md", true);
    check("**\n!**/*.go", "x/y/a.go", false);
    check("**\n!**/*.go", "x/y/a.c", true);
    check("a\n!a/b\na/b/c", "a/b/d", false);
    check("a\n!a/b\na/b/c", "a/b/c", true);
    check("a\n!*/b", "a/b/c", false);
    check("a/*\n!a", "a/b", true);
}

#[test]
fn comments_and_spaces() {
    let patterns = Patterns::parse("\u{feff}# c\n\n  x  \n #y\n! z \n").unwrap();
    let read: Vec<_> = patterns
        .patterns()
        .iter()
        .map(|pattern| (pattern.text(), pattern.is_exception(), pattern.line()))
        .collect();
    assert_eq!(
        read,
        [
            ("x", false, Some(3)),
            ("#y", false, Some(4)),
            ("z", true, Some(5))
        ]
    );
}

#[test]
fn refuses() {
    assert_eq!(
        Patterns::parse("a\n!\n").unwrap_err(),
        IgnoreError::LoneExclamation { line: Some(2) }
    );
    assert!(matches!(
        Patterns::parse("[a").unwrap_err(),
        IgnoreError::Syntax { line: Some(1), .. }
    ));
    assert!(Patterns::parse("[z-a]").is_err());
    assert!(Patterns::from_flags(["!"]).is_err());
}

#[test]
fn prunes_only_what_no_exception_reaches() {
    let skips = |text: &str, directory: &str| Patterns::parse(text).unwrap().can_skip(directory);
    assert!(skips("node_modules", "node_modules"));
    assert!(!skips("docs\n!docs/README.md", "docs"));
    assert!(skips("*\n!docs/README.md", "src"));
    assert!(!skips("*\n!**/*.go", "src"));
    assert!(!skips("*\n!*/keep", "src"));
    assert!(skips("*\n!*/keep", "src/deep"));
    assert!(!skips("*\n!src/[a/]", "src"));
}

#[test]
fn the_deciding_line_is_named() {
    let patterns = Patterns::parse("*.log\n!keep.log\n").unwrap();
    assert_eq!(patterns.deciding("a.log").unwrap().line(), Some(1));
    assert_eq!(patterns.deciding("keep.log").unwrap().line(), Some(2));
    assert!(patterns.deciding("a.txt").is_none());
}

#[test]
fn flags_keep_their_exclamation() {
    let patterns = Patterns::from_flags(["*.txt", "!a.txt", " "]).unwrap();
    assert!(patterns.matches("b.txt"));
    assert!(!patterns.matches("a.txt"));
}

#[test]
fn paths_are_cleaned() {
    for (path, expected) in [
        ("a//b/./c/", "a/b/c"),
        ("", "."),
        ("/../a", "/a"),
        ("../../a", "../../a"),
        ("a/../..", ".."),
        ("/", "/"),
    ] {
        assert_eq!(clean(path), expected, "{path}");
    }
}
