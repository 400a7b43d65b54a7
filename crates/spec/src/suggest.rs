//! "Did you mean": the nearest of the known words.

/// The known word nearest to one that is not known, if any is near enough.
///
/// The longer the word, the more may be wrong with it. A word of which one is the beginning of
/// the other counts as near (`net` and `network`).
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let edits_max = (word.chars().count() / 3).clamp(1, 3);
    let score = |candidate: &str| {
        let edits = strsim::damerau_levenshtein(word, candidate);
        let begins = word.len() >= 3
            && candidate.len() >= 3
            && (candidate.starts_with(word) || word.starts_with(candidate));
        match (edits <= edits_max, begins) {
            (true, _) => Some(edits),
            (false, true) => Some(edits_max + 1),
            (false, false) => None,
        }
    };
    known
        .into_iter()
        .filter_map(|candidate| Some((score(candidate)?, candidate)))
        .min_by_key(|&(score, _)| score)
        .map(|(_, candidate)| candidate)
}

/// Joins words for a message: `` `a`, `b` ``.
pub(crate) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_enough() {
        let known = ["context", "dockerfile", "network", "args"];
        assert_eq!(nearest("contxt", known), Some("context"));
        assert_eq!(nearest("net", known), Some("network"), "a beginning");
        assert_eq!(nearest("arsg", known), Some("args"), "swapped letters");
        assert_eq!(nearest("registries", known), None);
        assert_eq!(nearest("x", ["a"]), Some("a"), "one letter for another");
    }
}
