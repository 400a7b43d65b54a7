//! The small languages inside Dockerfiles: mounts, ports, modes, owners, sizes, times, wildcards.
//!
//! The parts are separated by NULs: a text in the language, and a path for the wildcards.
//!
//! - nothing panics;
//! - a mode that is applied stays a mode;
//! - a wildcard without wildcards matches itself, and what a plain reading matches.
#![no_main]

use cairn_diagnostic::Span;
use cairn_dockerfile::ast::Word;
use cairn_dockerfile::chmod::Chmod;
use cairn_dockerfile::chown::Owner;
use cairn_dockerfile::device::Device;
use cairn_dockerfile::expose::Exposed;
use cairn_dockerfile::glob::{self, Glob};
use cairn_dockerfile::mount::MountFlag;
use cairn_dockerfile::{lint, signal, value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([text, path]) = cairn_fuzz::texts(data) else {
        return;
    };
    if let Ok(chmod) = Chmod::parse(text) {
        for mode in [0, 0o644, 0o7777] {
            assert!(chmod.apply(mode, false) <= 0o7777);
            assert!(chmod.apply(mode, true) <= 0o7777);
        }
    }
    let _ = Owner::parse(text);
    let _ = Device::parse(text);
    let _ = Exposed::parse(text);
    let _ = signal::check(text);
    let _ = value::boolean(text);
    let _ = value::bytes(text);
    let _ = value::duration(text);
    let _ = lint::CheckOptions::parse(text);
    let word = Word::new(text.to_owned(), Span::new(0, text.len()));
    if let Ok(mount) = MountFlag::parse(word) {
        let _ = mount.resolve(&mut |word| Ok(word.to_owned()));
    }
    wildcards(text, path);
});

fn wildcards(pattern: &str, path: &str) {
    let (fixed, rest) = glob::split_wildcards(pattern);
    assert!(pattern.len() >= fixed.len() + rest.len());
    let Ok(glob) = Glob::parse(pattern) else {
        return;
    };
    let _ = glob.matches(path);
    if !glob::has_wildcards(pattern) && !pattern.contains('\\') {
        assert!(glob.matches(pattern), "{pattern:?} does not match itself");
        assert_eq!(glob.matches(path), pattern == path);
    }
}
