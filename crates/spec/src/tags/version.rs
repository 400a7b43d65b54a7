//! Versions as git tags name them: semantic ones and those of the calendar, padded or not.

use std::cmp::Ordering;

/// A version: numbers with dots between them, maybe something before a release, maybe a build.
///
/// `v1.2.3`, `2026.02.19`, `1.2.3-rc.1`, `1.2.0rc1`, `1.2.3.4` and `2026.3` are versions; the
/// text is kept as it is written, so a zero in front of a month stays there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As written, without a `v` in front.
    pub text: String,
    /// The numbers as written, two to four of them.
    pub numbers: Vec<String>,
    /// What makes it no release: a phase before one, or Python's `post` after one.
    pub prerelease: Option<String>,
}

impl Version {
    /// Reads a version; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let without_build = text.split_once('+').map_or(text, |(version, _)| version);
        let end = without_build
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(without_build.len());
        let (numbers, rest) = without_build.split_at(end);
        // `1.2.dev1`: the dot belongs to what follows.
        let numbers = numbers.strip_suffix('.').unwrap_or(numbers);
        let numbers: Vec<String> = numbers.split('.').map(str::to_owned).collect();
        let is_number = |part: &String| !part.is_empty() && part.len() <= 18;
        if !(2..=4).contains(&numbers.len()) || !numbers.iter().all(is_number) {
            return None;
        }
        let prerelease = match rest {
            "" => None,
            rest => {
                let name = rest.trim_start_matches(['-', '.', '_']);
                let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && name
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
                // Without a `-`, only what Python writes counts: `1.2rc1`, `1.2.dev3`.
                let python = ["a", "b", "c", "rc", "dev", "alpha", "beta", "pre", "post"];
                let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
                if !good || !(rest.starts_with('-') || python.contains(&word)) {
                    return None;
                }
                Some(name.to_owned())
            }
        };
        Some(Self {
            text: text.to_owned(),
            numbers,
            prerelease,
        })
    }

    /// Whether it is a release, and not something before or after one.
    pub fn is_release(&self) -> bool {
        self.prerelease.is_none()
    }

    /// Orders by number; something before a release comes before it. Numbers that differ only in
    /// zeros in front are equal.
    pub fn order(&self, other: &Self) -> Ordering {
        let numbers = self.values().cmp(&other.values());
        numbers.then_with(|| match (&self.prerelease, &other.prerelease) {
            (None, None) => Ordering::Equal,
            (None, Some(other)) if is_post(other) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), None) if is_post(one) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(two)) => {
                let phases = is_post(one).cmp(&is_post(two));
                phases.then_with(|| identifiers(one).cmp(&identifiers(two)))
            }
        })
    }

    fn values(&self) -> [u64; 4] {
        let mut values = [0; 4];
        for (value, number) in values.iter_mut().zip(&self.numbers) {
            *value = number.parse().unwrap_or(u64::MAX);
        }
        values
    }
}

/// `post1`, which Python puts after a release.
fn is_post(phase: &str) -> bool {
    phase.trim_end_matches(|c: char| c.is_ascii_digit()) == "post"
}

/// The parts of what stands before a release: `rc.10` is after `rc.9`, a number before a word.
fn identifiers(text: &str) -> Vec<(&str, u64)> {
    let parts = text.split(['.', '-']);
    let identifiers = parts.map(|part| {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
        (word, part[word.len()..].parse().unwrap_or(0))
    });
    identifiers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text} is a version"))
    }

    #[test]
    fn versions_are_read_as_written() {
        for (text, numbers, prerelease) in [
            ("v1.2.3", "1 2 3", None),
            ("2026.02.19", "2026 02 19", None),
            ("2026.3", "2026 3", None),
            ("1.2.3.4", "1 2 3 4", None),
            ("1.2.3-rc.1", "1 2 3", Some("rc.1")),
            ("1.2.0rc1", "1 2 0", Some("rc1")),
            ("1.2.dev3", "1 2", Some("dev3")),
            ("1.2.post1", "1 2", Some("post1")),
            ("1.2.3+build.5", "1 2 3", None),
            ("1.2.3-beta+x", "1 2 3", Some("beta")),
        ] {
            let version = version(text);
            assert_eq!(version.numbers.join(" "), numbers, "{text}");
            assert_eq!(version.prerelease.as_deref(), prerelease, "{text}");
        }
        for text in [
            "",
            "v1",
            "1",
            "latest",
            "1.2.3.4.5",
            "1..2",
            "v1.x",
            "1.2.3_4",
            "1.2foo",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let order = [
            "1.2.0-alpha",
            "1.2.0-alpha.1",
            "1.2.0-rc.2",
            "1.2.0-rc.10",
            "1.2.0",
            "1.2.0.post1",
            "1.2.0.post10",
            "1.10.0",
            "2026.2.19",
            "2026.10.1",
        ];
        for pair in order.windows(2) {
            let order = version(pair[0]).order(&version(pair[1]));
            assert_eq!(order, Ordering::Less, "{pair:?}");
        }
        let order = |one, two| version(one).order(&version(two));
        assert_eq!(order("1.0rc2", "1.0rc10"), Ordering::Less);
        assert_eq!(
            order("2026.02.19", "2026.2.19"),
            Ordering::Equal,
            "zeros in front"
        );
    }
}
