//! Which crate may depend on which, and which may speak to a network.

use toml::{Table, Value};

use super::Finding;
use crate::workspace::Package;

const EDGE: &str = "crate-edge";
const NETWORK: &str = "network-crate";
const UNSAFE: &str = "unsafe-crate";

/// The picture of ARCHITECTURE.md: a crate and everything below it that it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("attest", &["oci"]),
    ("diagnostic", &[]),
    ("dockerfile", &["diagnostic"]),
    ("spec", &["diagnostic", "dockerfile", "oci"]),
    ("sandbox", &[]),
    ("store", &["oci"]),
    ("registry", &["oci", "store"]),
    (
        "debian",
        &["diagnostic", "oci", "registry", "sandbox", "store"],
    ),
    (
        "build",
        &[
            "attest",
            "debian",
            "diagnostic",
            "dockerfile",
            "oci",
            "registry",
            "sandbox",
            "store",
        ],
    ),
    (
        "stack",
        &[
            "attest",
            "build",
            "debian",
            "diagnostic",
            "dockerfile",
            "oci",
            "registry",
            "sandbox",
            "spec",
            "store",
        ],
    ),
    (
        "cli",
        &[
            "attest",
            "build",
            "debian",
            "diagnostic",
            "dockerfile",
            "oci",
            "registry",
            "sandbox",
            "spec",
            "stack",
            "store",
        ],
    ),
    ("testkit", &["oci", "store"]),
    ("xtask", &[]),
];

/// What makes a crate speak HTTP or TLS, or start an asynchronous runtime for it.
const NETWORK_CRATES: &[&str] = &[
    "axum",
    "hyper",
    "hyper-util",
    "reqwest",
    "rustls",
    "tokio",
    "tonic",
    "ureq",
];

/// The crates that exist for a network.
const NETWORK_HOMES: &[&str] = &["registry"];

/// Checks every manifest.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
        return vec![Finding::file(
            &package.manifest_path,
            EDGE,
            format!(
                "crate `{}` has no place in the picture; give it one in xtask/src/tidy/edges.rs and ARCHITECTURE.md",
                package.name
            ),
        )];
    };
    let mut findings = Vec::new();
    for name in dependencies(&package.manifest, &["dependencies", "build-dependencies"]) {
        findings.extend(shipped_edge(package, allowed, &name));
    }
    for name in dependencies(&package.manifest, &["dev-dependencies"]) {
        findings.extend(test_edge(package, allowed, &name));
    }
    findings.extend(lint_inheritance(package));
    findings
}

fn shipped_edge(package: &Package, allowed: &[&str], dependency: &str) -> Option<Finding> {
    if let Some(ours) = dependency.strip_prefix("cairn-") {
        return (!allowed.contains(&ours)).then(|| forbidden(package, allowed, ours));
    }
    let networked = NETWORK_CRATES.contains(&dependency);
    (networked && !NETWORK_HOMES.contains(&package.name.as_str())).then(|| {
        Finding::file(
            &package.manifest_path,
            NETWORK,
            format!(
                "`{dependency}` speaks to a network; only {} may use it",
                NETWORK_HOMES.join(", ")
            ),
        )
    })
}

/// Tests may use what the crate may, and the test kit.
fn test_edge(package: &Package, allowed: &[&str], dependency: &str) -> Option<Finding> {
    let ours = dependency.strip_prefix("cairn-")?;
    let fine = ours == "testkit" || allowed.contains(&ours);
    (!fine).then(|| forbidden(package, allowed, ours))
}

fn forbidden(package: &Package, allowed: &[&str], dependency: &str) -> Finding {
    let may = match allowed {
        [] => "no crate of the workspace".to_owned(),
        some => some.join(", "),
    };
    Finding::file(
        &package.manifest_path,
        EDGE,
        format!(
            "`{}` may not use `{dependency}`; it may use {may}",
            package.name
        ),
    )
}

/// Every package but `sandbox` and `xtask` takes the workspace's lints, `unsafe_code = "forbid"`
/// among them; `xtask` says the same by itself.
fn lint_inheritance(package: &Package) -> Option<Finding> {
    let lints = package.manifest.get("lints");
    let inherits = lints.and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true));
    let forbids = lints
        .and_then(|lints| lints.get("rust"))
        .and_then(|rust| rust.get("unsafe_code"))
        .and_then(Value::as_str)
        == Some("forbid");
    let fine = inherits || forbids || package.name == "sandbox";
    (!fine).then(|| {
        Finding::file(
            &package.manifest_path,
            UNSAFE,
            "`[lints] workspace = true` is missing, so `unsafe` is not forbidden here",
        )
    })
}

/// The names in some dependency tables, those of `[target.*]` included.
fn dependencies(manifest: &Table, tables: &[&str]) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values);
    let sections = targets.filter_map(Value::as_table).chain([manifest]);
    sections
        .flat_map(|section| tables.iter().filter_map(|name| section.get(*name)))
        .filter_map(Value::as_table)
        .flat_map(Table::keys)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, manifest: &str) -> Vec<String> {
        let manifest = format!("[lints]\nworkspace = true\n{manifest}");
        raw_findings(name, &manifest)
    }

    fn raw_findings(name: &str, manifest: &str) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            manifest_path: format!("crates/{name}/Cargo.toml"),
            manifest: toml::from_str(manifest).expect("a manifest"),
        };
        check(&[package]).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn an_edge_upwards_is_found() {
        assert_eq!(
            findings(
                "store",
                "[dependencies]\ncairn-oci = '1'\ncairn-build = '1'"
            ),
            ["crates/store/Cargo.toml: crate-edge: `store` may not use `build`; it may use oci"]
        );
        assert_eq!(
            findings(
                "oci",
                "[target.'cfg(unix)'.dependencies]\ncairn-store = '1'"
            )
            .len(),
            1
        );
        assert_eq!(
            findings("oci", "[build-dependencies]\ncairn-store = '1'").len(),
            1
        );
    }

    #[test]
    fn an_edge_downwards_is_fine() {
        assert!(findings("build", "[dependencies]\ncairn-sandbox = '1'\nserde = '1'").is_empty());
        assert!(findings("store", "[dev-dependencies]\ncairn-testkit = '1'").is_empty());
    }

    #[test]
    fn tests_do_not_open_the_picture() {
        assert_eq!(
            findings("oci", "[dev-dependencies]\ncairn-store = '1'").len(),
            1
        );
        assert_eq!(
            findings("store", "[dependencies]\ncairn-testkit = '1'").len(),
            1
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert!(findings("conda", "")[0].contains("no place in the picture"));
    }

    #[test]
    fn http_outside_registry_is_found() {
        assert_eq!(
            findings("debian", "[dependencies]\nreqwest = '0.13'"),
            [
                "crates/debian/Cargo.toml: network-crate: `reqwest` speaks to a network; only registry may use it"
            ]
        );
        assert!(findings("registry", "[dependencies]\nreqwest = '0.13'").is_empty());
    }

    #[test]
    fn a_crate_that_does_not_inherit_lints_is_found() {
        assert!(raw_findings("oci", "")[0].contains("unsafe-crate"));
        assert!(raw_findings("oci", "[lints.rust]\nunsafe_code = 'forbid'").is_empty());
        assert!(raw_findings("sandbox", "[lints.rust]\nunsafe_code = 'allow'").is_empty());
    }
}
