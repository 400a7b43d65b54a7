//! `cairn registry gc`: what registries need not keep of what was published.

use std::collections::BTreeSet;

use cairn_spec::retention::Retention;
use cairn_spec::tags::{Facts, GitRef, Instead, Trigger, publication};
use cairn_stack::git;
use cairn_stack::load::LoadedStack;
use cairn_stack::publish::retention::{Found, Rules, Thing, find, sweep, undo};
use cairn_stack::publish::{Ledger, Means};
use clap::Args;
use serde::Serialize;

use super::cache_retention::{CacheReport, trim_caches};
use super::generations::{RegistryOption, Workplace, time};
use super::options::{EventOption, JsonOption, StackOption};
use crate::error::CommandError;
use crate::progress::count;
use crate::quantity;
use crate::session::{Session, host_platform};

const DAY: i64 = 24 * 60 * 60;

/// Remove what was published and is needed by nothing, by the `[retention]` of the spec
///
/// Tags for which no rule speaks and generations that no tag needs are announced in the ledger
/// first, and removed by a run that comes so many days later as the spec says. Nothing is removed
/// that a tag leads to which stays, or that Cairn did not publish. What was removed can be taken
/// back until the registry itself collects what nothing leads to. Caches lose at once what nobody
/// used for long, where the spec says for how long.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn registry gc --dry-run               say what would be announced and removed
  cairn registry gc
  cairn registry gc --undo                  take the last removal back")]
pub struct RegistryGcArgs {
    /// Say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Put back what was removed last; where nothing was, withdraw what is announced
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
    #[command(flatten)]
    registry: RegistryOption,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

/// What is done at one registry, as JSON.
#[derive(Debug, Default, Serialize)]
struct Report {
    registry: String,
    /// Whether all of it is only what would be done.
    dry_run: bool,
    removed: Vec<String>,
    announced: Vec<String>,
    waiting: Vec<String>,
    /// What the registry can free by what is removed, at most.
    bytes: u64,
    /// And by all of it.
    bytes_later: u64,
}

impl Report {
    fn of(
        registry: &str,
        dry_run: bool,
        found: &Found,
        (removed, announced): (&[Thing], &[Thing]),
    ) -> Self {
        let waiting = found.waiting.iter();
        Self {
            registry: registry.to_owned(),
            dry_run,
            removed: removed.iter().flat_map(Thing::names).collect(),
            announced: announced.iter().flat_map(Thing::names).collect(),
            waiting: waiting.flat_map(|(thing, _)| thing.names()).collect(),
            bytes: found.bytes_due,
            bytes_later: found.bytes,
        }
    }
}

impl Report {
    /// A line for each name, with what happens to it.
    fn lines(&self) -> String {
        let (removed, announced) = match self.dry_run {
            true => ("would remove", "would announce"),
            false => ("removed", "announced"),
        };
        let removed = self
            .removed
            .iter()
            .map(|name| format!("{removed} {name}\n"));
        let announced = self
            .announced
            .iter()
            .map(|name| format!("{announced} {name}\n"));
        removed.chain(announced).collect()
    }
}

/// What is taken back at one registry, as JSON.
#[derive(Debug, Serialize)]
struct UndoReport {
    registry: String,
    back: Vec<String>,
    moved: Vec<String>,
    lost: Vec<String>,
}

pub fn run(args: &RegistryGcArgs, session: &Session) -> Result<(), CommandError> {
    if args.undo {
        return take_back(args, session);
    }
    let loaded = args.stack.load(session, &host_platform())?;
    let Some(retention) = loaded.stack.retention.clone() else {
        return Err(CommandError::usage("the spec does not say what may be removed").hint(
            "add `[retention]` to cairn.toml, as in `[retention]` and `days = 30` below it; see \
             docs/spec.md",
        ));
    };
    let rules = rules(session, &loaded, retention.clone())?;
    let place = Workplace::open_unless(args.dry_run, session, &args.stack, &args.registry)?;
    let work = |means: Means<'_>| {
        let mut reports = Vec::new();
        for registry in &place.registries {
            let ledger = Ledger::open(means, registry, &place.stack.name)?;
            let found = find(means, &ledger, &rules)?;
            reports.push(match args.dry_run {
                true => plan(session, means, &found, registry, rules.delay_days),
                false => carry_out(session, means, &ledger, &found, rules.delay_days)?,
            });
        }
        let (stack, is_dry) = (&place.stack, args.dry_run);
        let caches = trim_caches(session, means, stack, &retention, is_dry)?;
        Ok((reports, caches))
    };
    let (reports, caches) = match args.dry_run {
        true => place.read(session, work)?,
        false => place.change(session, work)?,
    };
    if args.json.json {
        let all = reports.into_iter().map(Part::Registry);
        let all: Vec<Part> = all.chain(caches.into_iter().map(Part::Cache)).collect();
        return Ok(session.printer.json(&all)?);
    }
    let lines = reports.iter().map(Report::lines);
    let lines: String = lines
        .chain(caches.iter().filter_map(CacheReport::line))
        .collect();
    Ok(session.printer.data(&lines)?)
}

/// One entry of the JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Part {
    /// What is done at a registry.
    Registry(Report),
    /// What is done with a cache.
    Cache(CacheReport),
}

/// The rules of the spec, with what git knows.
fn rules(
    session: &Session,
    loaded: &LoadedStack,
    retention: Retention,
) -> Result<Rules, CommandError> {
    let given = match retention.branches {
        true => given_by_git(session, loaded)?,
        false => BTreeSet::new(),
    };
    let (generations, days) = (retention.generations, retention.days);
    let delay_days = retention.delay_days;
    let stack = loaded.stack.clone();
    Ok(Rules {
        names: Box::new(move |tag| given.contains(tag) || retention.names(&stack, tag)),
        generations,
        days,
        delay_days,
    })
}

/// The tags that branches and git tags give which are there.
fn given_by_git(session: &Session, loaded: &LoadedStack) -> Result<BTreeSet<String>, CommandError> {
    let directory = &loaded.directory;
    let off = "fetch all of it, or say `branches = false` below `[retention]`";
    let Some(named) = git::named(directory) else {
        let text = "there is no git repository that says which branches are there";
        return Err(CommandError::usage(text).hint(off));
    };
    if git::is_shallow(directory) {
        let text = "this is a shallow clone, which does not know which branches are there";
        return Err(CommandError::usage(text).hint(off));
    }
    let here = EventOption::default().detect(session, loaded).facts;
    let mut given = BTreeSet::new();
    for one in named {
        let reference = match one.is_tag {
            true => GitRef::Tag(one.name),
            false => GitRef::Branch(one.name),
        };
        for trigger in [Trigger::Push, Trigger::Schedule, Trigger::Manual] {
            let facts = Facts {
                trigger,
                reference: reference.clone(),
                commit: Some(one.commit.clone()),
                time: Some(one.time),
                ..here.clone()
            };
            let made = publication(&loaded.stack, &facts, &Instead::default(), &|_| None);
            let tags = made.images.into_iter().flat_map(|image| image.tags);
            given.extend(tags.map(|tag| tag.stem));
        }
    }
    Ok(given)
}

/// What would be done.
fn plan(
    session: &Session,
    means: Means<'_>,
    found: &Found,
    registry: &str,
    delay_days: u32,
) -> Report {
    let report = Report::of(registry, true, found, (&found.due, &found.new));
    let mut text = format!(
        "{registry}: would remove {} ({} at most)",
        count(report.removed.len(), "name"),
        quantity::bytes(report.bytes)
    );
    if !report.announced.is_empty() {
        text.push_str(&format!(
            ", and announce {} to go in {}",
            count(report.announced.len(), "name"),
            count(delay_days as usize, "day")
        ));
    }
    text.push_str(&waiting(found, means.now));
    session.printer.note(&text);
    let beside = found.due.iter().filter(|thing| thing.only_tags);
    let beside: usize = beside.map(|thing| thing.tags.len()).sum();
    if beside > 0 {
        session.printer.note(&format!(
            "{registry}: {beside} of these {} what is kept under another name: a registry that \
             removes no tags alone leaves them",
            if beside == 1 { "means" } else { "mean" }
        ));
    }
    report
}

fn carry_out(
    session: &Session,
    means: Means<'_>,
    ledger: &Ledger,
    found: &Found,
    delay_days: u32,
) -> Result<Report, CommandError> {
    let registry = &ledger.registry;
    let swept = sweep(means, ledger, found)?;
    let report = Report::of(registry, false, found, (&swept.removed, &swept.announced));
    let mut text = match report.removed.len() {
        0 => format!("{registry}: nothing is removed"),
        number => format!(
            "{registry}: removed {} ({} at most; `cairn registry gc --undo` takes it back until the \
             registry collects)",
            count(number, "name"),
            quantity::bytes(report.bytes)
        ),
    };
    if !report.announced.is_empty() {
        text.push_str(&format!(
            ", {} go on {}",
            count(report.announced.len(), "name"),
            time(means.now + i64::from(delay_days) * DAY)
        ));
    }
    text.push_str(&waiting(found, means.now));
    session.printer.note(&text);
    if !swept.stuck.is_empty() {
        session.printer.note(&format!(
            "{registry} removes no tags alone: {} until nothing needs what they mean",
            match swept.stuck.len() {
                1 => format!("`{}` stays", swept.stuck[0]),
                number => format!("{number} tags stay"),
            }
        ));
    }
    for name in &swept.put_back {
        session.printer.note(&format!(
            "`{name}` was published again in the very moment, and is back"
        ));
    }
    Ok(report)
}

fn waiting(found: &Found, now: i64) -> String {
    let soonest = found.waiting.iter().map(|(_, left)| *left).min();
    match soonest {
        Some(left) => format!(
            "; {} announced before, the first goes on {}",
            found.waiting.len(),
            time(now + left)
        ),
        None => String::new(),
    }
}

fn take_back(args: &RegistryGcArgs, session: &Session) -> Result<(), CommandError> {
    let place = Workplace::open(session, &args.stack, &args.registry)?;
    let reports = place.change(session, |means| {
        let mut reports = Vec::new();
        for registry in &place.registries {
            let ledger = Ledger::open(means, registry, &place.stack.name)?;
            let Some(undone) = undo(means, &ledger)? else {
                let text = format!("{registry}: there is nothing to take back");
                session.printer.note(&text);
                continue;
            };
            session.printer.note(&match undone.removed {
                Some(removed) => format!(
                    "{registry}: {} back that went on {}",
                    count(undone.back.len(), "name"),
                    time(removed)
                ),
                None => format!("{registry}: nothing is announced any more"),
            });
            for name in &undone.moved {
                let text = format!("`{name}` means something else by now, and stays so");
                session.printer.warning(&text);
            }
            for name in &undone.lost {
                session.printer.warning(&format!(
                    "`{name}` cannot be brought back: the registry has collected what it consists of"
                ));
            }
            reports.push(UndoReport {
                registry: registry.clone(),
                back: undone.back,
                moved: undone.moved,
                lost: undone.lost,
            });
        }
        Ok(reports)
    })?;
    if args.json.json {
        return Ok(session.printer.json(&reports)?);
    }
    let back = reports.iter().flat_map(|report| &report.back);
    let lines: String = back.map(|name| format!("{name}\n")).collect();
    Ok(session.printer.data(&lines)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_says_what_would_be() {
        let lines = |dry_run| {
            let report = Report {
                dry_run,
                removed: vec!["a:1".to_owned()],
                announced: vec!["a:2".to_owned()],
                ..Report::default()
            };
            report.lines()
        };
        assert_eq!(lines(false), "removed a:1\nannounced a:2\n");
        assert_eq!(lines(true), "would remove a:1\nwould announce a:2\n");
    }
}
