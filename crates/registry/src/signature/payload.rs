//! The text that is signed: "simple signing", as cosign uses it.

use cairn_oci::Digest;
use serde::{Deserialize, Serialize};

use super::bundle;

const TYPE: &str = "cosign container image signature";
const CREATOR: &str = concat!("cairn/", env!("CARGO_PKG_VERSION"));

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    optional: Option<Optional>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Serialize, Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

/// What the signer says besides; nobody relies on it.
#[derive(Serialize, Deserialize)]
struct Optional {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creator: Option<String>,
}

/// What is signed of an image in a repository. It has no time: signing again says nothing new.
pub(super) fn payload(repository: &str, digest: &Digest) -> Vec<u8> {
    let payload = Payload {
        critical: Critical {
            identity: Identity {
                reference: repository.to_owned(),
            },
            image: Image {
                digest: digest.clone(),
            },
            kind: TYPE.to_owned(),
        },
        optional: Some(Optional {
            creator: Some(CREATOR.to_owned()),
        }),
    };
    serde_json::to_vec(&payload).expect("a value of plain fields")
}

/// Whether a text is about an image; in which repository it was signed is no matter, its bytes are
/// the same everywhere. It is a payload, or the text of an envelope in a bundle.
pub(super) fn is_about(payload: &[u8], digest: &Digest) -> bool {
    let read: Result<Payload, _> = serde_json::from_slice(payload);
    read.map_or_else(
        |_| bundle::is_about(payload, digest),
        |it| it.critical.kind == TYPE && it.critical.image.digest == *digest,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_about_one_image() {
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let made = payload("ghcr.io/lab/a", &one);
        assert!(is_about(&made, &one) && !is_about(&made, &other));
        // As cosign writes it without notes of the signer.
        let theirs = format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"x\"}},\"image\":\
             {{\"docker-manifest-digest\":\"{one}\"}},\"type\":\"{TYPE}\"}},\"optional\":null}}"
        );
        assert!(is_about(theirs.as_bytes(), &one));
        let wrong = theirs.replace(TYPE, "atomic container signature");
        assert!(!is_about(wrong.as_bytes(), &one) && !is_about(b"{}", &one));
    }
}
