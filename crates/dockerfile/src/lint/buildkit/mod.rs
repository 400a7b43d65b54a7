//! BuildKit's rules: the same names, lines and wording as `docker build --check` prints.
//!
//! What a rule looks at, and in which case it stays silent, follows BuildKit 0.32 even where
//! another choice would be better: a file must not get other warnings here than there.

pub(super) mod casing;
pub(super) mod commands;
pub(super) mod copy_ignored;
pub(super) mod definitions;
pub(super) mod deprecated;
pub(super) mod expose;
pub(super) mod from_args;
pub(super) mod from_platform;
pub(super) mod secrets;
pub(super) mod stage_names;
pub(super) mod variables;
pub(super) mod workdir;
