//! `cairn plan`: what a run would do, and why.

use cairn_build::event::NoEvents;
use cairn_stack::plan::{ImageDecision, ImagePlan, PlanReport, StepAction, StepPlan, report};
use clap::Args;

use super::options::{BuildOptions, JsonOption, StackOption};
use crate::bookkeeping::keep_digests;
use crate::error::CommandError;
use crate::progress::count;
use crate::sanitize;
use crate::session::Session;
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
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &PlanArgs, session: &Session) -> Result<(), CommandError> {
    let stack = StackRun::look(session, &args.stack, &args.options, &args.images)?;
    let locks = stack.locked(Keep::Forget, &session.printer)?;
    let requests = stack.requests(&locks)?;
    let engine = stack.engine(&requests, &NoEvents);
    let plan = report(&stack.prepare(&requests, &engine)?);
    keep_digests(&engine);
    match args.json.json {
        true => session.printer.json(&plan)?,
        false => session.printer.lines(&lines(&plan))?,
    }
    Ok(())
}

fn lines(plan: &PlanReport) -> Vec<Line> {
    let mut lines: Vec<Line> = plan.images.iter().flat_map(image_lines).collect();
    let mut sums = Vec::new();
    for (number, what) in [
        (plan.run, "to run"),
        (plan.after, "depending"),
        (plan.reuse, "there"),
    ] {
        if number > 0 {
            sums.push(format!("{} {what}", count(number, "step")));
        }
    }
    lines.push(Line::new(Tone::Dim, sums.join(", ")));
    lines
}

fn image_lines(image: &ImagePlan) -> Vec<Line> {
    let (word, tone) = match image.decision {
        ImageDecision::Build => ("build", Tone::Busy),
        ImageDecision::Reuse => ("reuse", Tone::Good),
    };
    let name = sanitize::name(&image.image);
    let mut lines = vec![Line::new(tone, word).with(Tone::Strong, format!("  {name}"))];
    lines.extend(image.steps.iter().map(step_line));
    lines
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
