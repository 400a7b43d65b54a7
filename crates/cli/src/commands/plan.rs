//! `cairn plan`: what a run would do, and why.

use std::collections::BTreeMap;

use cairn_build::event::NoEvents;
use cairn_build::image::ImageRecord;
use cairn_build::run::Prepared;
use cairn_sandbox::interrupt;
use cairn_stack::check::{TestAction, TestPlan, forecast};
use cairn_stack::decide::decide;
use cairn_stack::plan::{
    ImageDecision, ImagePlan, PlanReport, PublishedPlan, StepAction, StepPlan, in_words, records,
    report,
};
use cairn_stack::request::Requests;
use cairn_stack::retag::compare;
use clap::Args;
use serde::Serialize;

use super::options::{BuildOptions, JsonOption, StackOption};
use crate::bookkeeping::{keep_digests, write_down_settled};
use crate::error::CommandError;
use crate::failures;
use crate::platforms::Purpose;
use crate::progress::{Progress, count};
use crate::published;
use crate::quantity;
use crate::sanitize;
use crate::session::Session;
use crate::settings::ProgressChoice;
use crate::stack_run::{Keep, StackRun};
use crate::style::{Line, Tone};

/// Say what a build would do, and why
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Images of the stack [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    options: BuildOptions,
    /// Look only at images that changes since this commit concern
    #[arg(long, value_name = "REV")]
    since: Option<String>,
    /// Run the steps that others copy from where only that shows whether those run; what ran is kept
    #[arg(long)]
    settle: bool,
    /// Print the images to build as a matrix for GitHub Actions
    #[arg(long, conflicts_with = "json")]
    github_matrix: bool,
    #[command(flatten)]
    json: JsonOption,
}

/// A matrix of GitHub Actions: one job for each entry.
#[derive(Debug, Serialize)]
struct Matrix<'a> {
    include: Vec<Job<'a>>,
}

/// An image to build.
#[derive(Debug, Serialize)]
struct Job<'a> {
    image: &'a str,
    platform: &'a str,
    because: String,
}

pub fn run(args: &PlanArgs, session: &mut Session) -> Result<(), CommandError> {
    // Jobs are for the machines of a CI, whatever this one is.
    let purpose = match args.github_matrix {
        true => Purpose::Elsewhere,
        false => Purpose::Build,
    };
    let (of, options, images) = (&args.stack, &args.options, &args.images);
    let stack = match args.settle {
        true => StackRun::open_for(session, of, options, images, purpose)?,
        false => StackRun::look(session, of, options, images, purpose)?,
    };
    let locks = stack.locked(Keep::Forget, &session.printer)?;
    let requests = stack.requests(&locks)?;
    let engine = stack.engine(&requests, &NoEvents);
    let mut prepared = stack.prepare(&requests, &engine)?;
    let mut plan = report(&prepared, &engine);
    if args.settle {
        settle(&mut plan, &mut prepared, &stack, &requests, session)?;
    }
    let records = records(&prepared, &engine);
    let last = |label: &str| stack.last_built(label);
    let input = |label: &str| {
        let mut images = prepared.lowered.images.iter();
        let image = images.find(|it| it.name == label)?;
        Some(in_words(&prepared.unlike_last(image, &engine)?))
    };
    compare(&mut plan, &records, &last, &input, &stack.means.store);
    let made_of = || published::made_of(&prepared, &engine, &records);
    published::compare(&mut plan, &made_of, &stack, args.options.offline, session)?;
    tests(&mut plan, &stack, &records)?;
    let range = match &args.since {
        Some(revision) => Some(stack.range(session, &args.stack, revision)?),
        None => None,
    };
    decide(&mut plan, &stack.loaded, range.as_ref(), &stack.again);
    keep_digests(&engine);
    if args.github_matrix {
        let matrix = serde_json::to_string(&matrix(&plan)).unwrap_or_default();
        session.printer.data(&format!("{matrix}\n"))?;
        return Ok(());
    }
    match args.json.json {
        true => session.printer.json(&plan)?,
        false => session.printer.lines(&lines(&plan))?,
    }
    Ok(())
}

/// Runs what images that are not decided hang on, and puts into the plan what that has shown.
fn settle(
    plan: &mut PlanReport,
    prepared: &mut Prepared<'_>,
    stack: &StackRun,
    requests: &Requests,
    session: &mut Session,
) -> Result<(), CommandError> {
    let open = plan.open();
    if open.is_empty() {
        return Ok(());
    }
    stack.refuse_foreign(prepared)?;
    let choice = ProgressChoice::Auto;
    let progress = Progress::start(choice, &session.settings, &mut session.printer);
    let engine = stack.engine(requests, &progress);
    let solved = prepared.settle(&engine, &open);
    let name = &stack.loaded.stack.name;
    write_down_settled(name, stack.started_ms, prepared, &solved, &engine);
    progress.finish();
    if interrupt::received().is_some() {
        return Err(CommandError::interrupted());
    }
    stack.means.make_durable()?;
    if !solved.failures.is_empty() {
        let shown = session.settings.progress(choice);
        return Err(failures::tell(&session.printer, &solved.failures, shown));
    }
    let later = report(prepared, &stack.engine(requests, &NoEvents));
    plan.settle(&later, prepared, &solved);
    Ok(())
}

/// Adds what would become of the tests of the images that were asked for.
fn tests(
    plan: &mut PlanReport,
    stack: &StackRun,
    records: &BTreeMap<String, ImageRecord>,
) -> Result<(), CommandError> {
    for image in &mut plan.images {
        let Some((run, id)) = stack.find(&image.label) else {
            continue;
        };
        let loaded = &run.loaded;
        let record_of = |name: &str| {
            let id = loaded.stack.exact(name)?;
            records.get(&loaded.label(id)).cloned()
        };
        if run.selected.contains(&id) {
            let store = &stack.means.store;
            let record = records.get(&image.label);
            image.tests = forecast(store, loaded, id, record, &record_of)?;
        }
    }
    Ok(())
}

/// One job for each image and platform to build, with why.
fn matrix(plan: &PlanReport) -> Matrix<'_> {
    let built = plan.images.iter();
    let is_built = |decision| matches!(decision, ImageDecision::Build | ImageDecision::Maybe);
    let built = built.filter(|image| is_built(image.decision));
    let jobs = built.map(|image| Job {
        image: &image.image,
        platform: &image.platform,
        because: why(image),
    });
    Matrix {
        include: jobs.collect(),
    }
}

/// The first reason there is: of the image, else of its first step.
fn why(image: &ImagePlan) -> String {
    if let Some(reason) = image.reasons.first() {
        return reason.because.clone();
    }
    let step = image.steps.first();
    step.map_or_else(
        || "what it builds on is to be built".to_owned(),
        |step| match &step.action {
            StepAction::Run { because, .. }
            | StepAction::After { because }
            | StepAction::Broken { because } => because.clone(),
        },
    )
}

fn lines(plan: &PlanReport) -> Vec<Line> {
    let mut lines: Vec<Line> = plan.images.iter().flat_map(image_lines).collect();
    let mut sums = Vec::new();
    for (number, what) in [
        (plan.ran, "run already"),
        (plan.run, "to run"),
        (plan.after, "depending"),
        (plan.reuse, "there"),
    ] {
        if number > 0 {
            sums.push(format!("{} {what}", count(number, "step")));
        }
    }
    if plan.bring > 0 {
        let size = quantity::bytes(plan.bring_bytes);
        let many = count(plan.bring, "layer");
        sums.push(format!("{many} of them to come from registries ({size})"));
    }
    lines.push(Line::new(Tone::Dim, sums.join(", ")));
    if !plan.open().is_empty() {
        let hint = "`--settle` runs the steps that a `maybe` hangs on, and says which it is";
        lines.push(Line::new(Tone::Dim, hint));
    }
    lines
}

fn image_lines(image: &ImagePlan) -> Vec<Line> {
    let (word, tone) = match image.decision {
        ImageDecision::Build => ("build", Tone::Busy),
        ImageDecision::Reuse => ("reuse", Tone::Good),
        ImageDecision::Maybe => ("maybe", Tone::Plain),
        ImageDecision::Retag => ("retag", Tone::Good),
        ImageDecision::Skip => ("skip", Tone::Dim),
    };
    let name = sanitize::name(&image.label);
    let mut line = Line::new(tone, format!("{word:<5}")).with(Tone::Strong, format!("  {name}"));
    for (number, reason) in image.reasons.iter().enumerate() {
        let word = if number == 0 { "because" } else { "and" };
        let place = reason
            .place
            .as_ref()
            .filter(|(file, _)| !reason.because.contains(file));
        let place = place.map_or(String::new(), |(file, line)| format!(" ({file}:{line})"));
        let because = format!("{}{place}", reason.because);
        line = line.with(Tone::Dim, format!("  {word} {}", sanitize::name(&because)));
    }
    let mut lines = vec![line];
    if image.decision != ImageDecision::Skip {
        lines.extend(image.published.as_ref().and_then(published_line));
        lines.extend(image.steps.iter().map(step_line));
        lines.extend(image.tests.iter().map(test_line));
    }
    lines
}

/// How it compares with what is published, where its decision does not say so.
fn published_line(published: &PublishedPlan) -> Option<Line> {
    let tag = sanitize::name(&published.tag);
    let generation = published.generation.as_ref()?;
    let told = match published.same {
        Some(true) => format!("{tag} is this image, in generation {generation}"),
        Some(false) => format!("{tag} is another image, in generation {generation}"),
        None => format!(
            "{tag} is in generation {generation}; whether as this will be shows when it is built"
        ),
    };
    let line = Line::new(Tone::Dim, format!("       {:<6} {told}", "there"));
    Some(match &published.because {
        Some(because) => line.with(Tone::Dim, format!("  because {}", sanitize::name(because))),
        None => line,
    })
}

fn test_line(test: &TestPlan) -> Line {
    let (word, tone) = match test.action {
        TestAction::Run => ("test", Tone::Busy),
        TestAction::Reuse => ("known", Tone::Good),
        TestAction::After => ("test", Tone::Plain),
        TestAction::Wait => ("apart", Tone::Dim),
    };
    let file = sanitize::name(&test.file);
    Line::new(tone, format!("       {word:<6}"))
        .with(Tone::Plain, format!(" {} {file}", test.kind))
        .with(Tone::Dim, format!("  because {}", test.because))
}

fn step_line(step: &StepPlan) -> Line {
    let (word, tone, because) = match &step.action {
        StepAction::Run { because, .. } => ("run", Tone::Busy, because),
        StepAction::After { because } => ("maybe", Tone::Plain, because),
        StepAction::Broken { because } => ("cannot", Tone::Bad, because),
    };
    let (number, of) = step.step;
    let title = sanitize::name(&step.title);
    Line::new(tone, format!("       {word:<6}"))
        .with(Tone::Plain, format!(" {number}/{of}  {title}"))
        .with(Tone::Dim, format!("  because {}", sanitize::name(because)))
}
