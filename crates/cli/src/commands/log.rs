//! `cairn log`: what a tag meant, from the ledger beside the images.

use cairn_stack::publish::{Action, Ledger};
use clap::Args;
use serde::Serialize;

use super::generations::{RegistryOption, Workplace, time};
use super::options::{JsonOption, StackOption};
use crate::error::CommandError;
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
        for ledger in Ledger::open_all(means, &place.registries, &place.stack.name)? {
            let entries = ledger.log(means, &args.tag)?.entries.into_iter();
            lines.extend(entries.map(|entry| Line {
                registry: ledger.registry.clone(),
                yanked: ledger.is_yanked(&entry.generation),
                generation: entry.generation,
                action: entry.action,
                time: time(entry.time),
                from: entry.from,
                commit: entry.commit,
            }));
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
