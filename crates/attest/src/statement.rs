//! in-toto statements: something is said of some bytes.

use cairn_oci::Digest;
use serde_json::{Map, Value, json};

/// The media type of a statement.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The annotation of a layer that says of which kind its statement is.
pub const PREDICATE_ANNOTATION: &str = "in-toto.io/predicate-type";
/// What a list of packages is.
pub const SPDX: &str = "https://spdx.dev/Document";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// Bytes that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What they are called.
    pub name: String,
    /// Which they are.
    pub digest: Digest,
}

/// Puts a statement together.
pub fn statement(predicate_type: &str, subjects: &[Subject], predicate: Value) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|subject| json!({ "name": subject.name, "digest": digest_set(&subject.digest) }))
        .collect();
    json!({
        "_type": STATEMENT,
        "predicateType": predicate_type,
        "subject": subjects,
        "predicate": predicate,
    })
}

/// A digest as in-toto writes it: its algorithm is a key.
pub fn digest_set(digest: &Digest) -> Value {
    let mut set = Map::new();
    set.insert(digest.algorithm().name().to_owned(), digest.hex().into());
    Value::Object(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_its_subjects_by_digest() {
        let subject = Subject {
            name: "_".into(),
            digest: Digest::sha256(b""),
        };
        let made = statement(SPDX, &[subject], json!({ "a": 1 }));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            made.to_string(),
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","subject":[{{"name":"_","digest":{{"sha256":"{empty}"}}}}],"predicate":{{"a":1}}}}"#
            )
        );
    }
}
