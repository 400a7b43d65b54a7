//! "Did you mean": the nearest of the known words, as BuildKit chooses it.

/// A word further away than this many edits is no suggestion.
const DISTANCE_MAX: usize = 2;

/// Finds the known word nearest to one that is not known; case does not count.
///
/// Nothing is suggested for a word that is itself among the options. Of options that are equally
/// near, one with the same letters is meant: letters change places more often than they turn into
/// others.
pub fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut best: Option<((usize, bool), &str)> = None;
    for option in options {
        let option = option.as_ref();
        let known = option.to_lowercase();
        let distance = strsim::levenshtein(&word, &known);
        if distance == 0 {
            return None;
        }
        let place = (distance, letters(&word) != letters(&known));
        if distance <= DISTANCE_MAX && best.is_none_or(|(least, _)| place < least) {
            best = Some((place, option));
        }
    }
    best.map(|(_, option)| option)
}

/// The letters of a word in order.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
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
        assert_eq!(nearest("chwon", ["chmod", "chown"]), Some("chown"));
        assert_eq!(nearest_variable("PAHT", ["PATH", "HOME"]), Some("PATH"));
        assert_eq!(nearest_variable("path", ["PATH"]), None, "another variable");
    }
}
