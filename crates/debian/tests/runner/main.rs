//! The crate's tests that need more than one module, in one binary.

mod archive;
mod mirror;
mod solve;
mod trust;
