//! The vocabulary of the OCI image and distribution specs: parse, validate, print; no IO.
//!
//! Everything here is a value. Text becomes a value once, at the edge, and is trusted afterwards:
//! a [`Digest`] that exists is well formed, a [`Reference`] that exists is normalised.
//!
//! | file | holds |
//! | --- | --- |
//! | `digest` | [`Digest`], [`DiffId`], [`ChainId`] |
//! | `media_type` | [`MediaType`], [`Compression`] |
//! | `descriptor` | [`Descriptor`] |
//! | `manifest` | [`Manifest`], [`Index`] |
//! | `config` | [`ImageConfig`] and what it is made of |
//! | `platform` | [`Platform`] |
//! | `reference` | [`Reference`] |
//! | `timestamp` | [`rfc3339`] and back |
//! | `annotation` | names of annotations |
//! | `address` | [`redact`]: addresses without logins and tokens |
//! | `layout` | the image layout directory's constants |
//!
//! **Invariants.** No IO, no clock, no environment. Printing is deterministic: equal values give
//! equal bytes (`to_json_bytes`). Fields that the specs allow and we do not know are dropped on
//! parse; whoever needs a manifest's digest keeps its bytes.

mod address;
pub mod annotation;
mod config;
mod descriptor;
mod digest;
mod json;
pub mod layout;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod timestamp;

pub use address::{HIDDEN, redact};
pub use config::{Empty, Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError};
pub use json::JsonError;
pub use manifest::{Index, Manifest};
pub use media_type::{Compression, MediaType, UnknownCompression};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use timestamp::{parse_rfc3339, rfc3339};
