//! The invariants of the source tree, each a rule with a name.
//!
//! A rule is a function from the tree to findings; it never stops at the first. What a rule
//! allows is a table at the top of its file, so that changing the architecture is a change of
//! data that a reviewer sees.
//!
//! | rule | holds |
//! | --- | --- |
//! | `crate-edge` | a crate depends only on the crates below it in ARCHITECTURE.md's picture |
//! | `pure-crate` | `oci diagnostic dockerfile spec` touch no file, network, clock, environment, process |
//! | `network-crate` | HTTP, TLS and sockets live in `registry` |
//! | `unsafe-crate` | `unsafe` is said in `sandbox` only, and every other crate inherits the ban |
//! | `output` | only `cli` prints, reads the environment or exits |
//! | `file-doc` | every file opens with `//!` |
//! | `module-name` | no module is called `utils`, `common`, `helpers` or `manager` |
//! | `file-length` | no file is longer than 900 lines |
//! | `unfinished` | no `todo!`, `unimplemented!` or `#[ignore]` |
//! | `dependency` | the workspace's table, its users and docs/dev/dependencies.md agree |
//! | `requirement` | tests that docs/dev/requirements.md names are there |
//! | `lock-length` | Cargo.lock does not grow unnoticed |
//!
//! Licences, banned crates and sources are `cargo deny`'s business (`deny.toml`).

mod dependencies;
mod edges;
mod mask;
mod pattern;
mod requirements;
mod sources;

use std::fmt;
use std::path::Path;

use crate::error::ChoreError;
use crate::workspace::{self, Workspace};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, relative to the root.
    pub(crate) path: String,
    /// The line, from 1; 0 when the finding is about the whole file.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong and what to do instead.
    pub(crate) message: String,
}

impl Finding {
    /// A finding about a whole file.
    pub(crate) fn file(path: &str, rule: &'static str, message: impl Into<String>) -> Self {
        Self::line(path, 0, rule, message)
    }

    /// A finding about one line.
    pub(crate) fn line(
        path: &str,
        line: usize,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}: {}", self.rule, self.message)
    }
}

/// `cargo xtask tidy`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    if let Some(argument) = arguments.first() {
        return Err(ChoreError::Usage(format!(
            "tidy takes no arguments, not `{argument}`"
        )));
    }
    run(&workspace::root())
}

/// Checks the tree below `root` and prints what breaks a rule.
pub(crate) fn run(root: &Path) -> Result<(), ChoreError> {
    let workspace = Workspace::read(root)?;
    let mut findings = check(&workspace);
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        println!(
            "tidy: {} files in {} packages, nothing to say",
            workspace.sources.len(),
            workspace.packages.len()
        );
        return Ok(());
    }
    Err(ChoreError::Unmet(format!(
        "tidy: {} finding(s)",
        findings.len()
    )))
}

/// Every rule that needs nothing but the tree.
fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = edges::check(&workspace.packages);
    findings.extend(dependencies::check(workspace));
    findings.extend(sources::check(&workspace.sources));
    let page = &workspace.requirements_page;
    findings.extend(requirements::check(page, &workspace.sources));
    findings
}
