//! What caches say of things whose files are not here, and what is known better.
//!
//! The record of a result that made no layer is a statement: such a directory has this content. One
//! that a cache made and nobody here has checked carries the cache's name.

use cairn_store::{CacheRecord, ContentDigest};

/// The input of a record that names who says what it says.
const SAID_BY: &str = "said by";

/// The inputs of a record of what somebody says.
pub(crate) fn note(by: &str) -> Vec<(String, String)> {
    vec![(SAID_BY.to_owned(), by.to_owned())]
}

/// Who says what a record says, if it was not found out here.
pub(crate) fn said_by(record: &CacheRecord) -> Option<&str> {
    let mut inputs = record.inputs.iter();
    let (_, by) = inputs.find(|(name, _)| name == SAID_BY)?;
    Some(by)
}

/// Whether a record knows better than a cache that says this content, both of something without a
/// layer. Where there are layers, two runs of one step may differ, and the first counts.
pub(super) fn knows_better(record: &CacheRecord, content: &ContentDigest) -> bool {
    record.snapshot.is_none() && said_by(record).is_none() && record.content != *content
}
