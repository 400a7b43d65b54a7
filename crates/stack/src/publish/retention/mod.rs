//! What registries need not keep: found by what tags mean and meant, announced, and removed later.
//!
//! ```text
//! rules, branches, entries of the ledger  --keep--->   tags and generations that stay
//! registry, what does not stay            --survey-->  manifests that nothing needs, with their tags
//! those, and what was announced before    --find---->  what is due, new, or still waiting
//! what is due and what is new             --sweep--->  removed; announced
//! the record of a removal                 --undo---->  all of it put back, if the blobs are there
//! ```
//!
//! Only what the ledger knows is ever removed: a generation that no tag needs, a tag that does not
//! stay. A tag that anybody else made, what it leads to, the parts of an index that stays and what
//! refers to it are roots. A registry that removes no tags alone removes a manifest with all its
//! tags, so a manifest goes only if no tag is left that leads to it.
//!
//! Each registry is looked at alone, by its own ledger. Announcements and removals are documents
//! of the ledger, `gc-<number>-<id>`; that of a removal is written before the first thing is removed,
//! and carries the manifests. So what is killed on its way can be undone as a whole or done again.

mod find;
mod keep;
mod record;
mod survey;
mod sweep;
mod undo;

pub use find::Found;
pub use keep::Rules;
pub use record::Thing;
pub use sweep::Swept;
pub use undo::Undone;

use super::Means;
use super::error::PublishError;
use super::ledger::Ledger;

/// Finds out what a registry need not keep. Nothing is changed.
pub fn find(means: Means<'_>, ledger: &Ledger, rules: &Rules) -> Result<Found, PublishError> {
    find::find(means, ledger, rules)
}

/// Announces what is new, and removes what was announced long ago.
pub fn sweep(means: Means<'_>, ledger: &Ledger, found: &Found) -> Result<Swept, PublishError> {
    sweep::sweep(means, ledger, found)
}

/// Takes the last removal back, or the announcements where nothing was removed; `None` if there
/// are none.
pub fn undo(means: Means<'_>, ledger: &Ledger) -> Result<Option<Undone>, PublishError> {
    undo::undo(means, ledger)
}
