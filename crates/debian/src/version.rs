//! Debian version numbers, ordered exactly as dpkg orders them.
//!
//! The order decides which package is installed, so it follows `deb-version(7)` to the letter:
//! epoch, then upstream version, then revision; inside a part runs of non-digits and of digits
//! alternate, `~` sorts before everything, even the end, and letters sort before other signs.

use std::cmp::Ordering;
use std::fmt;

/// A version number; borrowed text, compared by meaning.
#[derive(Clone, Copy)]
pub struct Version<'a>(pub &'a str);

impl<'a> Version<'a> {
    fn parts(self) -> (u64, &'a str, &'a str) {
        let text = self.0.trim();
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }

    /// The version without its epoch, as it stands in file names.
    #[must_use]
    pub fn without_epoch(self) -> &'a str {
        self.0.split_once(':').map_or(self.0, |(_, rest)| rest)
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        let (epoch, upstream, revision) = self.parts();
        let (other_epoch, other_upstream, other_revision) = other.parts();
        epoch
            .cmp(&other_epoch)
            .then_with(|| compare_part(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare_part(revision.as_bytes(), other_revision.as_bytes()))
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version<'_> {}

impl fmt::Display for Version<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl fmt::Debug for Version<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    loop {
        let order = compare_signs(&mut left, &mut right);
        if order.is_ne() {
            return order;
        }
        let order = compare_number(&mut left, &mut right);
        if order.is_ne() || (left.is_empty() && right.is_empty()) {
            return order;
        }
    }
}

/// Compares and consumes the leading non-digits of both.
fn compare_signs(left: &mut &[u8], right: &mut &[u8]) -> Ordering {
    loop {
        let (a, b) = (weight(left.first()), weight(right.first()));
        if a != b {
            return a.cmp(&b);
        }
        if a == 0 {
            return Ordering::Equal;
        }
        *left = &left[1..];
        *right = &right[1..];
    }
}

/// The sorting weight of a sign: `~` before the end (or a digit), letters before the rest.
fn weight(sign: Option<&u8>) -> i32 {
    match sign {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

/// Compares and consumes the leading digits of both, as numbers of any length.
fn compare_number(left: &mut &[u8], right: &mut &[u8]) -> Ordering {
    let (a, b) = (take_number(left), take_number(right));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits
        .iter()
        .position(|c| *c != b'0')
        .unwrap_or(digits.len());
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::Version;
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn versions_compare_as_dpkg_compares_them() {
        let cases = [
            ("1.0", "1.0", Equal),
            ("1.0", "1.0-0", Equal),
            ("0:1.0", "1.0", Equal),
            ("1.00", "1.0", Equal),
            ("1.2", "1.10", Less),
            ("1:0.1", "9.9", Greater),
            ("1.0~rc1", "1.0", Less),
            ("1.0~rc1-1", "1.0~rc1~2", Greater),
            ("1.0~~", "1.0~", Less),
            ("1.0+b1", "1.0", Greater),
            ("1.0a", "1.0+", Less),
            ("2.36-9+deb12u14", "2.36-9+deb12u9", Greater),
            ("12.4+deb12u15", "12.4+deb12u2", Greater),
            ("1.2.3-1~bpo12+1", "1.2.3-1", Less),
            ("20240203~deb12u1", "20240203", Less),
            ("5.36.0-7+deb12u3", "5.36.0-7", Greater),
            ("1-2-3", "1-2-4", Less),
            ("18446744073709551617", "18446744073709551616", Greater),
            ("1.a", "1.1", Greater),
        ];
        for (left, right, expected) in cases {
            assert_eq!(
                Version(left).cmp(&Version(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                Version(right).cmp(&Version(left)),
                expected.reverse(),
                "{right} {left}"
            );
        }
    }

    #[test]
    fn the_epoch_is_not_part_of_a_file_name() {
        assert_eq!(Version("1:2.3-4").without_epoch(), "2.3-4");
        assert_eq!(Version("2.3-4").without_epoch(), "2.3-4");
    }
}
