//! Debian base images from signed, locked packages.

pub mod date;
pub mod deb822;
pub mod relation;
pub mod release;
pub mod solve;
pub mod trust;
pub mod universe;
pub mod version;
