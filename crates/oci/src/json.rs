//! JSON in and out, the same bytes for the same value.

use serde::{Deserialize, Deserializer, Serialize};

/// A document that is not what its media type says.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not valid JSON of its kind")]
pub struct JsonError {
    /// What was being read: `image manifest`, `image index`, `image config`.
    pub what: &'static str,
    #[source]
    source: serde_json::Error,
}

pub(crate) fn from_slice<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, JsonError> {
    serde_json::from_slice(bytes).map_err(|source| JsonError { what, source })
}

/// Prints compact JSON. Field order is declaration order and maps are sorted, so that equal
/// values give equal bytes.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("values of this crate have string keys and no failing parts")
}

/// Go programs write `null` for an empty list or map; it means the same as an absent field.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
