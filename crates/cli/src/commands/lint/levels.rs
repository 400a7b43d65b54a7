//! Levels on the command line: thresholds, and those of single rules.

use std::collections::BTreeMap;

use cairn_dockerfile::lint::{self, Level, RULES, Rule};
use cairn_dockerfile::suggest;
use clap::ValueEnum;

/// A threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelChoice {
    /// Everything
    Info,
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
    /// Nothing
    Never,
}

impl LevelChoice {
    /// Whether a level reaches the threshold.
    pub fn has(self, level: Level) -> bool {
        match self {
            Self::Info => true,
            Self::Warning => level >= Level::Warning,
            Self::Error => level >= Level::Error,
            Self::Never => false,
        }
    }
}

/// `--rule NAME=LEVEL`.
#[derive(Debug, Clone)]
pub struct RuleLevel {
    rule: &'static Rule,
    level: Option<Level>,
}

impl RuleLevel {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, level) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not NAME=LEVEL"))?;
        let rule = find(name)?;
        let level = match level {
            "off" => None,
            "info" => Some(Level::Info),
            "warning" => Some(Level::Warning),
            "error" => Some(Level::Error),
            _ => {
                return Err(format!(
                    "`{level}` is no level; there are off, info, warning and error"
                ));
            }
        };
        Ok(Self { rule, level })
    }
}

/// Finds a rule by name, or says which name is near.
pub fn find(name: &str) -> Result<&'static Rule, String> {
    lint::rule(name).ok_or_else(|| {
        let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        let near = suggest::nearest(name, names.iter().copied());
        match near {
            Some(near) => format!("there is no rule `{name}`; did you mean `{near}`?"),
            None => format!("there is no rule `{name}`; `cairn lint --explain` lists them"),
        }
    })
}

/// The levels given for rules; the last of a rule counts.
pub fn levels(given: &[RuleLevel]) -> BTreeMap<&'static str, Option<Level>> {
    given
        .iter()
        .map(|given| (given.rule.name, given.level))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_given_by_name_or_alias() {
        let parse = |text| RuleLevel::parse(text).map(|given| (given.rule.name, given.level));
        assert_eq!(
            parse("dl3025=error"),
            Ok(("JSONArgsRecommended", Some(Level::Error)))
        );
        assert_eq!(parse("UndefinedVar=off"), Ok(("UndefinedVar", None)));
        assert!(
            parse("UndefinedVr=off")
                .unwrap_err()
                .contains("`UndefinedVar`")
        );
        assert!(parse("UndefinedVar=loud").unwrap_err().contains("no level"));
        assert!(parse("UndefinedVar").is_err());
    }

    #[test]
    fn thresholds_include_what_is_above() {
        assert!(LevelChoice::Info.has(Level::Info) && LevelChoice::Info.has(Level::Error));
        assert!(!LevelChoice::Error.has(Level::Warning) && !LevelChoice::Never.has(Level::Error));
    }
}
