//! Package files of Debian: an `ar` archive with two tar archives in it.
//!
//! The input is a row of members, name and bytes, each up to a NUL; the bytes of a member whose name ends
//! with `.tar` are entries with `|` for NUL (`cairn_fuzz::archive`). An input that begins with `=` is a
//! package file as it stands.
//!
//! - nothing panics, and a small file takes little memory;
//! - what is taken for a package has a control text.
#![no_main]

use cairn_fuzz::{archive, until_nul};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let package = match data.strip_prefix(b"=") {
        Some(raw) => raw.to_vec(),
        None => package(data),
    };
    if let Ok(control) = cairn_debian::fuzzing::read_package(&package) {
        assert!(!control.is_empty(), "a package that says nothing of itself");
    }
});

fn package(mut data: &[u8]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    while !data.is_empty() {
        let (name, rest) = until_nul(data);
        let (bytes, rest) = until_nul(rest);
        data = rest;
        let name = String::from_utf8_lossy(name);
        let bytes = if name.ends_with(".tar") {
            let entries = bytes
                .iter()
                .map(|byte| if *byte == b'|' { 0 } else { *byte });
            archive(&entries.collect::<Vec<u8>>())
        } else {
            bytes.to_vec()
        };
        let len = bytes.len();
        out.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n",
                0, 0, 0, "100644"
            )
            .bytes(),
        );
        out.extend(bytes);
        if len % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}
