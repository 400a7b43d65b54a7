//! Rules about what makes images large, slow to build or unsafe.

pub(super) mod apt;
pub(super) mod apt_flags;
pub(super) mod caches;
pub(super) mod credentials;
pub(super) mod directives;
pub(super) mod files;
pub(super) mod layers;
pub(super) mod order;
pub(super) mod pins;
pub(super) mod places;
pub(super) mod questions;
pub(super) mod upgrades;
pub(super) mod users;
