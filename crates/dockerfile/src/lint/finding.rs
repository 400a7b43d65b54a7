//! What a rule has found, and how rules report it.

use std::fmt::{self, Display, Formatter};

use cairn_diagnostic::Span;

use super::rule::Rule;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing; not shown unless asked for.
    Info,
    /// Probably a mistake.
    Warning,
    /// A mistake.
    Error,
}

impl Level {
    /// The level's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Display for Level {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mistake at a place.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which kind of mistake.
    pub rule: &'static Rule,
    /// How much it matters here.
    pub level: Level,
    /// Where it is.
    pub span: Span,
    /// What is wrong, with names and values.
    pub detail: String,
    /// What would mend it, where that is mechanical.
    pub fix: Option<Fix>,
}

/// Changes of the text that mend a finding together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// The changes; they do not overlap.
    pub edits: Vec<Edit>,
    /// What the image has otherwise afterwards, where it is not only made otherwise.
    pub effect: Option<&'static str>,
}

/// A part of the text and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The part; empty to insert.
    pub span: Span,
    /// The new text.
    pub text: String,
}

impl Fix {
    /// A single change.
    pub(super) fn replace(span: Span, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            edits: vec![Edit { span, text }],
            effect: None,
        }
    }

    /// The same, which changes what the image has.
    pub(super) fn with_effect(self, effect: &'static str) -> Self {
        Self {
            effect: Some(effect),
            ..self
        }
    }

    /// A text put in at a place.
    pub(super) fn insert(at: usize, text: impl Into<String>) -> Self {
        Self::replace(Span::new(at, at), text)
    }
}

impl PartialEq for Finding {
    fn eq(&self, other: &Self) -> bool {
        let key = |finding: &Self| (finding.rule.name, finding.level, finding.span);
        key(self) == key(other) && self.detail == other.detail
    }
}

impl Eq for Finding {}

/// Collects what one rule finds.
#[derive(Debug)]
pub(super) struct Findings {
    rule: &'static Rule,
    level: Level,
    is_level_given: bool,
    found: Vec<Finding>,
}

impl Findings {
    /// Begins for a rule; `given` is the level somebody asked for.
    pub(super) fn new(rule: &'static Rule, level: Level, given: bool) -> Self {
        Self {
            rule,
            level,
            is_level_given: given,
            found: Vec::new(),
        }
    }

    /// Reports what is only worth knowing, or may be no mistake at all: at the lowest level,
    /// unless somebody asked for another.
    pub(super) fn doubtful(&mut self, span: Span, detail: impl Into<String>) {
        let level = std::mem::replace(&mut self.level, Level::Info);
        if self.is_level_given {
            self.level = level;
        }
        self.at(span, detail);
        self.level = level;
    }

    /// Reports the mistake.
    pub(super) fn at(&mut self, span: Span, detail: impl Into<String>) {
        self.found.push(Finding {
            rule: self.rule,
            level: self.level,
            span,
            detail: detail.into(),
            fix: None,
        });
    }

    /// Reports what leaves no doubt: as an error, unless somebody asked for another level.
    pub(super) fn certain(&mut self, span: Span, detail: impl Into<String>) {
        let level = std::mem::replace(&mut self.level, Level::Error);
        if self.is_level_given {
            self.level = level;
        }
        self.at(span, detail);
        self.level = level;
    }

    /// Reports the mistake with what would mend it.
    pub(super) fn fixable(&mut self, span: Span, detail: impl Into<String>, fix: Option<Fix>) {
        self.at(span, detail);
        if let Some(last) = self.found.last_mut() {
            last.fix = fix;
        }
    }

    pub(super) fn take(self) -> Vec<Finding> {
        self.found
    }
}
