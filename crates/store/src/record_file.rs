//! Small files that say whether they are whole.
//!
//! Records are written by rename and never synced one by one. A power cut can leave such a file
//! empty, cut or full of zeros; its checksum then does not fit and it counts as absent. So a
//! record needs no trust of its own: what it *names* is checked separately (`durability`).
//!
//! ```text
//! cairn <kind> <16 hex digits of the BLAKE3 of the body>\n
//! <body: JSON>
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Prints a record. `kind` carries the format's version: `record/1`.
pub(crate) fn print<T: Serialize>(kind: &str, value: &T) -> Vec<u8> {
    let body = serde_json::to_vec(value).expect("records have string keys and no failing parts");
    let mut bytes = format!("cairn {kind} {}\n", checksum(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads a record; `None` if it is of another kind or version, or not whole.
pub(crate) fn parse<T: DeserializeOwned>(kind: &str, bytes: &[u8]) -> Option<T> {
    let line_end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (header, body) = (&bytes[..line_end], &bytes[line_end + 1..]);
    let expected = format!("cairn {kind} {}", checksum(body));
    if header != expected.as_bytes() {
        return None;
    }
    serde_json::from_slice(body).ok()
}

fn checksum(body: &[u8]) -> String {
    hex::encode(&blake3::hash(body).as_bytes()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_of_the_kind_are_read() {
        let bytes = print("test/1", &vec!["a".to_owned()]);
        assert_eq!(
            parse::<Vec<String>>("test/1", &bytes),
            Some(vec!["a".to_owned()])
        );
        assert_eq!(parse::<Vec<String>>("test/2", &bytes), None);
        for length in 0..bytes.len() {
            assert_eq!(parse::<Vec<String>>("test/1", &bytes[..length]), None);
            let mut zeroed = bytes.clone();
            zeroed[length..].fill(0);
            assert_eq!(parse::<Vec<String>>("test/1", &zeroed), None);
        }
    }
}
