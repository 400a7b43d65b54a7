//! `cairn tags`: what an event would publish, and by which rule.

use cairn_spec::tags::{Facts, GitRef, ImageTags, Instead, Publication, Trigger, publication};
use cairn_stack::event::{Event, Origin};
use cairn_stack::load::LoadedStack;
use clap::Args;
use serde::Serialize;

use super::options::{EventOption, JsonOption, StackOption};
use crate::error::CommandError;
use crate::sanitize;
use crate::session::{Session, host_platform};
use crate::stack_run::select;
use crate::style::{Line, Tone};

/// Say which tags an event would publish, and by which rules
#[derive(Debug, Clone, Args)]
pub struct TagsArgs {
    /// Images of the stack [default: all that are products]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    event: EventOption,
    #[command(flatten)]
    stack: StackOption,
    #[command(flatten)]
    json: JsonOption,
}

/// The report.
#[derive(Debug, Serialize)]
struct Report<'a> {
    event: EventReport<'a>,
    images: Vec<ImageReport<'a>>,
}

/// The event as it was found.
#[derive(Debug, Serialize)]
struct EventReport<'a> {
    trigger: &'static str,
    from: &'static str,
    branch: Option<&'a str>,
    tag: Option<&'a str>,
    number: Option<u64>,
    commit: Option<&'a str>,
}

/// What is published of one image.
#[derive(Debug, Serialize)]
struct ImageReport<'a> {
    image: String,
    event: Option<&'static str>,
    platforms: Vec<String>,
    repositories: Vec<String>,
    tags: Vec<TagReport<'a>>,
    names: Vec<String>,
    left_out: Vec<LeftOutReport<'a>>,
}

/// A tag and its rule.
#[derive(Debug, Serialize)]
struct TagReport<'a> {
    tag: &'a str,
    rule: &'a str,
}

/// A rule that made no tag.
#[derive(Debug, Serialize)]
struct LeftOutReport<'a> {
    rule: &'a str,
    reason: &'a str,
}

pub fn run(args: &TagsArgs, session: &Session) -> Result<(), CommandError> {
    let loaded = args.stack.load(session, &host_platform())?;
    let selected = select(&loaded, &args.images)?;
    let event = args.event.detect(session, &loaded);
    let instead = Instead::default();
    let published = publication(&loaded.stack, &event.facts, &instead, &|_| None);
    let images = published.images.iter();
    let images: Vec<&ImageTags> = images.filter(|it| selected.contains(&it.image)).collect();
    match args.json.json {
        true => session.printer.json(&report(&loaded, &event, &images))?,
        false => session.printer.lines(&lines(&loaded, &event, &images))?,
    }
    clashes(&loaded, &published)
}

/// Two images under one name: a run that publishes would stop here, and so does this.
pub fn clashes(loaded: &LoadedStack, published: &Publication) -> Result<(), CommandError> {
    let Some(clash) = published.clashes.first() else {
        return Ok(());
    };
    let name = |id| &loaded.stack[id].name;
    let (one, other) = (name(clash.one), name(clash.other));
    Err(
        CommandError::usage(format!("`{}` would be both {one} and {other}", clash.name)).hint(
            "tell variants apart by `prefix` or `suffix`, by `tags.prefix`, or by `{variant}` in the rules",
        ),
    )
}

fn report<'a>(loaded: &LoadedStack, event: &'a Event, images: &[&'a ImageTags]) -> Report<'a> {
    let facts = &event.facts;
    let images = images.iter().map(|it| ImageReport {
        image: loaded.stack[it.image].name.to_string(),
        event: it.event.map(cairn_spec::EventKind::as_str),
        platforms: platforms(loaded, it),
        repositories: written(it),
        tags: it
            .tags
            .iter()
            .map(|tag| TagReport {
                tag: &tag.tag,
                rule: &tag.rule,
            })
            .collect(),
        names: it.names().collect(),
        left_out: it
            .left_out
            .iter()
            .map(|it| LeftOutReport {
                rule: &it.rule,
                reason: &it.reason,
            })
            .collect(),
    });
    Report {
        event: EventReport {
            trigger: trigger(facts.trigger),
            from: match event.origin {
                Origin::GitHub => "github",
                Origin::GitLab => "gitlab",
                Origin::Git => "git",
            },
            branch: match &facts.reference {
                GitRef::Branch(name) => Some(name),
                _ => None,
            },
            tag: match &facts.reference {
                GitRef::Tag(name) => Some(name),
                _ => None,
            },
            number: match facts.trigger {
                Trigger::PullRequest { number } => number,
                _ => None,
            },
            commit: facts.commit.as_deref(),
        },
        images: images.collect(),
    }
}

fn written(it: &ImageTags) -> Vec<String> {
    it.repositories.iter().map(ToString::to_string).collect()
}

fn platforms(loaded: &LoadedStack, it: &ImageTags) -> Vec<String> {
    let image = &loaded.stack[it.image];
    let kind = it.event.unwrap_or(cairn_spec::EventKind::Manual);
    let platforms = image.published_for(kind);
    platforms.iter().map(ToString::to_string).collect()
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Push => "push",
        Trigger::PullRequest { .. } => "pull-request",
        Trigger::Schedule => "schedule",
        Trigger::Manual => "manual",
    }
}

fn lines(loaded: &LoadedStack, event: &Event, images: &[&ImageTags]) -> Vec<Line> {
    let mut lines = vec![Line::new(Tone::Dim, in_words(&event.facts, event.origin))];
    for it in images {
        let name = &loaded.stack[it.image].name;
        let word = it.event.map_or("no event", cairn_spec::EventKind::as_str);
        let to = match it.repositories.is_empty() {
            true => "the stack has no `registries`".to_owned(),
            false => written(it).join(", "),
        };
        lines.push(
            Line::new(Tone::Strong, name.to_string())
                .with(Tone::Plain, format!("  {word}"))
                .with(Tone::Dim, format!("  {}", sanitize::name(&to))),
        );
        let width = it.tags.iter().map(|tag| tag.tag.len()).max().unwrap_or(0);
        for tag in &it.tags {
            lines.push(
                Line::new(Tone::Good, format!("  {:<width$}", tag.tag))
                    .with(Tone::Dim, format!("  by {}", tag.rule)),
            );
        }
        for out in &it.left_out {
            let reason = sanitize::name(&out.reason);
            lines.push(
                Line::new(Tone::Busy, "  no tag")
                    .with(Tone::Dim, format!("  by {}: {reason}", out.rule)),
            );
        }
        if it.tags.is_empty() && it.left_out.is_empty() {
            lines.push(Line::new(Tone::Dim, "  publishes nothing"));
        }
    }
    lines
}

fn in_words(facts: &Facts, origin: Origin) -> String {
    let what = match facts.trigger {
        Trigger::Push => "a push of".to_owned(),
        Trigger::PullRequest {
            number: Some(number),
        } => format!("pull request {number} of"),
        Trigger::PullRequest { number: None } => "a pull request of".to_owned(),
        Trigger::Schedule => "a scheduled run of".to_owned(),
        Trigger::Manual => "a manual run of".to_owned(),
    };
    let of = match &facts.reference {
        GitRef::Branch(name) => format!("branch {}", sanitize::name(name)),
        GitRef::Tag(name) => format!("tag {}", sanitize::name(name)),
        GitRef::Detached => "no branch and no tag".to_owned(),
    };
    let from = match origin {
        Origin::GitHub => "by GitHub's variables",
        Origin::GitLab => "by GitLab's variables",
        Origin::Git => "by what is checked out",
    };
    let commit = facts.commit.as_deref().unwrap_or("no commit");
    let commit: String = commit.chars().take(12).collect();
    format!("{what} {of} at {commit}, {from}")
}
