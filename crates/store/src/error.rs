//! What can go wrong in the store, and how file system errors get their context.

use std::io;
use std::path::{Path, PathBuf};

use cairn_oci::{DiffId, Digest};

use crate::SnapshotId;

/// Something went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file system operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done: `create`, `read the layer below`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's own words.
        #[source]
        source: io::Error,
    },
    /// Bytes could not be read from where they came from (a pipe, the network, an archive).
    #[error("cannot read {what}")]
    Input {
        /// What was being read: `blob`, `layer`.
        what: &'static str,
        /// The reader's own words.
        #[source]
        source: io::Error,
    },
    /// Bytes could not be written to where they should go.
    #[error("cannot write {what}")]
    Output {
        /// What was being written: `layer`.
        what: &'static str,
        /// The writer's own words.
        #[source]
        source: io::Error,
    },
    /// The directory was written by another version of Cairn.
    #[error(
        "the store in {} has format `{found}`, this version reads `{expected}`: use the version that made it, or another directory",
        home.display()
    )]
    Format {
        /// The store's directory.
        home: PathBuf,
        /// What it says of itself.
        found: String,
        /// What we read.
        expected: &'static str,
    },
    /// There is no store, and none was to be made.
    #[error("no store at {}", home.display())]
    NoStore {
        /// Where one was sought.
        home: PathBuf,
    },
    /// The directory holds other things than a store.
    #[error("{} is not empty and holds no store", home.display())]
    NotAStore {
        /// The directory.
        home: PathBuf,
    },
    /// Its files belong to somebody else, under numbers that mean other users here.
    #[error("the store {} belongs to the user with id {owner}", home.display())]
    Foreign {
        /// The store.
        home: PathBuf,
        /// Its owner, as seen by this process.
        owner: u32,
    },
    /// Somebody uses the store, and it was asked not to wait.
    #[error("the store in {} is in use by another process", home.display())]
    Busy {
        /// The store's directory.
        home: PathBuf,
    },
    /// No such blob.
    #[error("blob {digest} is not in the store")]
    BlobMissing {
        /// Its digest.
        digest: Digest,
    },
    /// A stored blob no longer has its digest.
    #[error("blob {digest} is damaged: its bytes have the digest {found}")]
    BlobDamaged {
        /// Its name.
        digest: Digest,
        /// What its bytes say.
        found: Digest,
    },
    /// A blob is too large to be read at once.
    #[error("blob {digest} has {size} bytes, too many for a document (at most {limit})")]
    BlobTooLarge {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Bytes came in that are not those that were promised.
    #[error("the bytes have the digest {found}, expected {expected}")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A layer came in whose tar is not the one its image promises.
    #[error("the layer's tar has the digest {found}, its image says {expected}")]
    DiffIdMismatch {
        /// What the image says.
        expected: DiffId,
        /// What came.
        found: DiffId,
    },
    /// No such snapshot, or one whose bytes may have been lost with the power.
    #[error("snapshot {snapshot} is not in the store")]
    SnapshotMissing {
        /// Which.
        snapshot: SnapshotId,
    },
    /// A layer tar is broken or tries something it must not.
    #[error("layer entry `{entry}`: {reason}")]
    Layer {
        /// The entry's path, cleaned for terminals.
        entry: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A layer tar is broken before an entry's name is known.
    #[error("layer is no valid tar: {reason}")]
    Tar {
        /// What is wrong.
        reason: &'static str,
    },
    /// A snapshot holds something that a layer tar cannot express.
    #[error("{} cannot be put in a layer: {reason}", path.display())]
    Unrepresentable {
        /// The path in the snapshot.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// Symbolic links that lead to each other.
    #[error("{}: too many levels of symbolic links", path.display())]
    TooManySymlinks {
        /// The path that was being resolved.
        path: PathBuf,
    },
    /// A path that was expected to be a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path in the tree.
        path: PathBuf,
    },
    /// A path that was expected to exist.
    #[error("{} does not exist", path.display())]
    NotInTree {
        /// The path in the tree.
        path: PathBuf,
    },
    /// A path that leads out of the tree it belongs to.
    #[error("{} is no plain path inside the snapshot", path.display())]
    UnsafePath {
        /// The path.
        path: PathBuf,
    },
    /// A JSON document kept as a blob is not what it should be.
    #[error("cannot {action} a document of the store")]
    Document {
        /// `read` or `print`.
        action: &'static str,
        /// The parser's own words.
        #[source]
        source: serde_json::Error,
    },
    /// The history database failed.
    #[error("the history database {} failed", path.display())]
    History {
        /// Its file.
        path: PathBuf,
        /// SQLite's own words.
        #[source]
        source: rusqlite::Error,
    },
}

/// Gives file system errors their context.
pub(crate) trait At<T> {
    /// Says what was being done to which file.
    fn at(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            action,
            path: path.into(),
            source: source.into(),
        })
    }
}

impl StoreError {
    /// A value that cannot be printed as JSON.
    pub fn encode(source: serde_json::Error) -> Self {
        Self::Document {
            action: "print",
            source,
        }
    }

    /// A document of the store that is not what it should be.
    pub fn decode(source: serde_json::Error) -> Self {
        Self::Document {
            action: "read",
            source,
        }
    }
}
