//! "Did you mean": the nearest of the known words, as BuildKit chooses it.

/// A word further away than this many edits is no suggestion.
const DISTANCE_MAX: usize = 2;

/// Finds the known word nearest to one that is not known; case does not count.
///
/// Nothing is suggested for a word that is itself among the options.
pub fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let option = option.as_ref();
        let distance = strsim::levenshtein(&word, &option.to_lowercase());
        if distance == 0 {
            return None;
        }
        if distance <= DISTANCE_MAX && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

/// A suggestion behind a message: ` (did you mean X?)`, or nothing.
pub fn in_words(near: Option<&str>) -> String {
    near.map(|word| format!(" (did you mean {word}?)"))
        .unwrap_or_default()
}

/// Finds the known word nearest to one that is not known; case counts, as it does for variables.
pub fn nearest_variable<'a>(
    name: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let distance = strsim::levenshtein(name, option);
        if distance == 0 {
            return None;
        }
        if distance <= DISTANCE_MAX && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_near_words_only() {
        let options = ["FROM", "RUN", "COPY"];
        assert_eq!(nearest("FORM", options.iter()), Some("FROM"));
        assert_eq!(nearest("copi", options.iter()), Some("COPY"));
        assert_eq!(nearest("VOLUME", options.iter()), None);
        assert_eq!(nearest("run", options.iter()), None, "known already");
        assert_eq!(nearest_variable("PAHT", ["PATH", "HOME"]), Some("PATH"));
        assert_eq!(nearest_variable("path", ["PATH"]), None, "another variable");
    }
}
