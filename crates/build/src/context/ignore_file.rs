//! The file that says what of a context is not part of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cairn_dockerfile::ignore::{IgnoreError, Patterns};

use super::read_inside;

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
    ///
    /// One that is a link out of its directory is not there, as in BuildKit, which sees no more
    /// than the directory.
    pub fn find(
        context: &Path,
        dockerfile: Option<&Path>,
    ) -> Result<Option<Self>, IgnoreFileError> {
        let own = dockerfile.and_then(|dockerfile| {
            let mut name = dockerfile.file_name()?.to_owned();
            name.push(".dockerignore");
            Some((dockerfile.parent()?, PathBuf::from(name)))
        });
        let shared = (context, PathBuf::from(".dockerignore"));
        for (directory, name) in own.into_iter().chain([shared]) {
            let path = directory.join(&name);
            match read_inside(directory, &name) {
                Ok(Some(bytes)) => return Self::parse(&path, &bytes).map(Some),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(IgnoreFileError::Read { path, source }),
            }
        }
        Ok(None)
    }

    /// Reads an ignore file that was named.
    pub fn at(path: &Path) -> Result<Self, IgnoreFileError> {
        match fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(source) => Err(IgnoreFileError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, IgnoreFileError> {
        let patterns = Patterns::parse(&String::from_utf8_lossy(bytes)).map_err(|source| {
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
        Ok(Self { name, patterns })
    }
}
