//! The workspace's dependency table, the crates that use it, and the page that gives reasons.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Finding;
use super::pattern::lines_with;
use crate::workspace::{Package, Workspace};

const RULE: &str = "dependency";
const PAGE: &str = "docs/dev/dependencies.md";
const TABLE: &str = "Cargo.toml";
const LOCK: &str = "Cargo.lock";

/// A new dependency should be noticed: raise this in the commit that needs it, with the reason.
const PACKAGES_MAX: usize = 420;

/// Packages whose library has another name than theirs with `_` for `-`.
const LIBRARIES: &[(&str, &str)] = &[("hcl-rs", "hcl"), ("md-5", "md5")];

/// Compares the three, both ways.
pub(crate) fn check(workspace: &Workspace) -> Vec<Finding> {
    let table = workspace_table(&workspace.manifest);
    let explained = explained(&workspace.dependency_page);
    let mut findings = Vec::new();
    for name in table.difference(&explained) {
        findings.push(Finding::file(
            PAGE,
            RULE,
            format!("`{name}` has no row: need, pick (`{name}` in backticks), why, rejected"),
        ));
    }
    for name in explained.difference(&table) {
        let message = format!("`{name}` has a row but is not in the workspace's table");
        findings.push(Finding::file(PAGE, RULE, message));
    }
    let mut used = BTreeSet::new();
    for package in &workspace.packages {
        for (name, value) in requested(&package.manifest) {
            if !inherits(value) {
                findings.push(Finding::file(
                    &package.manifest_path,
                    RULE,
                    format!(
                        "`{name}` has its own version; write `{name} = {{ workspace = true }}`"
                    ),
                ));
            }
            used.insert(name.clone());
        }
        findings.extend(unused(package, workspace));
    }
    for name in table.difference(&used) {
        let message = format!("`{name}` is in the workspace's table and no crate uses it");
        findings.push(Finding::file(TABLE, RULE, message));
    }
    findings.extend(lock_length(workspace.lock.matches("[[package]]").count()));
    findings
}

/// Dependencies, ours included, that no source file of a package names.
fn unused(package: &Package, workspace: &Workspace) -> Vec<Finding> {
    let folder = package.manifest_path.trim_end_matches("Cargo.toml");
    let texts: Vec<&str> = workspace
        .sources
        .iter()
        .filter(|file| file.path.starts_with(folder))
        .map(|file| file.text.as_str())
        .collect();
    let is_named = |library: &str| {
        texts
            .iter()
            .any(|text| !lines_with(text, library).is_empty())
    };
    all_dependencies(&package.manifest)
        .filter(|(name, _)| !is_named(&library(name)))
        .map(|(name, _)| {
            let message = format!("`{name}` is asked for and never named in the sources");
            Finding::file(&package.manifest_path, RULE, message)
        })
        .collect()
}

fn library(package: &str) -> String {
    let known = LIBRARIES.iter().find(|(name, _)| *name == package);
    known.map_or_else(
        || package.replace('-', "_"),
        |(_, library)| (*library).to_owned(),
    )
}

fn lock_length(packages: usize) -> Option<Finding> {
    (packages > PACKAGES_MAX).then(|| {
        let message =
            format!("{packages} packages, at most {PACKAGES_MAX}: what brought the new ones in?");
        Finding::file(LOCK, "lock-length", message)
    })
}

/// The names in `[workspace.dependencies]` that are not ours.
fn workspace_table(manifest: &Table) -> BTreeSet<String> {
    manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::keys)
        .filter(|name| !name.starts_with("cairn-"))
        .cloned()
        .collect()
}

/// The names in backticks in the second column of the page's table.
fn explained(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(2))
        .flat_map(|pick| pick.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The dependencies that are not ours, of every kind, as a manifest asks for them.
fn requested(manifest: &Table) -> impl Iterator<Item = (&String, &Value)> {
    all_dependencies(manifest).filter(|(name, _)| !name.starts_with("cairn-"))
}

fn all_dependencies(manifest: &Table) -> impl Iterator<Item = (&String, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values);
    targets
        .filter_map(Value::as_table)
        .chain([manifest])
        .flat_map(|section| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|name| section.get(name))
        })
        .filter_map(Value::as_table)
        .flat_map(Table::iter)
}

fn inherits(value: &Value) -> bool {
    value.get("workspace") == Some(&Value::Boolean(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::TextFile;

    fn findings(table: &str, manifest: &str, page: &str) -> Vec<String> {
        let workspace = Workspace {
            manifest: toml::from_str(&format!("[workspace.dependencies]\n{table}"))
                .expect("a table"),
            packages: vec![Package {
                name: "oci".to_owned(),
                manifest_path: "crates/oci/Cargo.toml".to_owned(),
                manifest: toml::from_str(manifest).expect("a manifest"),
            }],
            sources: vec![TextFile {
                path: "crates/oci/src/lib.rs".to_owned(),
                text: "//! Names.\nuse serde::Serialize;\n".to_owned(),
            }],
            dependency_page: page.to_owned(),
            requirements_page: String::new(),
            lock: String::new(),
        };
        check(&workspace).iter().map(Finding::to_string).collect()
    }

    const USED: &str = "[dependencies]\nserde = { workspace = true }";
    const ROW: &str = "| json | `serde` | standard | `nanoserde` |";

    #[test]
    fn agreement_is_silent() {
        assert!(findings("serde = '1'\ncairn-oci = '1'", USED, ROW).is_empty());
    }

    #[test]
    fn a_dependency_without_a_row_is_found() {
        assert!(findings("serde = '1'", USED, "")[0].starts_with("docs/dev/dependencies.md: "));
    }

    #[test]
    fn a_row_without_a_dependency_is_found() {
        let page = format!("{ROW}\n| time | `jiff` | small | - |");
        assert!(findings("serde = '1'", USED, &page)[0].contains("`jiff` has a row"));
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_found() {
        assert!(findings("serde = '1'", "", ROW)[0].contains("no crate uses it"));
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let manifest = format!("{USED}\nmd-5 = {{ workspace = true }}");
        let page = format!("{ROW}\n| sums | `md-5` | dpkg | - |");
        let found = findings("serde = '1'\nmd-5 = '0.10'", &manifest, &page);
        assert_eq!(
            found,
            [
                "crates/oci/Cargo.toml: dependency: `md-5` is asked for and never named in the sources"
            ]
        );
        assert_eq!(library("md-5"), "md5");
        assert_eq!(library("serde-saphyr"), "serde_saphyr");
    }

    #[test]
    fn a_version_outside_the_table_is_found() {
        let own = "[dev-dependencies]\nserde = '1'";
        assert!(findings("serde = '1'", own, ROW)[0].contains("its own version"));
    }

    #[test]
    fn a_lock_that_grows_is_found() {
        assert_eq!(lock_length(PACKAGES_MAX), None);
        assert!(lock_length(PACKAGES_MAX + 1).is_some());
    }
}
