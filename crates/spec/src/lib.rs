//! `cairn.toml` to a resolved `Stack` and the graph between its images; no IO.
//!
//! Three steps, each a function from values to values:
//!
//! 1. [`parse`]: text to a [`SpecFile`], the spec *as written*: included files and the chosen
//!    environment are laid over each other, variables have their values. Every value keeps its
//!    place, so that whatever is found wrong with it later can point at it.
//! 2. [`resolve`]: a [`SpecFile`] to a [`Stack`], the spec *as meant*: defaults, variants, axes
//!    and platforms are merged, names, rules and numbers are checked; nothing is left to
//!    interpret.
//! 3. [`StackGraph::new`]: a [`Stack`] and the names its Dockerfiles use, to the edges between
//!    the images and an order to build them in.
//!
//! All three report everything they find at once, as [`cairn_diagnostic::Diagnostic`]s. Files
//! and variables come from the caller, as [`Surroundings`]. What an event publishes is told by
//! [`tags`], from values as well.

pub mod glob;
pub mod graph;
pub mod import;
pub mod info;
#[cfg(test)]
mod page_tests;
pub mod promote;
mod resolve;
pub mod retention;
pub mod scaffold;
mod schema;
mod settings;
pub mod signing;
mod sources;
pub mod stack;
mod suggest;
pub mod suite;
pub mod tags;
pub mod written;

use cairn_diagnostic::{Diagnostic, Source};

pub use graph::StackGraph;
pub use resolve::resolve;
pub use schema::schema;
pub use settings::{
    CaPolicy, EventKind, LintLevel, LockPolicy, NetworkPolicy, PackageSet, Rebuild, SignForm,
    SuitePlace,
};
pub use sources::Sources;
pub use stack::{Affixes, Image, ImageId, ImageName, ImageSource, Repository, Stack, VerifyRule};
pub use written::{Parsed, SpecFile, Surroundings, parse};

/// The file name people give a spec.
pub const FILE_NAME: &str = "cairn.toml";

/// Reads a spec: [`parse`], then [`resolve`].
pub fn read(root: &Source, surroundings: &Surroundings<'_>) -> Result<Stack, Vec<Diagnostic>> {
    resolve(&parse(root, surroundings)?)
}

/// Sorts findings by file and place, and leaves one of those that are equal.
pub(crate) fn in_order(sources: &Sources, findings: &mut Vec<Diagnostic>) {
    let place = |finding: &Diagnostic| {
        let label = finding.label.as_ref()?;
        let file = sources.all().position(|source| *source == label.source);
        Some((file, label.span.start))
    };
    findings.sort_by_key(place);
    findings.dedup();
}
