//! The file that says what of a context is not part of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cairn_dockerfile::ignore::{IgnoreError, Patterns};

/// An ignore file, read and understood.
#[derive(Debug, Clone)]
pub struct IgnoreFile {
    /// Its name as people know it.
    pub name: String,
    /// What it says.
    pub patterns: Patterns,
}

/// Why an ignore file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreFileError {
    /// It is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line means nothing.
    #[error("{}{}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Pattern {
        /// Where it is.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What is wrong with it.
        source: IgnoreError,
    },
}

impl IgnoreFile {
    /// Finds the ignore file of a build: `<Dockerfile>.dockerignore` beside the Dockerfile, else
    /// `.dockerignore` at the top of the context. A named context has no Dockerfile.
    pub fn find(
        context: &Path,
        dockerfile: Option<&Path>,
    ) -> Result<Option<Self>, IgnoreFileError> {
        let own = dockerfile.map(|dockerfile| {
            let mut name = dockerfile.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        for path in own.into_iter().chain([context.join(".dockerignore")]) {
            if let Some(found) = Self::read(&path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn read(path: &Path) -> Result<Option<Self>, IgnoreFileError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(IgnoreFileError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let patterns = Patterns::parse(&String::from_utf8_lossy(&bytes)).map_err(|source| {
            let line = match &source {
                IgnoreError::LoneExclamation { line } | IgnoreError::Syntax { line, .. } => *line,
            };
            IgnoreFileError::Pattern {
                path: path.to_owned(),
                line,
                source,
            }
        })?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Some(Self { name, patterns }))
    }
}
