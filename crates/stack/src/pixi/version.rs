//! Whether a version is one that is asked for, where numbers alone decide it.

use std::cmp::Ordering;

/// Whether a requirement of conda or PyPI allows a version; nothing where letters, epochs or
/// brackets are in it, for both have rules of their own for these.
pub(super) fn allows(wanted: &str, version: &str) -> Option<bool> {
    if wanted.contains('(') {
        return None;
    }
    let choices: Vec<Option<bool>> = wanted
        .split('|')
        .map(|choice| {
            let parts = choice.split(',');
            let verdicts: Vec<_> = parts.map(|part| allows_one(part.trim(), version)).collect();
            match verdicts.contains(&Some(false)) {
                true => Some(false),
                false => verdicts
                    .into_iter()
                    .all(|it| it == Some(true))
                    .then_some(true),
            }
        })
        .collect();
    match choices.contains(&Some(true)) {
        true => Some(true),
        false => choices.iter().all(|it| *it == Some(false)).then_some(false),
    }
}

fn allows_one(wanted: &str, version: &str) -> Option<bool> {
    if wanted.is_empty() || wanted == "*" {
        return Some(true);
    }
    let version = numbers(version)?;
    let operators = [">=", "<=", "==", "!=", "~=", ">", "<", "="];
    let operator = operators.into_iter().find(|it| wanted.starts_with(it));
    let number = wanted[operator.map_or(0, str::len)..].trim();
    let (number, is_prefix) = match number.strip_suffix(".*").or(number.strip_suffix('*')) {
        Some(short) => (numbers(short.trim_end_matches('.'))?, true),
        None => (numbers(number)?, operator == Some("=")),
    };
    let has_prefix = || {
        let padded = version.iter().copied().chain(std::iter::repeat(0));
        padded.zip(&number).all(|(have, want)| have == *want)
    };
    let order = compare(&version, &number);
    match operator {
        Some(">=") => Some(order.is_ge()),
        Some("<=") => Some(order.is_le()),
        Some(">") => Some(order.is_gt()),
        Some("<") => Some(order.is_lt()),
        Some("!=") => Some(if is_prefix {
            !has_prefix()
        } else {
            order.is_ne()
        }),
        Some("~=") => {
            let (_, prefix) = number.split_last()?;
            let same = version.iter().chain(std::iter::repeat(&0)).zip(prefix);
            Some(order.is_ge() && same.into_iter().all(|(have, want)| have == want))
        }
        _ => Some(if is_prefix {
            has_prefix()
        } else {
            order.is_eq()
        }),
    }
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// Missing numbers are zeros.
fn compare(one: &[u64], other: &[u64]) -> Ordering {
    let length = one.len().max(other.len());
    let padded = |numbers: &[u64]| -> Vec<u64> {
        let zeros = std::iter::repeat(0);
        numbers.iter().copied().chain(zeros).take(length).collect()
    };
    padded(one).cmp(&padded(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_decide_and_nothing_else() {
        for (wanted, version, verdict) in [
            ("*", "1.2b3", Some(true)),
            ("==3.12", "3.12.0", Some(true)),
            ("==3.12", "3.12.1", Some(false)),
            ("3.12.*", "3.12.9", Some(true)),
            ("=3.1", "3.12.9", Some(false)),
            (">=3.9.15,<3.10", "3.9.18", Some(true)),
            (">=3.9.15,<3.10", "3.10.0", Some(false)),
            ("<7", "7.0", Some(false)),
            (">=1|==0.5", "0.5", Some(true)),
            (">=1|==0.5", "0.6", Some(false)),
            ("~=1.4.2", "1.4.9", Some(true)),
            ("~=1.4.2", "1.5.0", Some(false)),
            ("!=1.5", "1.5.0", Some(false)),
            (">=1", "2.0rc1", None),
            (">=1,<2", "2024b", None),
            ("1!2.0", "2.0", None),
        ] {
            assert_eq!(allows(wanted, version), verdict, "{wanted} {version}");
        }
    }
}
