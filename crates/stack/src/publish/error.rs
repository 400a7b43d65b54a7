//! Why something was not published.

use cairn_registry::RegistryError;
use cairn_store::StoreError;

/// Publishing did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Registries failed before anything was switched.
    #[error("nothing was switched: {} failed", names(.0))]
    Unsent(Vec<(String, RegistryError)>),
    /// Tags could not be moved, and those that were are back where they were.
    #[error("nothing was switched: `{reference}` cannot be moved")]
    Undone {
        /// The tag.
        reference: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// Tags could not be moved, and others not moved back.
    #[error(
        "`{reference}` cannot be moved, and {} cannot be moved back",
        few(left)
    )]
    Torn {
        /// The tag.
        reference: String,
        /// The tags that mean something else than before.
        left: Vec<String>,
        /// Why it cannot be moved.
        #[source]
        source: Box<RegistryError>,
    },
    /// The tags are moved, and what they mean could not be written down.
    #[error("the tags are moved, but the ledger at {place} cannot be brought up to date")]
    Ledger {
        /// The ledger's repository.
        place: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// What images were made of could not be written down.
    #[error("what the images were made of cannot be written down at {place}")]
    Aside {
        /// The ledger's repository.
        place: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// A registry does not say what is needed.
    #[error("cannot read {what} at {place}")]
    Read {
        /// What.
        what: String,
        /// Where.
        place: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// Something cannot be removed, or not be put back.
    #[error("cannot {what} at {place}")]
    Change {
        /// What was to be done.
        what: String,
        /// Where.
        place: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// What is asked for cannot be done with what the registries hold.
    #[error("{0}")]
    Refused(String),
    /// A name of an image, a registry or a tag is none.
    #[error(transparent)]
    Reference(#[from] cairn_oci::ReferenceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// What went wrong with a ledger when the tags were moved already.
    pub(super) fn after_the_switch(self) -> Self {
        match self {
            Self::Read { place, source, .. } => Self::Ledger { place, source },
            other => other,
        }
    }

    /// The registry's part in it.
    pub fn registry(&self) -> Option<&RegistryError> {
        match self {
            Self::Unsent(failed) => failed.first().map(|(_, error)| error),
            Self::Undone { source, .. }
            | Self::Torn { source, .. }
            | Self::Ledger { source, .. }
            | Self::Aside { source, .. }
            | Self::Read { source, .. }
            | Self::Change { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A generation has dozens of tags: some of them say which it is.
fn few(names: &[String]) -> String {
    const TOLD_MAX: usize = 3;
    let told = names[..names.len().min(TOLD_MAX)].join(", ");
    match names.len().saturating_sub(TOLD_MAX) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

fn names(failed: &[(String, RegistryError)]) -> String {
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dozen_tags_are_not_named_one_by_one() {
        let tags = |count: u32| (0..count).map(|at| format!("t{at}")).collect::<Vec<_>>();
        assert_eq!(few(&tags(3)), "t0, t1, t2");
        assert_eq!(few(&tags(12)), "t0, t1, t2 and 9 more");
    }
}
