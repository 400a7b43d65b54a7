//! Sizes and durations as people write and read them.

use std::time::Duration;

/// A duration that takes few columns: `0.4s`, `12.3s`, `2m 05s`, `1h 02m`.
pub fn duration(elapsed: Duration) -> String {
    let tenths = elapsed.as_millis().div_euclid(100);
    let seconds = elapsed.as_secs();
    match seconds {
        0..60 => format!("{}.{}s", tenths / 10, tenths % 10),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A size with decimal units, as registries and disks count: `512 B`, `1.5 MB`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 1000 {
        return format!("{size} B");
    }
    // Tenths of the unit, rounded; 999,950 B is "1.0 MB", not "1000.0 kB".
    let mut divisor: u128 = 1000;
    for unit in UNITS {
        let tenths = (u128::from(size) * 10 + divisor / 2) / divisor;
        if tenths < 10_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        divisor *= 1000;
    }
    format!("{size} B")
}

/// Reads a size: a number with an optional unit, decimal (`10GB`, `1.5 MB`) or binary (`512MiB`).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000_u64.pow(2),
        "g" | "gb" => 1000_u64.pow(3),
        "t" | "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => {
            return Err(format!(
                "`{}` is not a unit of size; try `20GB`",
                unit.trim()
            ));
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.parse::<u64>().ok();
    let value = digits(whole)
        .and_then(|whole| whole.checked_mul(factor))
        .zip(if fraction.is_empty() {
            Some(0)
        } else {
            digits(fraction)
                .filter(|_| fraction.len() <= 9)
                .and_then(|tenths| tenths.checked_mul(factor))
                .map(|scaled| scaled / 10_u64.pow(fraction.len() as u32))
        })
        .and_then(|(whole, fraction)| whole.checked_add(fraction));
    value.ok_or_else(|| format!("`{text}` is not a size; try `20GB`"))
}

/// Reads a duration: a number of seconds, or with units (`90s`, `15m`, `2h`).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, factor) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is not a duration; try `90s`, `15m` or `2h`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_their_width() {
        let shown = |ms| duration(Duration::from_millis(ms));
        assert_eq!(shown(0), "0.0s");
        assert_eq!(shown(12_345), "12.3s");
        assert_eq!(shown(59_999), "59.9s");
        assert_eq!(shown(125_000), "2m 05s");
        assert_eq!(shown(3_725_000), "1h 02m");
    }

    #[test]
    fn sizes_round_into_the_next_unit() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(999_949), "999.9 kB");
        assert_eq!(bytes(999_950), "1.0 MB");
        assert_eq!(bytes(1_500_000_000), "1.5 GB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("20GB"), Ok(20_000_000_000));
        assert_eq!(parse_bytes("1.5 MiB"), Ok(1_572_864));
        assert_eq!(parse_bytes("0.25k"), Ok(250));
        assert!(parse_bytes("").is_err() && parse_bytes("GB").is_err());
        assert!(parse_bytes("1.2.3").is_err() && parse_bytes("-1").is_err());
        assert!(parse_bytes("99999999999999999999").is_err());
        assert!(parse_bytes("99999999TB").is_err());
        assert!(parse_bytes("5 parsec").unwrap_err().contains("parsec"));
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert!(parse_duration("soon").is_err() && parse_duration("").is_err());
        assert!(parse_duration("99999999999999999h").is_err());
    }
}
