//! Git repositories, through the host's own `git`.
//!
//! [`GitAddress`] is what people write (`https://host/a.git#ref:dir`), [`Repository`] finds the
//! commit it means and lays that commit's files out in a directory. The program brings what a
//! library would have to be taught: credentials, ssh keys, proxies, the host's certificates.
//!
//! Nothing of a repository is run on the host: no hook, no file system monitor, no `ext::` remote.

mod address;
mod program;
mod remote;
mod repository;

pub use address::{AddressError, GitAddress};
pub use program::GitError;
pub use repository::{Checkout, Commit, Repository};
