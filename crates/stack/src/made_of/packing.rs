//! Long lists of files as a text that a registry takes: sorted lines, compressed. Digests are cut:
//! they tell here which file it was, not whether something changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_store::ContentDigest;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// So many digits of a digest are kept: one in four thousand million files goes unnamed.
const DIGITS: usize = 8;
/// What marks a digest that was cut; no other text of a list begins so.
const CUT: char = '#';
/// A document cannot make us unpack more.
const BYTES_MAX: u64 = 64 << 20;

/// Packs a list.
pub(super) fn pack(files: &BTreeMap<String, String>) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let mut written = Ok(());
    for (name, what) in files {
        let name = escaped(name);
        written = written.and_then(|()| writeln!(encoder, "{name}\t{}", &cut(what)[1..]));
    }
    let packed = written.and_then(|()| encoder.finish());
    packed.map_or_else(|_| String::new(), |packed| STANDARD.encode(packed))
}

/// The list that was packed, with digests that are cut; nothing where the text is none.
pub(super) fn unpack(packed: &str) -> BTreeMap<String, String> {
    let bytes = STANDARD.decode(packed).unwrap_or_default();
    let mut text = String::new();
    let mut decoder = DeflateDecoder::new(bytes.as_slice()).take(BYTES_MAX);
    if decoder.read_to_string(&mut text).is_err() {
        return BTreeMap::new();
    }
    let lines = text.split('\n').filter_map(|line| line.split_once('\t'));
    lines
        .map(|(name, digits)| (unescaped(name), format!("{CUT}{digits}")))
        .collect()
}

/// A name on one line and without a tab, whatever is in it; most names stay as they are.
fn escaped(name: &str) -> Cow<'_, str> {
    match name.contains(['\n', '\t', '\\']) {
        true => {
            let name = name.replace('\\', "\\\\");
            Cow::from(name.replace('\n', "\\n").replace('\t', "\\t"))
        }
        false => Cow::from(name),
    }
}

fn unescaped(name: &str) -> String {
    let mut made = String::new();
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        let meant = match c {
            '\\' => rest.next(),
            c => {
                made.push(c);
                continue;
            }
        };
        match meant {
            Some('n') => made.push('\n'),
            Some('t') => made.push('\t'),
            Some('\\') => made.push('\\'),
            // As an older list has it, in which names are written as they are.
            Some(other) => made.extend(['\\', other]),
            None => made.push('\\'),
        }
    }
    made
}

/// Whether two digests are the same as far as they are known.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one == other || cut(one) == cut(other)
}

fn cut(what: &str) -> String {
    if what.starts_with(CUT) {
        return what.to_owned();
    }
    let digest = ContentDigest::of(what.as_bytes()).to_string();
    let digits: String = digest.chars().take(DIGITS).collect();
    format!("{CUT}{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back() {
        let names = [
            "a",
            "b/c d",
            "odd\nname",
            "odd\r",
            "t\tab",
            "\\n",
            "\\",
            "b\\\n\t\\t",
            "\n",
            " ",
            "\u{2028}",
        ];
        let files = names.map(|name| (name.to_owned(), "644 x".to_owned()));
        let unpacked = unpack(&pack(&files.into_iter().collect()));
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        assert_eq!(unpacked.keys().collect::<Vec<_>>(), sorted);
        assert!(is_same(&unpacked["a"], "644 x"));
        assert!(!is_same(&unpacked["a"], "755 x"));
        assert!(!is_same("644 x", "644 y"));
        assert_eq!(unpack("no base64!"), BTreeMap::new());
        assert_eq!(unpack(""), BTreeMap::new());
    }
}
