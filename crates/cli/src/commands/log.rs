//! `cairn log`: what a tag meant, from the ledger beside the images.

use cairn_build::resolve::whole;
use cairn_stack::publish::{Action, Ledger, LogEntry};
use clap::Args;
use serde::Serialize;

use super::generations::{RegistryOption, Workplace, time};
use super::options::{JsonOption, StackOption};
use crate::error::{CommandError, Kind};
use crate::session::Session;
use crate::style::Tone;
use crate::table::{Align, Cell, Table};

/// So many characters of a commit's hash are shown.
const COMMIT_SHOWN: usize = 7;

/// List the generations that a tag meant, the newest first
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// The tag
    #[arg(value_name = "TAG")]
    tag: String,
    #[command(flatten)]
    registry: RegistryOption,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

/// One entry, as JSON.
#[derive(Debug, Serialize)]
struct Line {
    registry: String,
    generation: String,
    action: Action,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    yanked: bool,
}

pub fn run(args: &LogArgs, session: &Session) -> Result<(), CommandError> {
    let place = Workplace::look(session, &args.stack, &args.registry)?;
    let lines = place.read(session, |means| {
        let mut lines = Vec::new();
        let mut failed = Vec::new();
        for ledger in Ledger::open_each(means, &place.registries, &place.stack.name) {
            let told = ledger.and_then(|ledger| Ok((ledger.log(means, &args.tag)?, ledger)));
            match told {
                Ok((log, ledger)) => {
                    let entries = log.entries.into_iter();
                    lines.extend(entries.map(|entry| line(entry, &ledger)));
                }
                Err(error) => {
                    let text = whole(&error);
                    let error = CommandError::from(error);
                    if let Kind::Interrupted(_) = error.kind {
                        return Err(error);
                    }
                    failed.push((text, error));
                }
            }
        }
        // What one registry knows is worth telling while another one is away.
        let is_silent = failed.len() == place.registries.len();
        for (text, error) in failed {
            match is_silent {
                true => return Err(error),
                false => session.printer.warning(&text),
            }
        }
        Ok(lines)
    })?;
    if args.json.json {
        return Ok(session.printer.json(&lines)?);
    }
    if lines.is_empty() {
        session
            .printer
            .note(&format!("nothing was published as `{}`", args.tag));
        return Ok(());
    }
    let mut table = Table::new(&[
        ("GENERATION", Align::Left),
        ("ACTION", Align::Left),
        ("TIME", Align::Left),
        ("COMMIT", Align::Left),
        ("REGISTRY", Align::Left),
    ]);
    for line in &lines {
        let action = match (&line.from, line.action) {
            (Some(from), _) => format!("promoted from {from}"),
            (None, Action::Rollback) => "rolled back".to_owned(),
            (None, _) => "published".to_owned(),
        };
        let action = match line.yanked {
            true => format!("{action}, yanked"),
            false => action,
        };
        table.row([
            Cell::new(Tone::Strong, line.generation.as_str()),
            action.into(),
            line.time.as_str().into(),
            commit(line).into(),
            line.registry.as_str().into(),
        ]);
    }
    Ok(session.printer.lines(&table.lines())?)
}

fn line(entry: LogEntry, ledger: &Ledger) -> Line {
    Line {
        registry: ledger.registry.clone(),
        yanked: ledger.is_yanked(&entry.generation),
        generation: entry.generation,
        action: entry.action,
        time: time(entry.time),
        from: entry.from,
        commit: entry.commit,
    }
}

/// The start of the commit, with the word for one that has changes.
fn commit(line: &Line) -> String {
    let commit = line.commit.as_deref().unwrap_or_default();
    let (hash, rest) = commit
        .split_at_checked(COMMIT_SHOWN)
        .unwrap_or((commit, ""));
    match rest.ends_with("-dirty") {
        true => format!("{hash}-dirty"),
        false => hash.to_owned(),
    }
}
