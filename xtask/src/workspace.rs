//! The source tree as the chores see it: where it is, its crates, their manifests and files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ChoreError;

/// The checkout that this program was built from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// One package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// The folder's name: `oci`, `cli`, `xtask`.
    pub(crate) name: String,
    /// Its manifest, relative to the root.
    pub(crate) manifest_path: String,
    /// The manifest, parsed.
    pub(crate) manifest: toml::Table,
}

/// One text file, with its path relative to the root.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// The path, with `/`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// Everything `tidy` looks at, read once.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The root manifest.
    pub(crate) manifest: toml::Table,
    /// The packages, by name.
    pub(crate) packages: Vec<Package>,
    /// Every `.rs` file of every package, by path.
    pub(crate) sources: Vec<TextFile>,
    /// `docs/dev/dependencies.md`.
    pub(crate) dependency_page: String,
    /// `docs/dev/requirements.md`.
    pub(crate) requirements_page: String,
    /// `Cargo.lock`.
    pub(crate) lock: String,
}

impl Workspace {
    /// Reads the tree below `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, ChoreError> {
        let mut packages = Vec::new();
        let mut sources = Vec::new();
        for folder in package_folders(root)? {
            packages.push(read_package(root, &folder)?);
            read_sources(root, &root.join(&folder), &mut sources)?;
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            manifest: read_toml(&root.join("Cargo.toml"))?,
            packages,
            sources,
            dependency_page: read_text(&root.join("docs/dev/dependencies.md"))?,
            requirements_page: read_text(&root.join("docs/dev/requirements.md"))?,
            lock: read_text(&root.join("Cargo.lock"))?,
        })
    }
}

/// Reads a TOML file.
pub(crate) fn read_toml(path: &Path) -> Result<toml::Table, ChoreError> {
    let text = read_text(path)?;
    toml::from_str(&text).map_err(|error| ChoreError::Content {
        path: path.to_path_buf(),
        detail: error.message().to_owned(),
    })
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, ChoreError> {
    fs::read_to_string(path).map_err(ChoreError::file(path))
}

fn package_folders(root: &Path) -> Result<Vec<String>, ChoreError> {
    let mut folders = vec!["xtask".to_owned()];
    for entry in list(&root.join("crates"))? {
        if entry.join("Cargo.toml").is_file() {
            folders.push(relative(root, &entry));
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_package(root: &Path, folder: &str) -> Result<Package, ChoreError> {
    let manifest_path = format!("{folder}/Cargo.toml");
    Ok(Package {
        name: folder.rsplit('/').next().unwrap_or(folder).to_owned(),
        manifest: read_toml(&root.join(&manifest_path))?,
        manifest_path,
    })
}

fn read_sources(root: &Path, folder: &Path, sources: &mut Vec<TextFile>) -> Result<(), ChoreError> {
    for path in list(folder)? {
        if path.is_dir() {
            read_sources(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(TextFile {
                text: read_text(&path)?,
                path: relative(root, &path),
            });
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, ChoreError> {
    let entries = fs::read_dir(folder).map_err(ChoreError::file(folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ChoreError::file(folder))?;
    paths.sort();
    Ok(paths)
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}
