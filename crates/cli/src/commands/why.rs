//! `cairn why`: why an image was last rebuilt.

use std::time::Duration;

use cairn_oci::Reference;
use cairn_stack::history::{WhyReport, WhyStep, WhyTest, why};
use cairn_stack::load::LoadError;
use clap::Args;

use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
use crate::quantity;
use crate::sanitize;
use crate::session::{Session, host_platform};
use crate::style::{Line, Tone};

/// Say why an image was last rebuilt
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// The image; without its variant, all variants
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &WhyArgs, session: &Session) -> Result<(), CommandError> {
    let names = names(args, session)?;
    let store = session.open_existing_store()?;
    let mut reports = Vec::new();
    for name in &names {
        reports.extend(why(&store, name)?);
    }
    if reports.is_empty() {
        return Err(CommandError::usage(format!(
            "nothing is known of `{}`: no run has built it",
            args.image
        ))
        .hint("`cairn plan` says what a run would do"));
    }
    match (args.json.json, reports.as_slice()) {
        (true, [report]) => session.printer.json(report)?,
        (true, reports) => session.printer.json(&reports)?,
        (false, reports) => {
            let told: Vec<Line> = reports.iter().flat_map(lines).collect();
            session.printer.lines(&told)?;
        }
    }
    Ok(())
}

/// The images that are meant: those of the stack by that name, or the name as it is where there
/// is no stack.
fn names(args: &WhyArgs, session: &Session) -> Result<Vec<String>, CommandError> {
    let loaded = match args.stack.load(session, &host_platform()) {
        Ok(loaded) => loaded,
        Err(LoadError::NoSpec { .. }) => return Ok(spellings(&args.image)),
        Err(error) => return Err(error.into()),
    };
    let selected = loaded.stack.select(&args.image);
    let names = selected.iter().map(|id| loaded.stack[*id].name.to_string());
    let names: Vec<String> = names.collect();
    Ok(if names.is_empty() {
        spellings(&args.image)
    } else {
        names
    })
}

/// A name as it is, and as a lone build's image is called.
fn spellings(image: &str) -> Vec<String> {
    let mut spellings = vec![image.to_owned()];
    let familiar = image
        .parse::<Reference>()
        .map(|reference| reference.familiar());
    spellings.extend(familiar.ok().filter(|familiar| familiar != image));
    spellings
}

fn lines(report: &WhyReport) -> Vec<Line> {
    let when = jiff::Timestamp::from_millisecond(report.started_ms)
        .map_or_else(|_| String::new(), |time| format!(" at {time:.0}"));
    let heading = Line::new(Tone::Strong, sanitize::name(&report.image)).with(
        Tone::Plain,
        format!("  last ran steps in {}{when}", report.run),
    );
    std::iter::once(heading)
        .chain(report.steps.iter().map(step_line))
        .chain(report.tests.iter().map(test_line))
        .collect()
}

fn step_line(step: &WhyStep) -> Line {
    let stage = match step.stage.as_str() {
        "" => String::new(),
        stage => format!("{} ", sanitize::name(stage)),
    };
    let time = quantity::duration(Duration::from_millis(step.duration_ms));
    let line = Line::new(Tone::Busy, format!("{:>9}", sanitize::name(&step.outcome)))
        .with(Tone::Dim, format!("{time:>7} "))
        .with(
            Tone::Plain,
            format!("{stage}{}  {}", step.step, sanitize::name(&step.title)),
        );
    match step.because.as_str() {
        "" => line,
        because => line.with(Tone::Dim, format!("  because {}", sanitize::name(because))),
    }
}

fn test_line(test: &WhyTest) -> Line {
    let counts = [
        (test.passed, "passed"),
        (test.failed, "failed"),
        (test.skipped, "skipped"),
    ];
    let told = counts.iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> = told
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let tone = match test.failed {
        0 => Tone::Good,
        _ => Tone::Bad,
    };
    Line::new(tone, format!("{:>9}", "tested"))
        .with(
            Tone::Plain,
            format!(
                "        {}  {}",
                sanitize::name(&test.file),
                told.join(", ")
            ),
        )
        .with(Tone::Dim, format!("  in {}", test.run))
}
