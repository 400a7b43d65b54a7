//! The checker: what in a Dockerfile is legal and still a mistake.
//!
//! ```text
//!  Dockerfile + Input --Facts::new--> Facts     stages, bases, variables at each instruction
//!  Facts --each Rule of RULES-------> Finding   place, level, detail, perhaps a fix
//!  Finding --Filter-----------------> Checked   what settings, directives and comments let through
//! ```
//!
//! A rule is a value ([`Rule`]): its name, level, page and the function that looks for it stand
//! in one place, and [`RULES`] lists them all. The rules of BuildKit have its names, lines and
//! wording, so that a file gets the same warnings here and there; the others are ours.
//!
//! Nothing is read from outside: what the rules need to know of a `.dockerignore`, of base images
//! or of a stack comes with the [`Input`].

mod buildkit;
mod facts;
mod filter;
mod finding;
pub mod fix;
mod input;
mod installs;
mod options;
mod practice;
mod reference;
mod rule;
mod rules;
mod science;

use cairn_diagnostic::Diagnostic;

use crate::ast::Dockerfile;
use facts::Facts;
use filter::Filter;
use finding::Findings;

pub use buildkit::secrets::is_secret;
pub use finding::{Edit, Finding, Fix, Level};
pub use input::{BaseImage, Input, Reach};
pub use options::{CheckOptions, OptionsError, Selection};
pub use practice::credentials::masked;
pub use rule::{Group, Rule};
pub use rules::{RULES, rule};

/// The build argument that says what a `# check=` directive says, and takes its place.
pub const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the checker says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The findings in the order of the text.
    pub findings: Vec<Finding>,
    /// What the file (or the build argument) asks of the checker.
    pub options: CheckOptions,
}

impl Checked {
    /// BuildKit's rules that were violated where `error=true` makes that the end of a build;
    /// empty otherwise.
    pub fn violations(&self) -> Vec<&'static str> {
        if !self.options.is_error {
            return Vec::new();
        }
        let rules = self.findings.iter().map(|finding| finding.rule);
        let mut names: Vec<_> = rules
            .filter(|rule| rule.group == Group::BuildKit)
            .map(|rule| rule.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Checks a Dockerfile. The error is a request that makes no sense: options that cannot be read,
/// or a target that does not exist.
pub fn check(file: &Dockerfile, input: &Input<'_>) -> Result<Checked, Box<Diagnostic>> {
    let options = options(file, input)?;
    let facts = Facts::new(file, input)?;
    let filter = Filter::new(file, &options, input.levels);
    let mut findings = Vec::new();
    for rule in RULES.iter().copied().filter(|rule| (input.wants)(rule)) {
        let Some(level) = filter.level(rule) else {
            continue;
        };
        let mut found = Findings::new(rule, level, input.levels.contains_key(rule.name));
        (rule.check)(&facts, &mut found);
        findings.extend(found.take());
    }
    findings.retain(|finding| !filter.is_ignored(finding));
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    Ok(Checked { findings, options })
}

/// The options of the build argument, or else of the file's directive.
fn options(file: &Dockerfile, input: &Input<'_>) -> Result<CheckOptions, Box<Diagnostic>> {
    let (text, span) = match (input.args.get(CHECK_ARGUMENT), &file.directives.check) {
        (Some(given), _) => (given.as_str(), None),
        (None, Some(directive)) => (directive.as_str(), Some(directive.span)),
        (None, None) => return Ok(CheckOptions::default()),
    };
    CheckOptions::parse(text).map_err(|error| {
        let error = Diagnostic::error(format!("failed to parse check options: {error}"))
            .hint("Options look like `skip=Rule1,Rule2;error=true`.");
        Box::new(match span {
            Some(span) => error.at(&file.source, span),
            None => error,
        })
    })
}

#[cfg(test)]
mod tests;
