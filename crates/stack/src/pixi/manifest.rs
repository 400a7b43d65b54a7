//! `pixi.toml`, and what a `pyproject.toml` says to pixi: what each environment asks for.

use std::collections::{BTreeMap, BTreeSet};

use cairn_diagnostic::{Source, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a manifest may be called; the first one that is there counts.
pub(super) const NAMES: [&str; 2] = ["pixi.toml", "pyproject.toml"];

/// Tables of dependencies, and whether they are conda's.
const TABLES: [(&str, bool); 4] = [
    ("dependencies", true),
    ("host-dependencies", true),
    ("build-dependencies", true),
    ("pypi-dependencies", false),
];

/// A manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) source: Source,
    pub(super) environments: Vec<Environment>,
}

/// Packages that are installed together.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) name: String,
    /// What it asks for on each of its platforms.
    pub(super) dependencies: BTreeMap<String, Vec<Dependency>>,
}

/// A package that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Which versions; nothing where a repository or a path says it.
    pub(super) version: Option<String>,
    pub(super) is_conda: bool,
    pub(super) span: Span,
}

impl Manifest {
    /// Reads a manifest; nothing if pixi would not take it for one, or not read it.
    pub(super) fn parse(source: &Source) -> Option<Self> {
        let document = DeTable::parse(&source.text).ok()?;
        let mut root = document.get_ref();
        if source.name.ends_with("pyproject.toml") {
            root = table(table(root, "tool")?, "pixi")?;
        }
        let workspace = table(root, "workspace").or_else(|| table(root, "project"))?;
        let platforms = texts(workspace, "platforms");
        let mut listed: Vec<(String, Vec<String>, bool)> = Vec::new();
        for (name, value) in table(root, "environments").into_iter().flatten() {
            let (features, has_default) = match value.get_ref() {
                DeValue::Array(items) => (items.iter().filter_map(text).collect(), true),
                DeValue::Table(inner) => {
                    let leaves_out = inner.get("no-default-feature").map(Spanned::get_ref);
                    let leaves_out = matches!(leaves_out, Some(DeValue::Boolean(true)));
                    (texts(inner, "features"), !leaves_out)
                }
                _ => return None,
            };
            listed.push((name.get_ref().to_string(), features, has_default));
        }
        if listed.iter().all(|(name, ..)| name != "default") {
            listed.push(("default".to_owned(), Vec::new(), true));
        }
        let environments = listed.into_iter().map(|(name, features, has_default)| {
            let features = features.iter();
            let features = features.filter_map(|it| table(table(root, "feature")?, it));
            let parts: Vec<&DeTable<'_>> = has_default
                .then_some(root)
                .into_iter()
                .chain(features)
                .collect();
            let mut on: BTreeSet<&String> = platforms.iter().collect();
            let own: Vec<Vec<String>> = parts.iter().map(|part| texts(part, "platforms")).collect();
            for own in own.iter().filter(|own| !own.is_empty()) {
                on.retain(|platform| own.contains(platform));
            }
            let of_platform = on.into_iter().map(|platform| {
                let all = parts.iter().flat_map(|part| dependencies(part, platform));
                (platform.clone(), all.collect())
            });
            Environment {
                name,
                dependencies: of_platform.collect(),
            }
        });
        Some(Self {
            source: source.clone(),
            environments: environments.collect(),
        })
    }
}

/// What a feature asks for on a platform.
fn dependencies(feature: &DeTable<'_>, platform: &str) -> Vec<Dependency> {
    let family = platform.split('-').next().unwrap_or(platform);
    let unix = (family != "win").then_some("unix");
    let targets = [Some(platform), Some(family), unix];
    let targets = targets.into_iter().flatten();
    let targets = targets.filter_map(|name| table(table(feature, "target")?, name));
    std::iter::once(feature)
        .chain(targets)
        .flat_map(|part| TABLES.map(|(key, is_conda)| (table(part, key), is_conda)))
        .flat_map(|(list, is_conda)| {
            list.into_iter()
                .flatten()
                .map(move |(name, value)| Dependency {
                    name: name.get_ref().to_string(),
                    version: match value.get_ref() {
                        DeValue::String(version) => Some(version.to_string()),
                        DeValue::Table(inner) => inner.get("version").and_then(text),
                        _ => None,
                    },
                    is_conda,
                    span: Span::from(name.span()).to(value.span().into()),
                })
        })
        .collect()
}

/// A name as PyPI compares them.
pub(super) fn normal(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    let parts = name.split('-').filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

fn table<'t, 'd>(table: &'t DeTable<'d>, key: &str) -> Option<&'t DeTable<'d>> {
    match table.get(key)?.get_ref() {
        DeValue::Table(inner) => Some(inner),
        _ => None,
    }
}

fn text(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

fn texts(table: &DeTable<'_>, key: &str) -> Vec<String> {
    match table.get(key).map(Spanned::get_ref) {
        Some(DeValue::Array(items)) => items.iter().filter_map(text).collect(),
        _ => Vec::new(),
    }
}
