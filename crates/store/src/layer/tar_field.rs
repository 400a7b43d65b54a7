//! The fields of tar headers, as all the writers there have been put them: numbers, owners, times,
//! PAX records and the checksum.

use super::tar_read::broken;
use super::tar_write::BLOCK;
use crate::error::StoreError;

pub(super) type PaxRecord<'a> = (&'a [u8], &'a [u8]);

/// Takes `<length> <key>=<value>\n` off the front.
pub(super) fn split_pax(bytes: &[u8]) -> Option<(PaxRecord<'_>, &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), &bytes[length..]))
}

pub(super) fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (is_negative, nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

pub(super) fn owner(extension: Option<u64>, field: &[u8]) -> Result<u32, StoreError> {
    let owner = match extension {
        Some(owner) => owner,
        None => number(field)?,
    };
    // The highest number means "leave as it is" to the kernel.
    u32::try_from(owner)
        .ok()
        .filter(|&owner| owner != u32::MAX)
        .ok_or(broken("an owner's number is too large"))
}

pub(super) fn small(field: &[u8]) -> Result<u32, StoreError> {
    u32::try_from(number(field)?).map_err(|_| broken("a device number is too large"))
}

pub(super) fn number(field: &[u8]) -> Result<u64, StoreError> {
    u64::try_from(signed(field)?).map_err(|_| broken("a number is negative"))
}

/// Octal digits between blanks and NULs, or base 256 if the first bit is set.
pub(super) fn signed(field: &[u8]) -> Result<i64, StoreError> {
    let malformed = broken("a header has a malformed number");
    if field[0] & 0x80 != 0 {
        return base_256(field).ok_or(malformed);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let digits = field
        .split(is_blank)
        .find(|part| !part.is_empty())
        .unwrap_or(b"0");
    let text =
        std::str::from_utf8(digits).map_err(|_| broken("a header has a malformed number"))?;
    i64::from_str_radix(text, 8).map_err(|_| malformed)
}

fn base_256(field: &[u8]) -> Option<i64> {
    let is_negative = field[0] & 0x40 != 0;
    let first = if is_negative {
        field[0]
    } else {
        field[0] & 0x7f
    };
    let start: i128 = if is_negative {
        i128::from(first as i8)
    } else {
        i128::from(first)
    };
    let value = field[1..]
        .iter()
        .fold(start, |value, &byte| (value << 8) | i128::from(byte));
    i64::try_from(value).ok()
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    all_digits
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

pub(super) fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Old tars summed signed bytes.
pub(super) fn has_right_sum(block: &[u8; BLOCK]) -> bool {
    let Ok(expected) = signed(&block[148..156]) else {
        return false;
    };
    let counted = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, &byte)| counted(at, byte))
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    expected == unsigned || expected == signed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_all_forms() {
        assert_eq!(signed(b"0000644\0").unwrap(), 0o644);
        assert_eq!(signed(b"   644 \0").unwrap(), 0o644);
        assert_eq!(signed(b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(signed(b"\x80\0\0\0\0\0\x01\0").unwrap(), 256);
        assert_eq!(signed(b"\xff\xff\xff\xff\xff\xff\xff\xff").unwrap(), -1);
        assert!(signed(b"12x\0\0\0\0\0").is_err());
        assert!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(signed(&[0x80, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
        assert_eq!(pax_time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(pax_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time(b"x"), None);
    }
}
