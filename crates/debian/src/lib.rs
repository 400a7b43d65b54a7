//! Debian base images from signed, locked packages.
//!
//! Two things are done with this crate:
//!
//! 1. [`resolve`] turns a [`Request`] into a [`Lock`]: it fetches the suites' Release files,
//!    believes them only if signed by a key that may ([`trust`]), reads the package indexes they
//!    name, and chooses packages as apt would ([`solve`]).
//! 2. [`assemble`] turns a lock into a committed snapshot: it fetches the packages by their
//!    hashes, unpacks them, runs their maintainer scripts in the sandbox and removes every trace
//!    of when and where that was done. It needs no index, and no network once the packages are in
//!    the store.
//!
//! ```text
//! Request --archive--> Release, indexes --universe, solve--> packages --resolve--> Lock
//! Lock --packages--> blobs --deb, order, unpack, database--> tree --configure, tidy--> SnapshotId
//! ```
//!
//! `docs/dev/debian-bases.md` goes through the steps and compares the result with mmdebstrap's.

mod ar;
mod architecture;
mod archive;
mod assemble;
mod compression;
mod configure;
mod database;
pub mod date;
mod deb;
pub mod deb822;
mod diversion;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod lock;
mod order;
mod packages;
pub mod relation;
pub mod release;
mod request;
mod resolve;
pub mod solve;
mod tidy;
mod tree;
pub mod trust;
pub mod universe;
mod unpack;
pub mod version;

pub use ar::ArError;
pub use architecture::machine;
pub use assemble::{AssembleOptions, Progress, assemble};
pub use deb::DebError;
pub use error::DebianError;
pub use lock::{Change, ChangeKind, Lock, LockedIndex, LockedPackage};
pub use packages::{Fetching, Sources, fetch};
pub use request::{DEBIAN_MIRROR, Request, SECURITY_MIRROR, SNAPSHOT_ARCHIVE, debian_arch};
pub use resolve::{ResolveOptions, ResolveProgress, resolve};
pub use solve::Variant;
