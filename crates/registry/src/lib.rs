//! Moves images and files between the network and the store: fetch, resume, verify, retry.
//!
//! Files come through one [`Fetcher`], so that every download has the same habits: a size limit, a
//! verified digest where one is known, a continued transfer after a broken connection, patience
//! that ends, and errors that never show a password.
//!
//! The images of registries go through a [`RegistryClient`], which has the same habits and speaks
//! the distribution protocol; [`signature`] signs them and checks. Repositories go through the host's `git` ([`git`]).
//!
//! The crate reads no environment: proxies, certificates and logins are given by the caller. There
//! are two exceptions: the host's own trust store, which `rustls-native-certs` finds the way
//! OpenSSL does, and the `git` program, which sees the environment that this process was started
//! in, for that is where its logins and proxies are.

pub mod distribution;
pub mod git;
pub mod http;
mod logins;
pub mod serve;
pub mod signature;

pub use distribution::{
    CredentialSources, Described, Document, Mirror, Places, Pulled, Pushed, RegistryClient,
    RegistryError, RegistryOptions, Sent, Watch,
};
pub use http::{
    Download, FetchError, FetchOptions, FetchProblem, Fetched, Fetcher, Proxies, RetryPolicy,
};
pub use logins::Logins;
