//! The one date format of Debian's archives, as seconds since the epoch.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads `Sat, 11 Jul 2026 10:16:37 UTC`.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = text
        .strip_suffix("UTC")
        .or_else(|| text.strip_suffix("GMT"))
        .or_else(|| text.strip_suffix("+0000"))?;
    let civil = DateTime::strptime("%a, %d %b %Y %H:%M:%S", text.trim()).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Writes a time as `2026-07-11T10:16:37Z`.
#[must_use]
pub fn iso(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Reads what [`iso`] wrote.
#[must_use]
pub fn parse_iso(text: &str) -> Option<i64> {
    Some(text.parse::<Timestamp>().ok()?.as_second())
}

/// Writes the day of a time.
#[must_use]
pub fn day(seconds: i64) -> String {
    iso(seconds).chars().take(10).collect()
}

/// Writes a time as the snapshot archive names its directories: `20260711T101637Z`.
#[must_use]
pub fn compact(seconds: i64) -> String {
    iso(seconds)
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_release_files_are_read() {
        let time = parse("Sat, 11 Jul 2026 10:16:37 UTC").unwrap();
        assert_eq!(iso(time), "2026-07-11T10:16:37Z");
        assert_eq!(parse_iso(&iso(time)), Some(time));
        assert_eq!(day(time), "2026-07-11");
        assert_eq!(compact(time), "20260711T101637Z");
        assert_eq!(parse("Sat, 11 Jul 2026"), None);
        assert_eq!(parse("next week"), None);
    }
}
