//! A path or macro to look for in code, matched at the borders of words.

/// Where `pattern` stands in `code` as whole words; gives lines, from 1, each once.
///
/// A pattern that ends in `!`, `:` or `(` has its border there; spaces are not skipped, because
/// rustfmt has already decided where they are.
pub(crate) fn lines_with(code: &str, pattern: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| contains(line, pattern))
        .map(|(index, _)| index + 1)
        .collect()
}

fn contains(line: &str, pattern: &str) -> bool {
    let mut from = 0;
    while let Some(found) = line[from..].find(pattern) {
        let start = from + found;
        let end = start + pattern.len();
        let open = !line[..start].ends_with(is_word);
        let close = !pattern.ends_with(is_word) || !line[end..].starts_with(is_word);
        if open && close {
            return true;
        }
        from = end;
    }
    false
}

/// Lines, from 1, that name `module` of `std`, by path or in a `use std::{...}` list.
///
/// `use std::{fs, io};` names `fs` without ever saying `std::fs`.
pub(crate) fn lines_with_std(code: &str, module: &str) -> Vec<usize> {
    let mut lines = lines_with(code, &format!("std::{module}"));
    for (start, _) in code.match_indices("use std::{") {
        let list = &code[start..];
        let list = &list[..list.find(';').unwrap_or(list.len())];
        if contains_item(list, module) {
            lines.push(code[..start].matches('\n').count() + 1);
        }
    }
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// Whether a module stands first in an item of a `use` list: `{fs, io::Read}` has `fs` and `io`.
fn contains_item(list: &str, module: &str) -> bool {
    list.split(['{', ','])
        .map(|item| item.trim().split("::").next().unwrap_or_default())
        .any(|first| first.trim_end_matches(|c: char| !is_word(c)) == module)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_borders() {
        assert_eq!(lines_with("a\nprintln!()\neprintln!()", "println!"), [2]);
        assert_eq!(
            lines_with("std::fsx\nstd::fs\nstd::fs::read", "std::fs"),
            [2, 3]
        );
        assert_eq!(lines_with("unsafe_code\nunsafe {", "unsafe"), [2]);
    }

    #[test]
    fn lists_are_opened() {
        assert_eq!(lines_with_std("x\nuse std::{fs, io};", "fs"), [2]);
        assert_eq!(lines_with_std("use std::{\n    fs::File,\n};", "fs"), [1]);
        assert_eq!(lines_with_std("use std::{fmt, io};", "fs"), [0_usize; 0]);
        assert_eq!(lines_with_std("std::fs::read(a)", "fs"), [1]);
    }
}
