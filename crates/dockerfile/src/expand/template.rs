//! The replacement of `${x//pattern/replacement}`: text, `$0` for what matched, `$$` for a `$`.
//!
//! BuildKit hands it to Go's `Regexp.ReplaceAllString`, so it is a template as Go's
//! `Regexp.Expand` has it: `$name` and `${name}`, where a name is letters, digits and `_`, as many
//! as there are. Patterns have no groups, so that every name but `0` stands for nothing. What is no
//! such reference is text. A template is read once, and each use costs what it makes.

/// A replacement, read.
pub(super) struct Template {
    /// The text before, between and behind the places where what matched is put.
    texts: Vec<String>,
}

impl Template {
    pub(super) fn read(text: &str) -> Self {
        let mut texts = vec![String::new()];
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let last = texts.last_mut().expect("there is always one");
            last.push_str(&rest[..at]);
            let behind = &rest[at + 1..];
            rest = behind;
            if let Some(other) = behind.strip_prefix('$') {
                last.push('$');
                rest = other;
            } else if let Some((name, other)) = reference(behind) {
                if name == "0" {
                    texts.push(String::new());
                }
                rest = other;
            } else {
                last.push('$');
            }
        }
        let last = texts.last_mut().expect("there is always one");
        last.push_str(rest);
        Self { texts }
    }

    /// Writes the replacement of one match.
    pub(super) fn write(&self, matched: &str, out: &mut String) {
        for (number, text) in self.texts.iter().enumerate() {
            if number > 0 {
                out.push_str(matched);
            }
            out.push_str(text);
        }
    }
}

/// The name at the start of what follows a `$`, and what is behind it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (bare, is_braced) = match text.strip_prefix('{') {
        Some(bare) => (bare, true),
        None => (text, false),
    };
    let end = bare.find(|ch: char| !ch.is_alphanumeric() && ch != '_');
    let (name, rest) = bare.split_at(end.unwrap_or(bare.len()));
    if name.is_empty() {
        return None;
    }
    match is_braced {
        true => rest.strip_prefix('}').map(|rest| (name, rest)),
        false => Some((name, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        let mut out = String::new();
        Template::read(template).write("ab", &mut out);
        assert_eq!(out, expected, "{template:?}");
    }

    #[test]
    fn references_are_those_of_go() {
        check("x", "x");
        check("<$0>", "<ab>");
        check("<${0}${0}>", "<abab>");
        check("<$1>", "<>");
        check("<$0x>", "<>");
        check("<$name-$né>", "<->");
        check("$$0", "$0");
        check("$$$0", "$ab");
        check("a$", "a$");
        check("a$-b", "a$-b");
        check("${0", "${0");
        check("${}", "${}");
        check("${a b}", "${a b}");
        check("$$$", "$$");
        check("", "");
    }

    #[test]
    fn what_is_no_reference_is_read_once() {
        // Every `${` here begins one that nothing ends.
        let text = "${".repeat(1 << 17);
        let mut out = String::new();
        Template::read(&text).write("", &mut out);
        assert_eq!(out, text);
    }
}
