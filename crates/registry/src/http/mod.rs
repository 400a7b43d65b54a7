//! Plain HTTP downloads: one client, retried, resumed, bounded and verified.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod error;
mod fetcher;
pub(crate) mod retry;
pub(crate) mod transfer;
mod words;

pub use client::Proxies;
pub use error::{FetchError, FetchProblem};
pub use fetcher::{Download, FetchOptions, Fetched, Fetcher};
pub use retry::RetryPolicy;
