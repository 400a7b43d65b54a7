//! What a cache in a registry need not keep: results that nobody used for long, and the oldest ones
//! above a size.
//!
//! A result counts as used whenever a run that writes the cache had a use for it. Nothing is lost
//! that cannot be made again, so nothing is announced before. The layers themselves go when the
//! registry collects what no manifest names.

use cairn_oci::Reference;
use cairn_registry::{RegistryClient, RegistryError, Watch};
use cairn_store::Store;

use super::stored::At;

/// How often somebody else may write meanwhile.
const ATTEMPTS: usize = 4;

/// What stays of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrimRule {
    /// What was used since then, in seconds since 1970; without, all.
    pub used_since: Option<i64>,
    /// So many bytes of layers, those that were used last; without, all.
    pub bytes: Option<u64>,
}

/// What became of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// How many results stay.
    pub results: usize,
    /// How many go.
    pub dropped: usize,
    /// The bytes of the layers that the registry can free.
    pub freed: u64,
}

/// Takes from a cache what a rule does not keep; `None` where there is no cache. One of which
/// nothing stays goes with its tag, if the registry removes tags, and is empty if not.
///
/// # Errors
/// When the registry cannot be asked, or does not take it.
pub fn trim(
    store: &Store,
    client: &RegistryClient,
    reference: &Reference,
    rule: TrimRule,
    is_dry: bool,
    watch: Watch<'_>,
) -> Result<Option<Trimmed>, RegistryError> {
    let at = At {
        store,
        client,
        reference,
        watch,
    };
    for attempt in 1.. {
        let stored = at.read()?;
        let Some(mut document) = stored.document else {
            return Ok(None);
        };
        let (results, bytes) = (document.entries.len(), document.bytes());
        if let Some(since) = rule.used_since {
            document
                .entries
                .retain(|_, entry| entry.used.max(entry.created) >= since);
        }
        if let Some(limit) = rule.bytes {
            document.fit(limit);
        }
        let trimmed = Trimmed {
            results: document.entries.len(),
            dropped: results - document.entries.len(),
            freed: bytes - document.bytes(),
        };
        if is_dry || trimmed.dropped == 0 {
            return Ok(Some(trimmed));
        }
        if attempt < ATTEMPTS && !at.is_as_read(stored.digest.as_ref())? {
            continue;
        }
        if !document.entries.is_empty() {
            at.put(&document)?;
        } else {
            match client.remove_tag(reference, watch) {
                Err(error) if error.is_without_effect() && !error.is_unreachable() => {
                    at.put(&document)?;
                }
                removed => removed?,
            }
        }
        return Ok(Some(trimmed));
    }
    unreachable!("the last attempt ends it")
}
