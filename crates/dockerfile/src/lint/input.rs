//! What the checker is told of the world around a Dockerfile.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Level;
use super::rule::Rule;
use crate::ignore::Patterns;
use crate::predefined::PlatformParts;

/// Which stages are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// All of them.
    AllStages,
    /// This one, the last if there is no name, and those it needs.
    Target(Option<&'a str>),
}

/// What is known of an image that `FROM` names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseImage {
    /// The variables of its config.
    pub env: Vec<(String, String)>,
    /// Whether its config sets a shell.
    pub has_shell: bool,
    /// The operating system and architecture it is for, `linux/amd64`.
    pub platform: Option<String>,
}

/// Everything a check depends on beside the text.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// Which stages are checked.
    pub reach: Reach<'a>,
    /// What the context's ignore file says.
    pub ignore: Option<&'a Patterns>,
    /// The platform of the build.
    pub build_platform: PlatformParts<'a>,
    /// The platform that is built for.
    pub target_platform: PlatformParts<'a>,
    /// What is known of base images, by the name in `FROM` with variables expanded.
    pub bases: &'a BTreeMap<String, BaseImage>,
    /// Names in `FROM` and `--from=` that mean one thing only though they have no tag: images of
    /// the same stack, locked ones, named contexts.
    pub pinned: &'a BTreeSet<String>,
    /// Files of the context that say which packages are installed, by name: the rules that compare
    /// versions read those that the Dockerfile names.
    pub package_files: &'a BTreeMap<String, String>,
    /// Levels that differ from the rules' own, by name; `None` switches a rule off.
    pub levels: &'a BTreeMap<&'static str, Option<Level>>,
    /// Which rules are looked at at all.
    pub wants: fn(&Rule) -> bool,
}
