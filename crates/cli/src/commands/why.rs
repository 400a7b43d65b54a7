//! `cairn why`: why an image was last rebuilt.

use std::slice;
use std::time::Duration;

use cairn_build::event::NoEvents;
use cairn_oci::Reference;
use cairn_stack::history::{WhyReport, WhyStep, WhyTest, why};
use cairn_stack::load::LoadError;
use cairn_stack::made_of::{MadeOf, Unlike};
use cairn_stack::plan::records;
use cairn_stack::publish::Found;
use cairn_stack::target::label;
use clap::Args;
use serde::Serialize;

use super::generations::RegistryOption;
use super::options::{BuildOptions, JsonOption, PlatformOption, StackOption};
use crate::error::CommandError;
use crate::platforms::Purpose;
use crate::published;
use crate::quantity;
use crate::sanitize;
use crate::session::{Session, host_platform};
use crate::stack_run::{Keep, StackRun};
use crate::style::{Line, Tone};

/// Say why an image was last rebuilt, or what is different about it than what is published
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn why notebook
  cairn why notebook --against 2026.3-main
  cairn why notebook --against ghcr.io/lab/notebook:2026.3-main
  cairn why notebook --against 1f0c22a9b7de        a generation, as `cairn log` lists them")]
pub struct WhyArgs {
    /// The image; without its variant, all variants
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Name the first input that is not as in this generation: a tag, a reference, or a
    /// generation
    #[arg(long, value_name = "GENERATION")]
    against: Option<String>,
    /// Look at the runs of all stacks of the store, not only of this one
    #[arg(long, conflicts_with = "against")]
    all: bool,
    #[command(flatten)]
    registry: RegistryOption,
    #[command(flatten)]
    platform: PlatformOption,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &WhyArgs, session: &Session) -> Result<(), CommandError> {
    if let Some(generation) = &args.against {
        return against(args, generation, session);
    }
    let (names, stack) = names(args, session)?;
    let store = session.open_existing_store()?;
    let stack = stack.as_deref().filter(|_| !args.all);
    let mut reports = Vec::new();
    for name in &names {
        reports.extend(why(&store, name, stack)?);
    }
    if reports.is_empty() {
        let mut error = CommandError::usage(format!(
            "nothing is known of `{}`: no run has built it",
            args.image
        ))
        .hint("`cairn plan` says what a run would do");
        for name in &names {
            if stack.is_some() && why(&store, name, None)?.is_some() {
                error =
                    error.hint("another stack of this store has an image of that name: `--all`");
                break;
            }
        }
        return Err(error);
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

/// What is different about an image than in a generation, as JSON.
#[derive(Debug, Serialize)]
struct Compared {
    image: String,
    registry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    generation: String,
    /// Whether it is the same; absent while that cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<bool>,
    #[serde(flatten)]
    unlike: Option<Unlike>,
    /// Why nothing can be said, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'static str>,
}

fn against(args: &WhyArgs, generation: &str, session: &Session) -> Result<(), CommandError> {
    let platform = args.platform.named(session)?;
    let options = BuildOptions {
        platform: platform.map(|platform| platform.to_string()),
        ..BuildOptions::default()
    };
    let images = slice::from_ref(&args.image);
    let stack = StackRun::look(session, &args.stack, &options, images, Purpose::Build)?;
    let registries = args.registry.or_of(&stack.loaded.stack)?;
    let locks = stack.locked(Keep::Forget, &session.printer)?;
    let requests = stack.requests(&locks)?;
    let engine = stack.engine(&requests, &NoEvents);
    let prepared = stack.prepare(&requests, &engine)?;
    let here = published::made_of(&prepared, &engine, &records(&prepared, &engine));
    let images = stack.selected.iter();
    let wanted: Vec<String> = images
        .map(|id| stack.loaded.stack[*id].name.to_string())
        .collect();
    let client = &stack.means.registry;
    let Some(found) = published::find(&stack, client, &registries, generation, &wanted)? else {
        return Err(CommandError::usage(format!(
            "there is no generation `{generation}`, and no tag that means one"
        ))
        .hint("`cairn log TAG` lists the generations that a tag meant"));
    };
    let compared = wanted.iter().map(|image| {
        compared(
            image,
            &found,
            here.get(&label(image, &stack.loaded.platform)),
        )
    });
    let compared: Vec<Compared> = compared.collect();
    if args.json.json {
        return Ok(session.printer.json(&compared)?);
    }
    let lines: Vec<Line> = compared
        .iter()
        .map(|it| compared_line(it, &found))
        .collect();
    Ok(session.printer.lines(&lines)?)
}

fn compared(image: &str, found: &Found, here: Option<&MadeOf>) -> Compared {
    let there = found.images.get(image);
    let mut made = Compared {
        image: image.to_owned(),
        registry: found.registry.clone(),
        tag: found.tag.clone(),
        generation: found.generation.clone(),
        same: None,
        unlike: None,
        unknown: None,
    };
    match (there, here) {
        (None, _) => made.unknown = Some("it is not in that generation"),
        (Some(None), _) => {
            made.unknown = Some("nobody wrote down what it was made of when it was published");
        }
        (Some(Some(there)), Some(here)) => {
            made.unlike = here.first_difference(there);
            made.same = match (&made.unlike, here.is_known()) {
                (Some(_), _) => Some(false),
                (None, true) => Some(true),
                (None, false) => None,
            };
            if made.same.is_none() {
                made.unknown = Some("as far as its steps have run here, nothing is different");
            }
        }
        (Some(Some(_)), None) => made.unknown = Some("it cannot be planned here"),
    }
    made
}

fn compared_line(compared: &Compared, found: &Found) -> Line {
    let line = Line::new(Tone::Strong, sanitize::name(&compared.image));
    let title = found.title();
    let title = sanitize::name(&title);
    match (&compared.unlike, compared.unknown) {
        (Some(unlike), _) => {
            let place = unlike.place.as_ref();
            let place = place.map_or(String::new(), |(file, line)| format!(" ({file}:{line})"));
            let because = format!("{}{place}", published::in_words(unlike));
            line.with(Tone::Busy, format!("  differs from {title}"))
                .with(
                    Tone::Plain,
                    format!("  because {}", sanitize::name(&because)),
                )
        }
        (None, Some(unknown)) => line.with(Tone::Dim, format!("  {title}: {unknown}")),
        (None, None) => line.with(Tone::Good, format!("  is as in {title}")),
    }
}

/// The images that are meant, and the stack that they are of: those of the stack by that name, or
/// the name as it is where there is no stack.
fn names(args: &WhyArgs, session: &Session) -> Result<(Vec<String>, Option<String>), CommandError> {
    let platform = args.platform.named(session)?;
    let loaded = match args.stack.load(session, &host_platform()) {
        Ok(loaded) => loaded,
        Err(LoadError::NoSpec { .. }) => return Ok((spellings(&args.image), None)),
        Err(error) => return Err(error.into()),
    };
    let selected = loaded.stack.select(&args.image);
    let names = selected.iter().flat_map(|id| {
        let image = &loaded.stack[*id];
        let listed = image.platforms.iter().map(|rule| &rule.platform);
        let asked = platform.iter().chain(listed.filter(|_| platform.is_none()));
        let here = (platform.is_none()).then(host_platform);
        let mut labels: Vec<String> = Vec::new();
        for platform in here.iter().chain(asked) {
            let label = label(&image.name.to_string(), platform);
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels
    });
    let names: Vec<String> = names.collect();
    Ok(match names.is_empty() {
        true => (spellings(&args.image), None),
        false => (names, Some(loaded.stack.name)),
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
