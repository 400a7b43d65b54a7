//! `cairn why`: why an image was last rebuilt.

use std::time::Duration;

use cairn_stack::history::{WhyReport, WhyStep, why};
use clap::Args;

use super::options::JsonOption;
use crate::error::CommandError;
use crate::quantity;
use crate::sanitize;
use crate::session::Session;
use crate::style::{Line, Tone};

/// Say why an image was last rebuilt
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &WhyArgs, session: &Session) -> Result<(), CommandError> {
    let store = session.open_store()?;
    let Some(report) = why(&store, &args.image)? else {
        return Err(CommandError::usage(format!(
            "nothing is known of `{}`: no run has built it",
            args.image
        ))
        .hint("`cairn plan` says what a run would do"));
    };
    match args.json.json {
        true => session.printer.json(&report)?,
        false => session.printer.lines(&lines(&report))?,
    }
    Ok(())
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
