//! sigstore's bundles, as cosign 3 attaches them: a statement about the image in an envelope, the
//! signature, and which key checks it.
//!
//! What is signed is not the statement but the envelope's text of it ("DSSE"), so that a signature
//! of one kind of document is none of another. Bundles with certificates, and entries of transparency
//! logs in them, are read as far as the signature: it counts if one of the keys made it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_oci::Digest;
use serde::Deserialize;
use serde_json::json;

use super::key::PublicKey;

/// The media type of a bundle, and the type of the artifact that carries one.
pub(super) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What kind of statement it is: that somebody signed an image.
pub(super) const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// What the text of an envelope begins with.
const ENVELOPE: &str = "DSSEv1 ";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signed>,
}

#[derive(Deserialize)]
struct Signed {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

/// What is said of an image. It has no time: signing again says nothing new.
pub(super) fn statement(digest: &Digest) -> Vec<u8> {
    let statement = json!({
        "_type": STATEMENT,
        "subject": [{ "digest": { digest.algorithm().name(): digest.hex() } }],
        "predicateType": PREDICATE,
        "predicate": {},
    });
    statement.to_string().into_bytes()
}

/// The text of an envelope with a statement: what is signed.
pub(super) fn enveloped(statement: &[u8]) -> Vec<u8> {
    text(IN_TOTO, statement)
}

fn text(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("{ENVELOPE}{} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// A bundle of a statement, its signature, and the key that checks it.
pub(super) fn bundle(statement: &[u8], signature: &[u8], key: &PublicKey) -> Vec<u8> {
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "publicKey": { "hint": STANDARD.encode(key.digest_bytes()) },
        },
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement),
            "payloadType": IN_TOTO,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    });
    bundle.to_string().into_bytes()
}

/// What was signed in a bundle, with its signatures; nothing if it is of another kind.
pub(super) fn read(bytes: &[u8]) -> Vec<(Vec<u8>, String)> {
    let Ok(Bundle { dsse_envelope }) = serde_json::from_slice::<Bundle>(bytes) else {
        return Vec::new();
    };
    let Ok(payload) = STANDARD.decode(&dsse_envelope.payload) else {
        return Vec::new();
    };
    let signed = text(&dsse_envelope.payload_type, &payload);
    let signatures = dsse_envelope.signatures.into_iter();
    signatures.map(|one| (signed.clone(), one.sig)).collect()
}

/// Whether the text of an envelope says that an image was signed.
pub(super) fn is_about(signed: &[u8], digest: &Digest) -> bool {
    let head = format!("{ENVELOPE}{} {IN_TOTO} ", IN_TOTO.len());
    let Some(rest) = signed.strip_prefix(head.as_bytes()) else {
        return false;
    };
    let Some(space) = rest.iter().position(|byte| *byte == b' ') else {
        return false;
    };
    let statement = &rest[space + 1..];
    if rest[..space] != *statement.len().to_string().as_bytes() {
        return false;
    }
    let read: Result<Statement, _> = serde_json::from_slice(statement);
    read.is_ok_and(|it| {
        let mut subjects = it.subject.iter();
        let name = digest.algorithm().name();
        let is_it = |one: &Subject| one.digest.get(name).is_some_and(|hex| hex == digest.hex());
        it.kind == STATEMENT && it.predicate_type == PREDICATE && subjects.any(is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_about_one_image_and_of_one_kind() {
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let made = enveloped(&statement(&one));
        assert!(is_about(&made, &one) && !is_about(&made, &other));
        let says = String::from_utf8(made.clone()).unwrap();
        for (from, to) in [
            (PREDICATE, "https://slsa.dev/provenance/v1"),
            (IN_TOTO, "text/plain"),
            ("DSSEv1", "DSSEv2"),
            (" {", " x{"),
        ] {
            assert!(
                !is_about(says.replacen(from, to, 1).as_bytes(), &one),
                "{to}"
            );
        }
        // The example of the specification of envelopes.
        let text = text("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            text,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn what_is_no_bundle_has_no_signatures() {
        for text in [
            "{}",
            "x",
            "{\"dsseEnvelope\":{}}",
            "{\"messageSignature\":{}}",
        ] {
            assert!(read(text.as_bytes()).is_empty(), "{text}");
        }
    }
}
