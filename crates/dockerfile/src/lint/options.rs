//! `# check=skip=...;error=true;experimental=...`: what a file asks of the checker.

use super::rule::Rule;
use crate::value;

/// What a `# check=` directive, or the build argument in its place, says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Rules that are not checked.
    pub skip: Selection,
    /// Experimental rules that are.
    pub experimental: Selection,
    /// Whether a finding of BuildKit's rules ends a build.
    pub is_error: bool,
}

/// A choice of rules by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every rule.
    All,
    /// The rules with these names.
    Named(Vec<String>),
}

impl Default for Selection {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Selection {
    /// Whether a rule is chosen.
    pub fn has(&self, rule: &Rule) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| rule.is_called(name)),
        }
    }

    /// Reads `all` or names with commas between them.
    pub(super) fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Named(
                names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect(),
            ),
        }
    }
}

/// Options that mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A key that does not exist, or a part without `=`.
    #[error("invalid check option {0:?}")]
    Option(String),
    /// `error=` with something else than a boolean.
    #[error("failed to parse check option {0:?}: not true or false")]
    Boolean(String),
}

impl CheckOptions {
    /// Reads `skip=A,B;error=true;experimental=all`.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for part in text.split(';') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(OptionsError::Option(part.to_owned()));
            };
            match key.trim() {
                "skip" => options.skip = Selection::parse(value),
                "experimental" => options.experimental = Selection::parse(value),
                "error" => {
                    options.is_error = value::boolean(value.trim())
                        .ok_or_else(|| OptionsError::Boolean(part.to_owned()))?;
                }
                other => return Err(OptionsError::Option(other.to_owned())),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_keys() {
        let options = CheckOptions::parse("skip=A, B;error=True; experimental=all").unwrap();
        assert_eq!(options.skip, Selection::Named(vec!["A".into(), "B".into()]));
        assert_eq!(options.experimental, Selection::All);
        assert!(options.is_error);
        assert_eq!(CheckOptions::parse(" "), Ok(CheckOptions::default()));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let error = |text| CheckOptions::parse(text).unwrap_err().to_string();
        assert_eq!(error("skip"), "invalid check option \"skip\"");
        assert_eq!(error("skpi=all"), "invalid check option \"skpi\"");
        assert!(error("error=maybe").contains("\"error=maybe\""));
    }
}
