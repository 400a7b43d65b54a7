//! `cairn lint --explain`: a rule's page, or the list of all rules.

use cairn_dockerfile::lint::{Group, RULES, Rule};

use super::levels;
use crate::error::CommandError;
use crate::session::Session;
use crate::style::{Line, Tone};

/// Prints the page of a rule; of all rules one line each if no name is given.
pub fn run(name: &str, session: &Session) -> Result<(), CommandError> {
    let lines = match name {
        "" => list(),
        name => page(levels::find(name).map_err(CommandError::usage)?),
    };
    Ok(session.printer.lines(&lines)?)
}

fn list() -> Vec<Line> {
    let width = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (group, title) in GROUPS {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::new(Tone::Strong, title));
        for rule in RULES.iter().filter(|rule| rule.group == group) {
            let name = format!("  {:width$}  {:<8}", rule.name, level(rule));
            lines.push(Line::new(Tone::Plain, name).with(Tone::Dim, rule.summary));
        }
    }
    lines
}

const GROUPS: [(Group, &str); 3] = [
    (Group::Science, "Results that can be had again"),
    (
        Group::Practice,
        "Images that are small, fast to build and safe",
    ),
    (Group::BuildKit, "BuildKit's rules"),
];

fn level(rule: &Rule) -> &'static str {
    match rule.is_experimental {
        true => "off",
        false => rule.level.name(),
    }
}

fn page(rule: &Rule) -> Vec<Line> {
    let mut heading =
        Line::new(Tone::Strong, rule.name).with(Tone::Dim, format!("  {}", level(rule)));
    if !rule.aliases.is_empty() {
        heading = heading.with(Tone::Dim, format!(", also {}", rule.aliases.join(", ")));
    }
    let mut lines = vec![heading, Line::default()];
    lines.extend(paragraph(rule.summary.trim_end_matches('.'), "."));
    lines.push(Line::default());
    lines.extend(paragraph(rule.why, ""));
    for (title, text) in [("Instead of", rule.bad), ("write", rule.good)] {
        lines.push(Line::default());
        lines.push(Line::new(Tone::Strong, format!("{title}:")));
        lines.extend(
            text.lines()
                .map(|line| Line::new(Tone::Plain, format!("    {line}"))),
        );
    }
    lines.push(Line::default());
    if rule.is_experimental {
        let text = format!(
            "It is off until `# check=experimental={}` asks for it.",
            rule.name
        );
        lines.extend(paragraph(&text, ""));
    }
    let silence = format!(
        "Silence it with `# cairn ignore={}` above an instruction.",
        rule.name
    );
    lines.extend(paragraph(&silence, ""));
    if let Some(url) = rule.url() {
        lines.push(Line::new(Tone::Dim, url));
    }
    lines
}

fn paragraph(text: &str, end: &str) -> Vec<Line> {
    const WIDTH: usize = 88;
    wrap(&format!("{text}{end}"), WIDTH)
        .into_iter()
        .map(|line| Line::new(Tone::Plain, line))
        .collect()
}

/// Breaks a text into lines at its spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
