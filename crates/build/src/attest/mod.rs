//! What is attested of an image: gathered from the graph, the results, and the files.
//!
//! The forms are `cairn-attest`'s; here is where the facts come from. [`Account`] walks the graph
//! of one image and tells its steps and what came from outside; [`sbom`] looks for packages, or
//! reads what a generator's image wrote.

mod account;
mod ops;
mod rpm;
mod sbom;
mod scan;

use std::path::PathBuf;

use cairn_oci::Digest;
use cairn_store::StoreError;

use crate::failure::StepError;

pub use account::Account;
pub use sbom::{Looked, sbom};

/// Where a context came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This machine; what it is called, not where it lies.
    Local(String),
    /// A repository.
    Git {
        /// Its address as it may be told, with the reference that was asked for.
        url: String,
        /// The commit.
        commit: String,
    },
    /// A file of the web.
    File {
        /// Its address as it may be told.
        url: String,
        /// Its bytes.
        digest: Digest,
    },
}

/// Why nothing can be attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// Something that a step took cannot be named.
    #[error("cannot tell what the image was made of")]
    Step(#[from] StepError),
    /// The files cannot be read.
    #[error("cannot read {} to list packages", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A generator wrote something else than a statement.
    #[error("`{file}`, which the generator wrote, is no in-toto statement: {reason}")]
    NoStatement {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A generator wrote nothing.
    #[error("the generator wrote no list of packages")]
    NothingWritten,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
