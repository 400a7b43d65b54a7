//! `cairn import`: a `cairn.toml` out of what a team has, with a report of what differs.

use std::path::PathBuf;

use cairn_diagnostic::Source;
use cairn_spec::Surroundings;
use cairn_spec::import::{ImportError, Imported, Verdict, import};
use cairn_spec::scaffold::name_from;
use cairn_stack::layout;
use clap::Args;
use serde::Serialize;

use super::options::JsonOption;
use crate::error::{CommandError, Kind};
use crate::progress::count;
use crate::sanitize;
use crate::session::Session;
use crate::style::{Line, Tone};

/// Make a `cairn.toml` of other build descriptions, and report what differs
///
/// Read are DataHub's spec.yml with change_ignore.json, docker-bake files, GitHub Actions
/// workflows that build images, cloudbuild.yaml, Compose files, and, where there is none of these,
/// a plain tree of Dockerfiles. Nothing but cairn.toml is written.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The directory to read; cairn.toml is written there
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The stack's name [default: the directory's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write over a `cairn.toml` that is there
    #[arg(long)]
    force: bool,
    /// Write nothing: print what would be written
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonOption,
}

/// The report.
#[derive(Debug, Serialize)]
struct Report<'a> {
    spec: &'a str,
    from: &'a [String],
    notes: Vec<NoteReport<'a>>,
}

/// One line of it.
#[derive(Debug, Serialize)]
struct NoteReport<'a> {
    verdict: &'static str,
    file: &'a str,
    what: &'a str,
    why: &'a str,
}

pub fn run(args: &ImportArgs, session: &Session) -> Result<(), CommandError> {
    let path = args.directory.join(cairn_spec::FILE_NAME);
    if path.exists() && !args.force && !args.dry_run {
        return Err(
            CommandError::usage(format!("{} is there already", path.display()))
                .hint("`--force` writes over it, `--dry-run` prints what would be written"),
        );
    }
    let tree = layout::read(&args.directory).map_err(|error| {
        CommandError::from_error(Kind::Usage, &error)
            .while_doing(format!("cannot read {}", args.directory.display()))
    })?;
    let made = import(&tree, &name(args)).map_err(|error| refused(&error))?;
    let place = format!("{}, as it would be written", path.display());
    let source = Source::new(place, made.spec.as_str());
    cairn_spec::read(&source, &Surroundings::none())
        .map_err(|findings| CommandError::from_findings(Kind::Usage, findings))?;
    if !args.dry_run {
        std::fs::write(&path, &made.spec).map_err(|error| {
            CommandError::from_error(Kind::Environment, &error)
                .while_doing(format!("cannot write {}", path.display()))
        })?;
    }
    if args.json.json {
        session.printer.json(&report(&made))?;
        return Ok(());
    }
    match args.dry_run {
        true => session.printer.data(&made.spec)?,
        false => session.printer.data(&format!("{}\n", path.display()))?,
    }
    session.printer.tell(&lines(&made));
    Ok(())
}

fn name(args: &ImportArgs) -> String {
    let of_folder = || {
        let path = std::path::absolute(&args.directory).ok()?;
        name_from(path.file_name()?.to_str()?)
    };
    let name = args.name.clone().or_else(of_folder);
    name.unwrap_or_else(|| "lab".to_owned())
}

fn refused(error: &ImportError) -> CommandError {
    match error {
        ImportError::Nothing => {
            CommandError::usage("there is nothing here that describes an image")
                .hint("`cairn init` writes a new stack")
        }
        ImportError::Broken { file, reason } => CommandError::usage(format!("{file}: {reason}")),
    }
}

fn report(made: &Imported) -> Report<'_> {
    let notes = made.notes.iter().map(|note| NoteReport {
        verdict: note.verdict.as_str(),
        file: &note.file,
        what: &note.what,
        why: &note.why,
    });
    Report {
        spec: &made.spec,
        from: &made.from,
        notes: notes.collect(),
    }
}

/// The report for people: on standard error, standard output has the file.
fn lines(made: &Imported) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut sums = Vec::new();
    for verdict in [Verdict::Equal, Verdict::Differs, Verdict::Missing] {
        let tone = match verdict {
            Verdict::Equal => Tone::Good,
            Verdict::Differs => Tone::Busy,
            Verdict::Missing => Tone::Bad,
        };
        let notes: Vec<_> = made
            .notes
            .iter()
            .filter(|it| it.verdict == verdict)
            .collect();
        sums.push(format!("{} {}", notes.len(), verdict.as_str()));
        for note in notes {
            let what = sanitize::name(&note.what);
            lines.push(
                Line::new(tone, format!("{:<8}", verdict.as_str()))
                    .with(Tone::Strong, format!(" {what}"))
                    .with(Tone::Dim, format!("  {}", sanitize::name(&note.file))),
            );
            lines.push(Line::new(
                Tone::Plain,
                format!("         {}", sanitize::name(&note.why)),
            ));
        }
    }
    let from = count(made.from.len(), "file");
    lines.push(Line::new(
        Tone::Dim,
        format!("from {from}: {}", sums.join(", ")),
    ));
    lines
}
