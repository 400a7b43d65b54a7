//! Plain values inside flags: booleans, sizes and durations, spelled as Go spells them.

use std::time::Duration;

/// Reads a boolean: `1 t T TRUE true True` and their opposites.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Reads an amount of memory in bytes: `64m`, `1.5 GiB`, `1024`; units are powers of 1024.
pub fn bytes(text: &str) -> Option<u64> {
    let split = text
        .rfind(|ch: char| ch.is_ascii_digit() || ch == '.' || ch == ' ')
        .map(|at| at + 1)?;
    let (number, unit) = text.split_at(split);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.starts_with(|ch: char| ch.is_ascii_digit() || ch == '.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let power = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 0,
        "k" | "ki" => 1,
        "m" | "mi" => 2,
        "g" | "gi" => 3,
        "t" | "ti" => 4,
        "p" | "pi" => 5,
        _ => return None,
    };
    let bytes = number * 1024f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fractions of a byte are dropped; the range is checked"
    )]
    (bytes.is_finite() && (0.0..9.2e18).contains(&bytes)).then_some(bytes as u64)
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number where one should be.
    #[error("invalid duration {0:?}")]
    Invalid(String),
    /// A number without `s`, `m` and so on.
    #[error("missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a duration such as `1h2m3.5s`. Negative ones are refused: nothing here can take one.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total_nanos: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|ch: char| !ch.is_ascii_digit() && ch != '.')
            .ok_or_else(|| match amount(rest, 1) {
                Some(_) => DurationError::MissingUnit(text.to_owned()),
                None => invalid(),
            })?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|ch: char| ch.is_ascii_digit() || ch == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let nanos = unit_nanos(unit);
        let nanos = amount(number, nanos.unwrap_or(1))
            .ok_or_else(invalid)
            .and_then(|value| match nanos {
                Some(_) => Ok(value),
                None => Err(DurationError::UnknownUnit {
                    unit: unit.to_owned(),
                    text: text.to_owned(),
                }),
            })?;
        total_nanos += nanos;
        rest = after;
    }
    // Go counts nanoseconds in an i64; what does not fit there is refused here too.
    match i64::try_from(total_nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(_) => Err(invalid()),
    }
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Multiplies a decimal number with a unit, in whole nanoseconds.
fn amount(number: &str, unit_nanos: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // 18 digits of a fraction are finer than a nanosecond of an hour.
    let fraction = &fraction[..fraction.len().min(18)];
    if fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    Some(u128::from(whole) * u128::from(unit_nanos) + fraction * u128::from(unit_nanos) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bytes() {
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1.5 GiB"), Some(3 << 29));
        assert_eq!(bytes("2kb"), Some(2048));
        for bad in ["", "m", "-1", "1x", "1 ki b", "NaN", "99999999999p"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_durations() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1h2m3.5s"), Ok(Duration::from_millis(3_723_500)));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(duration(".5s"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10µs"), Ok(Duration::from_micros(10)));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        let error = |text| duration(text).unwrap_err().to_string();
        assert_eq!(error("5"), "missing unit in duration \"5\"");
        assert_eq!(error("5x"), "unknown unit \"x\" in duration \"5x\"");
        for bad in ["", "s", ".s", "-1s", "1.2.3s", "99999999999h", "1..s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_booleans() {
        assert_eq!(boolean("True"), Some(true));
        assert_eq!(boolean("0"), Some(false));
        assert_eq!(boolean("yes"), None);
    }
}
