//! Ignore files and a path.
//!
//! The parts are separated by a NUL: the text of a `.dockerignore`, and a path in the context.
//!
//! - nothing panics;
//! - a walk from the top comes to the same answer as asking for the path at once;
//! - a directory that a walk may skip holds nothing that is not ignored;
//! - the pattern that decided says what was decided.
#![no_main]

use cairn_dockerfile::ignore::{Matched, Patterns, clean};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([text, path]) = cairn_fuzz::texts(data) else {
        return;
    };
    let path = clean(path);
    let path = path.trim_start_matches('/');
    let is_below = !path.is_empty() && path != "." && !path.starts_with("..");
    let from_flags = Patterns::from_flags(text.lines());
    for patterns in [Patterns::parse(text), from_flags].into_iter().flatten() {
        if is_below {
            check(&patterns, path);
        }
    }
});

fn check(patterns: &Patterns, path: &str) {
    let mut matched = Matched::default();
    let mut is_ignored = false;
    let mut skipped = None;
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    for end in ends {
        let part = &path[..end];
        (is_ignored, matched) = patterns.below(part, &matched);
        assert!(
            is_ignored || skipped.is_none(),
            "{part:?} in the skipped {skipped:?}"
        );
        if is_ignored && patterns.can_skip(part) {
            skipped = Some(part);
        }
    }
    assert_eq!(
        is_ignored,
        patterns.matches(path),
        "walking and asking differ for {path:?}"
    );
    let deciding = patterns.deciding(path);
    let says = deciding.is_some_and(|pattern| !pattern.is_exception());
    assert_eq!(is_ignored, says, "{deciding:?}");
}
