//! `cairn show`: runs of this store, and what one of them did.

use std::path::Path;
use std::time::Duration;

use cairn_stack::history::{RunStory, runs, story};
use cairn_stack::load::LoadError;
use cairn_store::{RunRecord, StepRecord, TestRecord};
use clap::Args;

use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
use crate::quantity;
use crate::sanitize;
use crate::session::{Session, host_platform};
use crate::style::{Line, Tone};
use crate::table::{Align, Cell, Table};

/// So many runs are listed, and searched for a name.
const RUNS_MAX: usize = 1000;
const LISTED: usize = 20;
/// Of what a failed test says, so many lines are told.
const DETAIL_LINES_MAX: usize = 20;

/// List the runs that did something, or tell what one of them did
///
/// In a stack's directory, the runs of this stack; elsewhere, all that the store knows of.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// The run, or how its name begins; `last` for the newest [default: list them]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// List the runs of all stacks of the store, and of lone builds
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &ShowArgs, session: &Session) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let stack = match args.all {
        true => None,
        false => of_stack(args, session)?,
    };
    let Some(wanted) = &args.run else {
        let listed = runs(&store, LISTED, stack.as_deref())?;
        let is_all = stack.is_none() || runs(&store, LISTED, None)?.len() == listed.len();
        if let (Some(stack), false) = (&stack, is_all) {
            let text =
                format!("these are the runs of stack `{stack}`; `--all` lists all of the store");
            session.printer.note(&text);
        }
        return match args.json.json {
            true => Ok(session.printer.json(&listed)?),
            false => Ok(session.printer.lines(&table(&listed).lines())?),
        };
    };
    // A run that is named is told whosever it is.
    let among = stack.as_deref().filter(|_| wanted == "last");
    let all = runs(&store, RUNS_MAX, among)?;
    let mut found = all
        .iter()
        .filter(|run| wanted == "last" || run.run.starts_with(wanted.as_str()));
    let Some(first) = found.next() else {
        return Err(CommandError::usage(format!("there is no run `{wanted}`"))
            .hint("`cairn show` lists those that there are"));
    };
    if wanted != "last" && first.run != *wanted && found.next().is_some() {
        return Err(CommandError::usage(format!(
            "several runs begin with `{wanted}`"
        )));
    }
    let story = story(&store, first)?;
    match args.json.json {
        true => session.printer.json(&story)?,
        false => session.printer.lines(&lines(&story))?,
    }
    Ok(())
}

/// The stack here, if there is one. What a spec says wrong is no reason to tell nothing.
fn of_stack(args: &ShowArgs, session: &Session) -> Result<Option<String>, CommandError> {
    match args.stack.load(session, &host_platform()) {
        Ok(loaded) => Ok(Some(loaded.stack.name)),
        Err(LoadError::NoSpec { .. }) if args.stack.stack == Path::new(".") => Ok(None),
        Err(LoadError::Findings(_)) => {
            let text = "the spec here has errors, so these are the runs of all stacks";
            session.printer.note(text);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn table(runs: &[RunRecord]) -> Table {
    let mut table = Table::new(&[
        ("RUN", Align::Left),
        ("COMMAND", Align::Left),
        ("STACK", Align::Left),
        ("BEGAN", Align::Left),
        ("TOOK", Align::Right),
        ("OUTCOME", Align::Left),
    ]);
    for run in runs {
        table.row([
            Cell::new(Tone::Strong, run.run.as_str()),
            run.command.as_str().into(),
            run.stack.as_deref().unwrap_or_default().into(),
            began(run).into(),
            took(run).into(),
            Cell::new(tone(run), outcome(run)),
        ]);
    }
    table
}

fn began(run: &RunRecord) -> String {
    jiff::Timestamp::from_millisecond(run.started_ms)
        .map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}

fn took(run: &RunRecord) -> String {
    let time = run.finished_ms.map(|end| end - run.started_ms);
    let time = time.and_then(|time| u64::try_from(time).ok());
    time.map_or_else(String::new, |time| {
        quantity::duration(Duration::from_millis(time))
    })
}

fn outcome(run: &RunRecord) -> &str {
    run.outcome.as_deref().unwrap_or("did not end")
}

fn tone(run: &RunRecord) -> Tone {
    match outcome(run) {
        "succeeded" => Tone::Good,
        _ => Tone::Bad,
    }
}

fn lines(story: &RunStory) -> Vec<Line> {
    let run = &story.run;
    let heading = Line::new(Tone::Strong, sanitize::name(&run.run))
        .with(Tone::Plain, format!("  {}", sanitize::name(&run.command)))
        .with(Tone::Plain, format!(" of {}, {}", began(run), took(run)))
        .with(tone(run), format!("  {}", outcome(run)));
    let images = story.images.iter().map(|image| {
        let word = if image.is_new { "built" } else { "found" };
        Line::new(Tone::Good, format!("{word:>9}"))
            .with(Tone::Plain, format!("  {}", sanitize::name(&image.image)))
            .with(Tone::Dim, format!("  {}", image.digest))
    });
    let steps = story.steps.iter().filter(|step| step.outcome != "cached");
    std::iter::once(heading)
        .chain(images)
        .chain(steps.map(step_line))
        .chain(story.tests.iter().flat_map(test_lines))
        .collect()
}

fn step_line(step: &StepRecord) -> Line {
    let tone = match step.outcome.as_str() {
        "failed" => Tone::Bad,
        _ => Tone::Busy,
    };
    let time = quantity::duration(Duration::from_millis(step.duration_ms));
    Line::new(tone, format!("{:>9}", sanitize::name(&step.outcome)))
        .with(Tone::Dim, format!("{time:>7} "))
        .with(
            Tone::Plain,
            format!(
                "{} {}",
                sanitize::name(&step.image),
                sanitize::name(&step.title)
            ),
        )
}

fn test_lines(test: &TestRecord) -> Vec<Line> {
    let tone = match test.verdict.as_str() {
        "failed" => Tone::Bad,
        "skipped" => Tone::Dim,
        _ => Tone::Good,
    };
    let time = quantity::duration(Duration::from_millis(test.duration_ms));
    let line = Line::new(tone, format!("{:>9}", sanitize::name(&test.verdict)))
        .with(Tone::Dim, format!("{time:>7} "))
        .with(
            Tone::Plain,
            format!(
                "{} {}",
                sanitize::name(&test.image),
                sanitize::name(&test.test)
            ),
        );
    // Of what failed everything is wanted, within reason.
    let told = match test.verdict.as_str() {
        "failed" => DETAIL_LINES_MAX,
        _ => 1,
    };
    let detail = test.detail.lines().take(told).map(|text| {
        let text = format!("{:>18}{}", "", sanitize::name(text));
        Line::new(Tone::Dim, text)
    });
    std::iter::once(line).chain(detail).collect()
}
