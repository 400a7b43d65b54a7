//! The day of a commit, in the forms that tags have.

use cairn_oci::rfc3339;

/// A day in UTC, each part as it is written in a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: String,
    /// Two digits.
    pub(super) month: String,
    /// Two digits.
    pub(super) day: String,
}

impl Date {
    /// The day of a time in seconds since 1970.
    pub(super) fn of(seconds: i64) -> Self {
        let text = rfc3339(seconds);
        let date = text.split_once('T').map_or(text.as_str(), |(date, _)| date);
        let mut parts = date.rsplitn(3, '-').map(str::to_owned);
        let (day, month, year) = (parts.next(), parts.next(), parts.next());
        Self {
            year: year.unwrap_or_default(),
            month: month.unwrap_or_default(),
            day: day.unwrap_or_default(),
        }
    }

    /// `20261121`.
    pub(super) fn compact(&self) -> String {
        format!("{}{}{}", self.year, self.month, self.day)
    }

    /// `1` to `4`.
    pub(super) fn quarter(&self) -> String {
        let month: u32 = self.month.parse().unwrap_or(1);
        (month.saturating_sub(1) / 3 + 1).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_in_utc() {
        let date = Date::of(1_700_000_000);
        assert_eq!(
            (date.compact().as_str(), date.quarter().as_str()),
            ("20231114", "4")
        );
        assert_eq!(Date::of(0).quarter(), "1");
    }
}
