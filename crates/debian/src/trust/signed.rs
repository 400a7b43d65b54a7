//! Signed texts: the clearsigned form (`InRelease`) and the detached form (`Release.gpg`).

use std::io::Cursor;

use pgp::armor::{BlockType, Dearmor};
use pgp::composed::CleartextSignedMessage;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType};

use super::{Keyring, TrustError};

/// How far a signature's date may lie in the future: clocks differ.
const CLOCK_TOLERANCE_SECS: i64 = 3600;

/// A good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The key: fingerprint of the certificate and its user.
    pub key: String,
    /// When it signed, in seconds since the epoch.
    pub signed_at: i64,
}

/// Checks a clearsigned text and returns what was signed, with who signed it.
///
/// # Errors
/// When the text cannot be trusted at the time `now`; the error names the reason.
pub fn verify_clearsigned(
    keyring: &Keyring,
    file: &str,
    now: i64,
) -> Result<(String, Vec<Signer>), TrustError> {
    let not_clearsigned = |source| TrustError::NotClearsigned(Box::new(source));
    let (message, _) =
        CleartextSignedMessage::from_string(file.trim_end()).map_err(not_clearsigned)?;
    // The signed form has CR LF at each line's end; what is read later is the same text with LF.
    let signed = message.signed_text();
    let signers = check(keyring, message.signatures(), signed.as_bytes(), now)?;
    Ok((signed.replace("\r\n", "\n"), signers))
}

/// Checks a detached signature, armored or not.
///
/// # Errors
/// When the text cannot be trusted at the time `now`; the error names the reason.
pub fn verify_detached(
    keyring: &Keyring,
    text: &[u8],
    signature: &[u8],
    now: i64,
) -> Result<Vec<Signer>, TrustError> {
    let signatures =
        read_signatures(signature).map_err(|e| TrustError::UnreadableSignature(Box::new(e)))?;
    check(keyring, &signatures, text, now)
}

fn read_signatures(block: &[u8]) -> pgp::errors::Result<Vec<Signature>> {
    if !block.trim_ascii_start().starts_with(b"-----BEGIN") {
        return only_signatures(PacketParser::new(Cursor::new(block)));
    }
    let mut dearmor = Dearmor::new(Cursor::new(block));
    dearmor.read_header()?;
    match dearmor.typ {
        Some(BlockType::Signature) => {
            only_signatures(PacketParser::new(std::io::BufReader::new(dearmor)))
        }
        _ => Ok(Vec::new()),
    }
}

fn only_signatures(
    packets: impl Iterator<Item = pgp::errors::Result<Packet>>,
) -> pgp::errors::Result<Vec<Signature>> {
    let mut signatures = Vec::new();
    for packet in packets {
        if let Packet::Signature(signature) = packet? {
            signatures.push(signature);
        }
    }
    Ok(signatures)
}

/// Applies the policy to all signatures of one text.
fn check(
    keyring: &Keyring,
    signatures: &[Signature],
    text: &[u8],
    now: i64,
) -> Result<Vec<Signer>, TrustError> {
    let mut good = Vec::new();
    let mut unknown = Vec::new();
    let mut worst: Option<TrustError> = None;
    for signature in signatures {
        match check_one(keyring, signature, text, now) {
            Ok(Some(signer)) => good.push(signer),
            Ok(None) => unknown.push(issuer(signature)),
            Err(problem) => {
                if worst.as_ref().is_none_or(|w| w.weight() < problem.weight()) {
                    worst = Some(problem);
                }
            }
        }
    }
    match worst {
        Some(bad @ TrustError::BadSignature { .. }) => Err(bad),
        _ if !good.is_empty() => Ok(good),
        Some(problem) => Err(problem),
        None if unknown.is_empty() => Err(TrustError::Unsigned),
        None => Err(TrustError::UnknownKey { keys: unknown }),
    }
}

/// Checks one signature; `None` when its key is not in the keyring.
fn check_one(
    keyring: &Keyring,
    signature: &Signature,
    text: &[u8],
    now: i64,
) -> Result<Option<Signer>, TrustError> {
    let Some(candidate) = keyring.signer_of(signature) else {
        return Ok(None);
    };
    let key = candidate.name();
    if !matches!(
        signature.typ(),
        Some(SignatureType::Text | SignatureType::Binary)
    ) {
        return Err(TrustError::BadSignature { key });
    }
    let hash = signature.hash_alg().unwrap_or(HashAlgorithm::None);
    if !is_strong(hash) {
        return Err(TrustError::WeakHash {
            key,
            hash: hash.to_string(),
        });
    }
    candidate
        .verify(signature, text)
        .map_err(|_| TrustError::BadSignature { key: key.clone() })?;
    let Some(created) = signature.created() else {
        return Err(TrustError::OutOfTime { key });
    };
    let signed_at = i64::from(created.as_secs());
    let lifetime = signature
        .signature_expiration_time()
        .map_or(0, |time| time.as_secs());
    let ended = lifetime != 0 && now >= signed_at + i64::from(lifetime);
    if ended || signed_at > now + CLOCK_TOLERANCE_SECS {
        return Err(TrustError::OutOfTime { key });
    }
    candidate.check(&[signed_at, now])?;
    Ok(Some(Signer { key, signed_at }))
}

fn is_strong(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

fn issuer(signature: &Signature) -> String {
    if let Some(fingerprint) = signature.issuer_fingerprint().first() {
        return format!("{fingerprint:X}");
    }
    match signature.issuer_key_id().first() {
        Some(id) => hex::encode_upper(id.as_ref()),
        None => "an unnamed key".to_owned(),
    }
}
