//! PEM: bytes as text between two lines that say what they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The first block of a text: what it says it is, and its bytes.
pub(super) fn parse(text: &str) -> Option<(String, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    Some((label.to_owned(), STANDARD.decode(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_a_label_and_bytes() {
        let text = "x\n-----BEGIN A KEY-----\naGVs\nbG8=\n-----END A KEY-----\n";
        assert_eq!(parse(text), Some(("A KEY".to_owned(), b"hello".to_vec())));
        for wrong in [
            "",
            "hello",
            "-----BEGIN A-----\naGVs\n",
            "-----BEGIN A-----\n!\n-----END A-----",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
