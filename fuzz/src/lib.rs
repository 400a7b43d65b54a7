//! What several targets need: bytes as text or as archives, and the checks of places.

mod archive;

pub use archive::{archive, until_nul};
use cairn_diagnostic::{Diagnostic, Source, Span};

/// The bytes as a text with a name; nothing if they are none. Cairn refuses such files before any
/// reader of this kind sees them.
pub fn source(name: &str, data: &[u8]) -> Option<Source> {
    let text = std::str::from_utf8(data).ok()?;
    Some(Source::new(name, text))
}

/// The parts of the bytes between NULs, as text; where there are fewer, the rest is empty.
pub fn texts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut parts = std::str::from_utf8(data).ok()?.splitn(N, '\0');
    Some(std::array::from_fn(|_| parts.next().unwrap_or_default()))
}

/// Fails unless a place lies in the text and does not cut a character.
#[track_caller]
pub fn assert_inside(source: &Source, span: Span) {
    assert!(
        source.text.get(span.start..span.end).is_some(),
        "{span:?} is no part of {:?}",
        source.text
    );
}

/// Fails unless there are errors, each with a true place and a message, that can be shown.
#[track_caller]
pub fn assert_shown(errors: &[Diagnostic]) {
    assert!(!errors.is_empty(), "refused without an error");
    for error in errors {
        assert!(!error.message.is_empty(), "an error without a message");
        if let Some(label) = &error.label {
            assert_inside(&label.source, label.span);
        }
        assert!(!cairn_diagnostic::render(error).is_empty());
    }
}
