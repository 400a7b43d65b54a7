//! Brace expansion: `/var/lib/{apt,dpkg}` names two directories in bash, and a script that is meant
//! for bash says so nowhere.

/// A word stands for at most so many.
const WORDS_MAX: usize = 256;

/// The words that a word stands for: itself, if it has no list in braces.
pub fn braces(word: &str) -> Vec<String> {
    let mut open = vec![word.to_owned()];
    let mut done = Vec::new();
    while let Some(word) = open.pop() {
        let Some((start, items, end)) = first_list(&word) else {
            done.push(word);
            continue;
        };
        if open.len() + done.len() + items.len() > WORDS_MAX {
            done.push(word);
            continue;
        }
        let (before, after) = (&word[..start], &word[end..]);
        let words = items.iter().rev();
        open.extend(words.map(|item| format!("{before}{item}{after}")));
    }
    done
}

/// The first `{a,b}` that has no other in it: where it begins, its items, where it ends.
fn first_list(word: &str) -> Option<(usize, Vec<&str>, usize)> {
    let mut start = None;
    for (at, ch) in word.char_indices() {
        match (ch, start) {
            // `${x}` is a variable.
            ('{', _) if word[..at].ends_with('$') => start = None,
            ('{', _) => start = Some(at),
            ('}', Some(begin)) => {
                let inside = &word[begin + 1..at];
                if inside.contains(',') {
                    return Some((begin, inside.split(',').collect(), at + 1));
                }
                start = None;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_spread_and_nothing_else() {
        assert_eq!(braces("/a/{b,c}/d"), ["/a/b/d", "/a/c/d"]);
        assert_eq!(braces("{a,b}{1,2}"), ["a1", "a2", "b1", "b2"]);
        assert_eq!(
            braces("{a,{b,c}}"),
            ["a", "b", "a", "c"],
            "inner lists first"
        );
        for plain in ["/a", "${x,y}", "{}", "{a}", "a{b", "a,b}"] {
            assert_eq!(braces(plain), [plain], "{plain}");
        }
        let many = "{a,b}".repeat(64);
        assert!(braces(&many).len() <= WORDS_MAX);
    }
}
