//! The process's environment variables, read once.
//!
//! The only file that asks the operating system for them; everything else gets an [`Environment`],
//! so tests make their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A copy of the environment variables.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Copies the variables of this process.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
        }
    }

    /// Gives a variable that is set and not empty.
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value)
    }

    /// Gives a variable that is set, not empty, and text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw(name)?.to_str()
    }

    /// Gives a variable that holds an absolute path. The XDG rules ignore relative ones.
    pub fn absolute_path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.raw(name)?);
        path.is_absolute().then_some(path)
    }

    /// Gives the directories that programs are looked up in. Relative ones are not among them: they
    /// would mean another place wherever a command is run.
    pub fn program_places(&self) -> Vec<PathBuf> {
        let path = self.raw("PATH").unwrap_or_default();
        std::env::split_paths(path)
            .filter(|place| place.is_absolute())
            .collect()
    }

    /// Gives all variables, for a program that is run in this environment.
    pub fn all(&self) -> Vec<(OsString, OsString)> {
        let pairs = self.variables.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Gives all variables that are text.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let text = |text: &OsString| text.to_str().map(str::to_owned);
        let pair = |(name, value)| Some((text(name)?, text(value)?));
        self.variables.iter().filter_map(pair).collect()
    }

    /// Gives the value of a variable even when it is empty, for handing it on.
    pub fn exact(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}
