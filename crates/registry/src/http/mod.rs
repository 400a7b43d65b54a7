//! Plain HTTP downloads: one client, retried, resumed, bounded and verified.

mod body;
mod client;
mod error;
mod fetcher;
mod redact;
mod retry;

pub use client::Proxies;
pub use error::{FetchError, FetchProblem};
pub use fetcher::{Download, FetchOptions, Fetched, Fetcher};
pub use redact::redact;
pub use retry::RetryPolicy;
