//! Values that must never be shown, wherever they turn up.

/// What stands in place of a secret's value.
const MASK: &str = "***";
/// Shorter values are not masked: they would hide half of every log.
const SECRET_MIN: usize = 4;

/// The values that must never be shown.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Takes the values of all secrets of a run, for a step may have kept one where another finds
    /// it. A value of several lines is masked by line.
    pub fn new<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut parts: Vec<String> = values
            .flat_map(|value| {
                String::from_utf8_lossy(value)
                    .lines()
                    .map(|line| line.trim().to_owned())
                    .collect::<Vec<_>>()
            })
            .filter(|part| part.len() >= SECRET_MIN)
            .collect();
        // The longest first, so that a secret that holds another is masked whole.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Self(parts)
    }

    /// Replaces every secret value in a line.
    pub fn mask(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, secret| {
            if line.contains(secret.as_str()) {
                line.replace(secret.as_str(), MASK)
            } else {
                line
            }
        })
    }

    /// Stars out every secret value of a text; all else keeps its place.
    pub fn star_out(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            match text.contains(secret.as_str()) {
                true => text.replace(secret.as_str(), &"*".repeat(secret.len())),
                false => text,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_even_inside_each_other() {
        let secrets = Secrets::new([b"toke".as_slice(), b"token-1\nsecond\n", b"x"].into_iter());
        assert_eq!(
            secrets.mask("a token-1 b second x tok token"),
            "a *** b *** x tok ***n"
        );
    }

    #[test]
    fn a_text_that_is_pointed_into_keeps_its_places() {
        let secrets = Secrets::new([b"hunter2".as_slice()].into_iter());
        assert_eq!(secrets.star_out("a=hunter2 b"), "a=******* b");
    }
}
