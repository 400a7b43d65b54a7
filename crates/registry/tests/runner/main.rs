//! The crate's tests against real connections, in one binary.

mod fetch;
mod server;
