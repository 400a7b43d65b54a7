//! Generations: all images of a stack into registries, and what their tags mean, moved together.
//!
//! ```text
//! rules, event             --naming---> which image goes where, and under which tags
//! some of the images       --carry----> the others as they are, to be a generation with them
//! images, registries, tags --send-----> blobs, and manifests by digest, on every registry
//! parts of other machines  --join-----> indexes over what several machines sent
//! images, key              --sign-----> signatures beside them, where that is asked for
//!                          --switch---> all tags of all images, journaled, undone if one fails
//!                          --ledger---> what each tag means since when, beside the images
//! ledger, tag              --promote--> another tag for the same generation: no layer moves
//!                          --rollback-> the tag means the generation before
//! ```
//!
//! Nothing that a reader can see by a tag changes before every registry has everything. A process
//! that dies in the switch leaves its journal in the store; the next publish, promotion or
//! rollback of the stack ends it first. What only reads ends nothing.

mod artifact;
mod carry;
mod error;
mod generation;
mod journal;
mod ledger;
mod look;
mod made;
mod naming;
mod part;
mod promote;
pub mod retention;
mod send;
mod sign;
mod switch;
mod testify;

pub use carry::{Made, Other};
pub use error::PublishError;
pub use generation::{Action, Evidence, Generation, GenerationImage, LogEntry, TagLog, Tested};
pub use journal::{forget_done, pending, turn, untold};
pub use ledger::Ledger;
pub use look::{Found, look};
pub use made::keep_made_of;
pub use naming::{Naming, Stem, Target, registries};
pub use part::{Joined, Needed, Part, PartImage, check_brought, exchange, join, known};
pub use promote::{Promotion, plan_promotion, plan_rollback};
pub use send::{Item, Place, Sending, send};
pub use sign::sign;
pub use switch::{Move, Resumed, Switch, Switched, Tagged};
pub use testify::{Passed, Testified, testify};

use cairn_registry::{RegistryClient, Watch};
use cairn_store::Store;

/// The means of publishing.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Holds the images, the journal, and copies of the ledger.
    pub store: &'a Store,
    /// Speaks to registries.
    pub client: &'a RegistryClient,
    /// Follows transfers and stops them.
    pub watch: Watch<'a>,
    /// Seconds since 1970.
    pub now: i64,
}
