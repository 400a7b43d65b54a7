//! Rust text with everything blanked that is not shipped code.
//!
//! The rules look for words, and a word in a comment, a string or a test means nothing. A full
//! parser would be a large dependency for that; this lexer knows comments, strings, characters
//! and `#[cfg(test)]` items, keeps every line where it was, and is right for code that compiles.

use std::collections::BTreeSet;

/// Blanks comments and the contents of strings and characters.
pub(crate) fn without_text(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip_text(bytes, at);
        if end > at {
            blank(&mut out[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    into_text(out)
}

/// Blanks, in text that [`without_text`] made, every item under `#[cfg(test)]`.
///
/// Gives the names of modules that are declared there and live in files of their own.
pub(crate) fn without_tests(code: &str) -> (String, BTreeSet<String>) {
    let mut out = code.as_bytes().to_vec();
    let mut modules = BTreeSet::new();
    let mut from = 0;
    while let Some(found) = next_test_attribute(&code[from..]) {
        let start = from + found;
        let end = item_end(code.as_bytes(), start);
        if let Some(name) = declared_module(&code[start..end]) {
            modules.insert(name);
        }
        blank(&mut out[start..end]);
        from = end;
    }
    (into_text(out), modules)
}

/// The end of the comment, string or character that begins at `at`; `at` when none does.
fn skip_text(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
        b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
        b'"' => string_end(bytes, at),
        b'\'' => character_end(bytes, at),
        b'r' if !continues_word(bytes, at) => raw_string_end(bytes, at),
        _ => at,
    }
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// `r"..."` and `r##"..."##`; a raw identifier (`r#type`) is no string. In `br"..."` the `b` has
/// been passed already, so the `r` continues a word only for the checker that asks.
fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return at;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|w| w == close);
    length.map_or(bytes.len(), |length| open + 1 + length + close.len())
}

/// Tells a character from a lifetime: a character closes after one (maybe escaped) character.
fn character_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let rest = &bytes[(at + 3).min(bytes.len())..];
        return rest
            .iter()
            .position(|&b| b == b'\'')
            .map_or(bytes.len(), |p| at + 3 + p + 1);
    }
    let width = match bytes.get(at + 1) {
        Some(&lead) if lead >= 0xf0 => 4,
        Some(&lead) if lead >= 0xe0 => 3,
        Some(&lead) if lead >= 0xc0 => 2,
        Some(_) => 1,
        None => return at,
    };
    match bytes.get(at + 1 + width) {
        Some(b'\'') => at + 2 + width,
        _ => at,
    }
}

fn continues_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|i| bytes[i]);
    // The `b` and `c` of `br"` and `cr"` may stand before the `r`.
    match before {
        Some(b'b' | b'c') => at >= 2 && is_word(bytes[at - 2]),
        Some(byte) => is_word(byte),
        None => false,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn next_test_attribute(code: &str) -> Option<usize> {
    ["#[cfg(test)]", "#[cfg(all(test", "#[test]"]
        .iter()
        .filter_map(|attribute| code.find(attribute))
        .min()
}

/// The end of the item whose attributes begin at `start`: its `;`, or the brace that closes it.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (i, &byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i + 1;
                }
            }
            b';' | b',' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// `mod name;` at the end of an item's text.
fn declared_module(item: &str) -> Option<String> {
    let before = item.trim_end().strip_suffix(';')?;
    let (rest, name) = before.trim_end().rsplit_once(char::is_whitespace)?;
    let is_module = rest.trim_end().ends_with("mod");
    is_module.then(|| name.to_owned())
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        // A blanked range always covers whole characters; should it not, the rest still matters.
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, gone: &[&str], kept: &[&str]) {
        let (code, _) = without_tests(&without_text(source));
        assert_eq!(code.lines().count(), source.lines().count());
        for word in gone {
            assert!(!code.contains(word), "{word} is still in {code:?}");
        }
        for word in kept {
            assert!(code.contains(word), "{word} is not in {code:?}");
        }
    }

    #[test]
    fn comments_and_strings_go() {
        check(
            "a // b\nc /* d /* e */ f */ g",
            &["b", "d", "f"],
            &["a", "c", "g"],
        );
        check(r#"let a = "b \" c"; d"#, &["b", "c"], &["a", "d"]);
        check("let a = r#\"b \" c\"#; d", &["b", "c"], &["a", "d"]);
        check("let a = br\"b\\\"; d", &["\\"], &["a", "d"]);
    }

    #[test]
    fn characters_are_not_lifetimes() {
        check("fn a<'b>(c: &'b str) { '\"' }; d", &["\""], &["'b", "d"]);
        check(r"let a = '\''; b", &[r"\"], &["a", "b"]);
        check("let a = 'ß'; b", &["ß"], &["a", "b"]);
        check("for r in rows {} // x", &["x"], &["r in rows"]);
    }

    #[test]
    fn tests_go_with_everything_in_them() {
        check(
            "a\n#[cfg(test)]\nmod tests {\n  fn b() { c[1]; }\n}\nd",
            &["b", "c"],
            &["a", "d"],
        );
        check("#[cfg(test)]\nuse b;\nd", &["b"], &["d"]);
        check(
            "#[cfg(test)]\n#[derive(E)]\nstruct B { c: D, }\nf",
            &["E", "c"],
            &["f"],
        );
    }

    #[test]
    fn test_modules_in_files_are_named() {
        let (_, modules) = without_tests("#[cfg(test)]\nmod shapes;\n#[cfg(test)]\nmod b {}\n");
        assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["shapes"]);
    }
}
