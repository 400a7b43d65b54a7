//! Dockerfiles and contexts to images: lower, bind, key, solve, assemble.
//!
//! ```text
//! ImageRequests  --lower-->     one Graph over all images, settings folded     lower/
//! Graph          --plan-->      for each vertex: its result, or why it runs    plan, key, take
//! GraphPlan      --solve-->     Filesystems (snapshots)                        solve/
//! Filesystems    --assemble-->  ImageRecord: what a reference points to        assemble, image/
//! ImageRecord    --pack-->      OCI manifest, config, layers                   image/pack
//! ```
//!
//! [`run::prepare`] does the first two, [`run::Prepared::solve`] the third. Nothing here prints:
//! progress goes to an [`event::EventSink`], failures are values.

pub mod account;
pub mod archive;
pub mod assemble;
pub mod attest;
pub mod cache;
pub mod cache_archive;
mod clue;
pub mod context;
pub mod copy;
pub mod device;
pub mod engine;
pub mod event;
pub mod failure;
pub mod filesystem;
mod frontend;
pub mod graph;
pub mod image;
pub mod key;
pub mod lint;
pub mod lower;
pub mod mount;
pub mod plan;
pub mod request;
pub mod resolve;
pub mod run;
pub mod secrets;
pub mod solve;
mod take;
mod web_file;
