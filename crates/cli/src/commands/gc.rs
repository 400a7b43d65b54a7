//! `cairn gc`: makes room in the store.

use std::time::Duration;

use cairn_store::{GcItem, GcKind, GcOptions, GcReason, GcReport, StoreError, collect};
use clap::Args;

use super::options::JsonOption;
use crate::error::CommandError;
use crate::quantity::{bytes, parse_bytes, parse_duration};
use crate::session::Session;
use crate::style::{Line, Tone};
use crate::table::{Align, Cell, Table};

/// Remove what nothing needs from the store
///
/// What images are made of stays. Results of steps that no image holds stay while the budget has
/// room for them; those longest unused go first.
#[derive(Debug, Clone, Args)]
pub struct GcArgs {
    /// Let the store take so much room: `20GB` [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, conflicts_with = "all")]
    budget: Option<u64>,
    /// Remove every result that no image holds; the same as a budget of nothing
    #[arg(long)]
    all: bool,
    /// Let cache mounts take so much of it [default: no limit of their own]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    cache_mounts: Option<u64>,
    /// Remove cache mounts that no step used for so long: `168h`
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    cache_mounts_age: Option<Duration>,
    /// Keep what was used so recently: `90s`, `15m`, `2h`
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    keep_within: Duration,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Give up if the store is in use, rather than wait
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    json: JsonOption,
}

pub fn run(args: &GcArgs, session: &Session) -> Result<(), CommandError> {
    let options = GcOptions {
        budget_bytes: if args.all { Some(0) } else { args.budget },
        cache_mounts_bytes: args.cache_mounts,
        cache_mounts_age: args.cache_mounts_age,
        keep_within: args.keep_within,
        dry_run: args.dry_run,
        wait: false,
    };
    session.enter()?;
    let home = session.settings.home()?;
    let collected = match collect(home, &options) {
        Err(StoreError::Busy { .. }) if !args.no_wait => {
            let text =
                "waiting for other processes that use the store (`cairn serve` does until it ends)";
            session.printer.note(text);
            collect(
                home,
                &GcOptions {
                    wait: true,
                    ..options
                },
            )
        }
        collected => collected,
    };
    let report = match collected {
        Err(StoreError::NoStore { .. }) => {
            session.tell_no_store()?;
            GcReport {
                dry_run: args.dry_run,
                ..GcReport::default()
            }
        }
        collected => collected?,
    };
    if args.json.json {
        return Ok(session.printer.json(&report)?);
    }
    session.printer.lines(&removed(&report).lines())?;
    session.printer.tell(&[sum(&report)]);
    Ok(())
}

fn removed(report: &GcReport) -> Table {
    let mut table = Table::new(&[
        ("SIZE", Align::Right),
        ("KIND", Align::Left),
        ("WHY", Align::Left),
        ("NAME", Align::Left),
    ]);
    for item in &report.removed {
        table.row([
            bytes(item.bytes).into(),
            kind(item).into(),
            reason(item).into(),
            Cell::new(Tone::Plain, &item.name),
        ]);
    }
    if report.removed.is_empty() {
        return Table::new(&[]);
    }
    table
}

fn kind(item: &GcItem) -> &'static str {
    match item.kind {
        GcKind::Snapshot => "snapshot",
        GcKind::Blob => "blob",
        GcKind::Record => "record",
        GcKind::Logs => "logs",
        GcKind::Leftover => "leftover",
        GcKind::CacheMount => "cache mount",
    }
}

fn reason(item: &GcItem) -> &'static str {
    match item.reason {
        GcReason::Unreachable => "nothing names it",
        GcReason::Damaged => "not whole",
        GcReason::OverBudget => "longest unused",
        GcReason::Old => "unused too long",
    }
}

fn sum(report: &GcReport) -> Line {
    let verb = if report.dry_run {
        "Would free"
    } else {
        "Freed"
    };
    let (freed, kept) = (bytes(report.freed_bytes), bytes(report.kept_bytes));
    let pinned = bytes(report.pinned_bytes);
    Line::new(Tone::Strong, format!("{verb} {freed}")).with(
        Tone::Plain,
        format!("; {kept} stay, {pinned} of them in images"),
    )
}
