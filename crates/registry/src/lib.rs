//! Moves images and files between the network and the store: fetch, resume, verify, retry.
//!
//! Everything Cairn takes from a network passes through one [`Fetcher`], so that every download
//! has the same habits: a size limit, a verified digest where one is known, a continued transfer
//! after a broken connection, patience that ends, and errors that never show a password.
//!
//! The crate reads no environment: proxies and certificates are given by the caller. The one
//! exception is the host's own trust store, which `rustls-native-certs` finds the way OpenSSL
//! does.

pub mod http;

pub use http::{
    Download, FetchError, FetchOptions, FetchProblem, Fetched, Fetcher, Proxies, RetryPolicy,
};
