//! Paths and bytes inside JSON text, without loss.
//!
//! A path is bytes and need not be UTF-8, so serde's own form for paths fails on some. Here each
//! byte becomes the character of the same number: ASCII stays readable and costs nothing.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn decode<E: Error>(text: &str) -> Result<Vec<u8>, E> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).map_err(|_| E::custom("a character above 255")))
        .collect()
}

fn decode_path<E: Error>(text: &str) -> Result<PathBuf, E> {
    Ok(PathBuf::from(OsString::from_vec(decode(text)?)))
}

/// For a field of type `Vec<u8>`.
pub(crate) mod bytes {
    use super::{Deserialize, Deserializer, Serializer, decode, encode};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        decode(&String::deserialize(from)?)
    }
}

/// For a field of type `PathBuf`.
pub(crate) mod path {
    use super::{
        Deserialize, Deserializer, OsStrExt, Path, PathBuf, Serializer, decode_path, encode,
    };

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(path.as_os_str().as_bytes()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        decode_path(&String::deserialize(from)?)
    }
}

/// For a field of type `Vec<PathBuf>`.
pub(crate) mod paths {
    use super::{
        Deserialize, Deserializer, OsStrExt, PathBuf, Serialize, Serializer, decode_path, encode,
    };

    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = paths
            .iter()
            .map(|p| encode(p.as_os_str().as_bytes()))
            .collect();
        texts.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        Vec::<String>::deserialize(from)?
            .iter()
            .map(|text| decode_path(text))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Carried {
        #[serde(with = "path")]
        path: PathBuf,
        #[serde(with = "paths")]
        paths: Vec<PathBuf>,
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        let carried = Carried {
            path: PathBuf::from(OsString::from_vec(all.clone())),
            paths: vec![
                PathBuf::from("/plain"),
                PathBuf::from(OsString::from_vec(vec![0xff, b'/'])),
            ],
            bytes: all,
        };
        let text = serde_json::to_string(&carried).unwrap();
        assert_eq!(serde_json::from_str::<Carried>(&text).unwrap(), carried);
    }

    #[test]
    fn a_character_above_255_is_refused() {
        let text = r#"{"path":"\u4e2d","paths":[],"bytes":""}"#;
        assert!(serde_json::from_str::<Carried>(text).is_err());
    }
}
