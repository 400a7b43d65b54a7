//! The crate's tests against real connections, in one binary.

mod answering;
mod fetch;
mod pull;
mod push;
mod real;
mod referrers;
mod serve;
mod server;
mod tag_list;
