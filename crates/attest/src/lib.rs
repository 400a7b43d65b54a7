//! Attestations: what is said of an image beside the image, in the forms that others read.
//!
//! ```text
//! facts of a build       --provenance-->  SLSA provenance, v0.2 or v1, with BuildKit's fields
//! texts of package tools --package-->     packages  --spdx-->  an SPDX 2.3 document
//! predicate + subjects   --statement-->   an in-toto statement
//! ```
//!
//! Everything here is a value: no file is read and no clock is asked. [`Attestations`] is what the
//! store keeps of one image; it becomes bytes when the image is packed, for only then it is known
//! how its manifest and its layers are called.

mod attestations;
pub mod package;
pub mod provenance;
mod purl;
mod spdx;
pub mod statement;

pub use attestations::{Attestation, Attestations, Claim};
pub use package::Package;
pub use provenance::Provenance;
pub use purl::{Purl, image_purl};
pub use spdx::Spdx;
