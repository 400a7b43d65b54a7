//! Versions as Python's packaging spells them: one spelling for each version (PEP 440).

/// The words of a phase before a release, and the one that stands for them.
const PHASES: [(&str, &str); 8] = [
    ("alpha", "a"),
    ("beta", "b"),
    ("preview", "rc"),
    ("pre", "rc"),
    ("rc", "rc"),
    ("a", "a"),
    ("b", "b"),
    ("c", "rc"),
];

/// The normal spelling of a version: `1.2rc1` of `v1.2-RC.1`; nothing if it is none.
pub(crate) fn normal(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let text = lower.strip_prefix('v').unwrap_or(&lower);
    let (text, local) = match text.split_once('+') {
        Some((text, local)) => (text, Some(local)),
        None => (text, None),
    };
    let (epoch, text) = match text.split_once('!') {
        Some((epoch, text)) => (number(epoch)?, text),
        None => ("0".to_owned(), text),
    };
    let mut rest = Rest(text);
    let mut made = match epoch.as_str() {
        "0" => String::new(),
        epoch => format!("{epoch}!"),
    };
    made.push_str(&number(rest.digits())?);
    while let Some(behind) = rest.0.strip_prefix('.') {
        let mut part = Rest(behind);
        let digits = part.digits();
        if digits.is_empty() {
            break;
        }
        made.push('.');
        made.push_str(&number(digits)?);
        rest = part;
    }
    if let Some((phase, count)) = rest.phase(&PHASES) {
        made.push_str(&format!("{phase}{count}"));
    }
    let after = [("post", "post"), ("rev", "post"), ("r", "post")];
    let implicit = rest.0.strip_prefix('-').map(Rest).and_then(|mut behind| {
        let digits = behind.digits();
        (!digits.is_empty()).then_some((digits, behind))
    });
    if let Some((digits, behind)) = implicit {
        rest = behind;
        made.push_str(&format!(".post{}", number(digits)?));
    } else if let Some((_, count)) = rest.phase(&after) {
        made.push_str(&format!(".post{count}"));
    }
    if let Some((_, count)) = rest.phase(&[("dev", "dev")]) {
        made.push_str(&format!(".dev{count}"));
    }
    if let Some(local) = local {
        let parts: Option<Vec<String>> = local.split(['.', '-', '_']).map(local_part).collect();
        made.push_str(&format!("+{}", parts?.join(".")));
    }
    rest.0.is_empty().then_some(made)
}

/// A number without zeros in front.
fn number(digits: &str) -> Option<String> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let short = digits.trim_start_matches('0');
    is_number.then(|| if short.is_empty() { "0" } else { short }.to_owned())
}

fn local_part(part: &str) -> Option<String> {
    let is_word = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| number(part).unwrap_or_else(|| part.to_owned()))
}

/// What is not read yet.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    fn digits(&mut self) -> &'t str {
        let text = self.0;
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        self.0 = &text[end..];
        &text[..end]
    }

    /// One of some words with its count, which is 0 where none is written; separators may stand
    /// before both.
    fn phase(&mut self, words: &[(&str, &'static str)]) -> Option<(&'static str, String)> {
        let without_separator = |text: &'t str| text.strip_prefix(['.', '-', '_']).unwrap_or(text);
        let text = without_separator(self.0);
        let (word, meant) = words.iter().find(|(word, _)| text.starts_with(word))?;
        let behind = &text[word.len()..];
        let mut count = Self(without_separator(behind));
        let digits = count.digits();
        let (rest, count) = match number(digits) {
            Some(number) => (count.0, number),
            None => (behind, "0".to_owned()),
        };
        self.0 = rest;
        Some((meant, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_one_spelling() {
        for (written, spelled) in [
            ("1.2.3", Some("1.2.3")),
            ("v1.02.3", Some("1.2.3")),
            ("2026.02.19", Some("2026.2.19")),
            ("1.2.3-RC.1", Some("1.2.3rc1")),
            ("1.2.3-beta", Some("1.2.3b0")),
            ("1.2.3_alpha_02", Some("1.2.3a2")),
            ("1.2.3c4", Some("1.2.3rc4")),
            ("1.2pre1", Some("1.2rc1")),
            ("1.0-1", Some("1.0.post1")),
            ("1.0.rev2", Some("1.0.post2")),
            ("1.0.post", Some("1.0.post0")),
            ("1.2.dev3", Some("1.2.dev3")),
            ("1.2rc1.post2-dev", Some("1.2rc1.post2.dev0")),
            ("1!2.0", Some("1!2.0")),
            ("0!2.0", Some("2.0")),
            ("1.0+Ubuntu-01", Some("1.0+ubuntu.1")),
            ("7", Some("7")),
            ("1.2.", None),
            ("1.2.x", None),
            ("main", None),
            ("1.2.3-4-g1234567", None),
            ("", None),
        ] {
            assert_eq!(normal(written).as_deref(), spelled, "{written}");
        }
    }
}
