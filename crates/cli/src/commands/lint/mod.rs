//! `cairn lint`: what in Dockerfiles is legal and still a mistake.

mod diff;
mod explain;
mod fix;
mod github;
mod json;
mod levels;
mod sarif;
mod subject;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cairn_dockerfile::lint::{Finding, Level};
use clap::{Args, ValueEnum};

use super::options::{pair, variable};
use crate::error::{CommandError, Kind};
use crate::printer::Printer;
use crate::session::Session;
use levels::{LevelChoice, RuleLevel};
use subject::Checked;
pub use subject::Subject;

/// Check Dockerfiles for mistakes that a build does not notice
///
/// Without FILE, the Dockerfiles of the stack here are checked, or else the Dockerfile here.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 the command line or a Dockerfile is wrong

Silence a rule for one instruction with a comment above it:
  # cairn ignore=RULE[,RULE]        also # hadolint ignore=DL3008 and # check=skip=RULE
or for a file, at its top:
  # check=skip=RULE[,RULE]

Examples:
  cairn lint                        all Dockerfiles of the stack here
  cairn lint app/Dockerfile --strict
  cairn lint --format sarif > lint.sarif
  cairn lint --explain UndefinedVar")]
pub struct LintArgs {
    /// Dockerfiles, or `-` for standard input [default: those of the stack here]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Check the Dockerfiles of this stack
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    stack: Option<PathBuf>,
    /// Lay an environment of the spec, `[env.NAME]`, over the rest of it
    #[arg(long = "env", value_name = "NAME")]
    overlay: Option<String>,
    /// Give a variable of the spec a value (can be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    variables: Vec<(String, String)>,
    /// Set a build argument; without a value, from the environment (can be repeated)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    build_arg: Vec<(String, Option<String>)>,
    /// Check this stage and those it needs [default: all stages]
    #[arg(long, value_name = "STAGE", conflicts_with = "stack")]
    target: Option<String>,
    /// The directory that the files copy from [default: each file's own]
    #[arg(long, value_name = "DIR", conflicts_with = "stack")]
    context: Option<PathBuf>,
    /// How to print findings
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    format: Format,
    /// Print findings as JSON, as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Show findings from this level on
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warning")]
    level: LevelChoice,
    /// End with code 1 if there are findings from this level on
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "error")]
    fail_on: LevelChoice,
    /// End with code 1 if there are warnings, as `--fail-on warning`
    #[arg(long, conflicts_with = "fail_on")]
    strict: bool,
    /// Give a rule another level: off, info, warning or error (can be repeated)
    #[arg(long, value_name = "NAME=LEVEL", value_parser = RuleLevel::parse)]
    rule: Vec<RuleLevel>,
    /// Mend what is mechanical, and print what was changed as a diff
    #[arg(long, conflicts_with_all = ["json", "format"])]
    fix: bool,
    /// With --fix, print the diff and change nothing
    #[arg(long, requires = "fix")]
    dry_run: bool,
    /// Tell about a rule, or list all rules
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people, with the lines in question
    #[default]
    Text,
    /// A list of objects
    Json,
    /// SARIF 2.1.0, which code hosts show beside the code
    Sarif,
    /// Annotations of GitHub's workflows
    Github,
}

pub fn run(args: &LintArgs, session: &Session) -> Result<(), CommandError> {
    if let Some(name) = &args.explain {
        return explain::run(name, session);
    }
    let (mut checked, refused) = check(args, session)?;
    let fails = fails(args, &checked);
    for file in &mut checked {
        file.hide_below(args.level);
    }
    match args.format() {
        Format::Text => {
            // With a fix, standard output has the diff.
            if !args.fix {
                text::print(&checked, &session.printer)?;
            }
            text::print_sum(&checked, !refused.is_empty(), &session.printer);
        }
        Format::Json => session.printer.json(&json::list(&checked))?,
        Format::Sarif => session.printer.json(&sarif::log(&checked, &refused))?,
        Format::Github => session
            .printer
            .data(&github::annotations(&checked, &refused))?,
    }
    if !refused.is_empty() {
        return Err(CommandError::from_findings(Kind::Usage, refused));
    }
    match fails {
        true => Err(CommandError::told(Kind::Work)),
        false => Ok(()),
    }
}

/// Tells what BuildKit's rules say of a Dockerfile that could be built, for `cairn build --check`.
///
/// `errors` are the mistakes for which it cannot be; what stands before them is checked.
pub fn check_build(
    subject: Option<&Subject>,
    errors: Vec<cairn_diagnostic::Diagnostic>,
    printer: &Printer,
) -> Result<(), CommandError> {
    let checked = subject.map(|subject| subject.check(&BTreeMap::new()));
    let mut found = 0;
    match checked {
        Some(Ok(mut checked)) => {
            checked.hide_below(LevelChoice::Warning);
            found = checked.findings.len();
            let checked = [checked];
            text::print(&checked, printer)?;
            text::print_sum(&checked, !errors.is_empty(), printer);
        }
        Some(Err(error)) => return Err(CommandError::from_findings(Kind::Usage, vec![*error])),
        None => {}
    }
    match (errors.is_empty(), found) {
        (false, _) => Err(CommandError::from_findings(Kind::Usage, errors)),
        (true, 0) => Ok(()),
        (true, _) => Err(CommandError::told(Kind::Work)),
    }
}

/// Checks everything that was asked for: what was found, and why files could not be checked.
fn check(
    args: &LintArgs,
    session: &Session,
) -> Result<(Vec<Checked>, Vec<cairn_diagnostic::Diagnostic>), CommandError> {
    let levels = levels::levels(&args.rule);
    let (subjects, mut refused) = Subject::find(args, session)?;
    if args.fix {
        return Ok((fix::mend(args, &subjects, &levels, session)?, refused));
    }
    let mut all: Vec<Checked> = Vec::new();
    for subject in &subjects {
        match subject.check(&levels) {
            Ok(checked) => subject::merge(&mut all, checked),
            Err(error) => refused.push(*error),
        }
    }
    Ok((all, refused))
}

/// Whether the findings are reason for exit code 1.
fn fails(args: &LintArgs, checked: &[Checked]) -> bool {
    let threshold = match args.strict {
        true => LevelChoice::Warning,
        false => args.fail_on,
    };
    let is_reason = |finding: &Finding| threshold.has(finding.level);
    checked
        .iter()
        .any(|file| !file.violations.is_empty() || file.findings.iter().any(is_reason))
}

impl LintArgs {
    fn format(&self) -> Format {
        match self.json {
            true => Format::Json,
            false => self.format,
        }
    }
}

/// The word of GitHub and SARIF for a level.
fn severity(level: Level) -> &'static str {
    match level {
        Level::Info => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
