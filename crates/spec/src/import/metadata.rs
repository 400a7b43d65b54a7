//! docker/metadata-action's rules to rules of `[tags]`.
//!
//! | rule | here |
//! | --- | --- |
//! | `type=ref,event=branch` | `{branch}` of `branch` and `main` |
//! | `type=ref,event=tag` | `{tag}` of `release` and `prerelease` |
//! | `type=ref,event=pr` | nothing: a pull request publishes nothing, and that is said |
//! | `type=semver`, `type=pep440` | the pattern of `release`; `{version}` of `prerelease`, as the action does; of every push, where `value=` is the version; `pep440` spells it by `{pep440}` |
//! | `type=match` | the parts of the version that the usual patterns take; others are told as missing |
//! | `type=sha` | `sha-{commit}` of every push |
//! | `type=schedule` | the pattern of `schedule`, with what a push to main has besides |
//! | `type=edge` | `edge` of `main` |
//! | `type=raw` | the value, of the events that `enable` allows |
//! | `{{branch}}`, `{{tag}}`, `{{sha}}`, `{{date}}` in a value, a prefix or a suffix | `{branch}`, `{tag}`, `{commit}`, `{date}` and its parts |
//! | `flavor: latest=auto` | `latest` of `release`, where a rule is about versions |
//! | `flavor: prefix=`, `suffix=` | part of each rule; of `latest` with `onlatest=true` |

use std::collections::BTreeMap;

use super::Verdict;
use super::draft::Draft;
use crate::settings::EventKind;
use crate::stack::Affixes;
use crate::tags::{Version, normal_version};

const PUSHES: [EventKind; 4] = [
    EventKind::Branch,
    EventKind::Main,
    EventKind::Release,
    EventKind::Prerelease,
];

/// Adds the rules of one step.
pub(super) fn read(file: &str, tags: &[String], flavor: &[String], draft: &mut Draft) {
    let defaults = [
        "type=schedule",
        "type=ref,event=branch",
        "type=ref,event=tag",
        "type=ref,event=pr",
    ];
    let tags: Vec<String> = match tags.is_empty() {
        true => defaults.map(str::to_owned).to_vec(),
        false => tags.to_vec(),
    };
    // A list that is there replaces what holds without one: an event without a rule publishes nothing.
    for kind in PUSHES {
        draft.tags.entry(kind).or_default();
    }
    let flavor = Flavor::of(flavor);
    let mut has_versions = false;
    for line in &tags {
        let rule: BTreeMap<String, String> = fields(line);
        let kind = rule.get("type").map_or("raw", String::as_str);
        let made = made(kind, &rule);
        has_versions |= made.is_some()
            && (matches!(kind, "semver" | "pep440" | "match")
                || (kind == "ref" && rule.get("event").is_some_and(|it| it == "tag")));
        let affixes = flavor.affixes(&rule);
        let (verdict, text) = match (made, affixes) {
            (Some(made), _) if made.is_empty() && is_pull(&rule) => (
                Verdict::Differs,
                "a pull request is built and tested, and publishes nothing: its author may be anybody",
            ),
            (Some(made), Some((prefix, suffix))) => {
                for (event, template) in made {
                    draft.tag(event, &format!("{prefix}{template}{suffix}"));
                }
                told(kind, line)
            }
            _ => (
                Verdict::Missing,
                "no rule of `[tags]` says the same; add the tags it makes by hand",
            ),
        };
        draft.note(verdict, file, line.clone(), text);
    }
    // A schedule runs on a branch, whose own tags it has, too.
    if draft.tags.contains_key(&EventKind::Schedule) {
        let of_main = draft.tags[&EventKind::Main].clone();
        for rule in of_main {
            draft.tag(EventKind::Schedule, &rule);
        }
    }
    let latest = flavor.latest_tag();
    match flavor.latest.as_str() {
        "auto" if has_versions => {
            draft.tag(EventKind::Release, &latest);
            draft.note(
                Verdict::Differs,
                file,
                "flavor latest=auto",
                "a release has `latest` unless a newer one has it already; there every release took it",
            );
        }
        "true" => {
            for kind in [EventKind::Main, EventKind::Release] {
                draft.tag(kind, &latest);
            }
            draft.note(
                Verdict::Differs,
                file,
                "flavor latest=true",
                "`latest` is for main and releases only",
            );
        }
        _ => {}
    }
}

/// Why a rule is equal, where no image has variants.
pub(super) const SAME_TAGS: &str = "the same tags by `[tags]`";
/// The same where images have variants.
pub(super) const TAGS_OF_VARIANTS: &str = "the same rule by `[tags]`; a variant's tags have the matrix' prefix or suffix, else they end in `-` and its name, where combinations push one tag and the last one has it: see `cairn tags`";

/// How a rule that was understood compares.
fn told(kind: &str, line: &str) -> (Verdict, &'static str) {
    if kind == "match" {
        return (
            Verdict::Differs,
            "the same tags for git tags that are versions; other git tags publish nothing",
        );
    }
    if line.contains("{{date") {
        return (
            Verdict::Differs,
            "the same tags, but the date is the commit's: building it again gives no other tag",
        );
    }
    (Verdict::Equal, SAME_TAGS)
}

/// What all rules of a step have in common.
struct Flavor {
    latest: String,
    prefix: Affix,
    suffix: Affix,
}

/// A text before or behind tags, and whether `latest` has it, too.
#[derive(Default)]
struct Affix {
    text: String,
    is_on_latest: bool,
}

impl Flavor {
    fn of(lines: &[String]) -> Self {
        let mut flavor = Self {
            latest: "auto".to_owned(),
            prefix: Affix::default(),
            suffix: Affix::default(),
        };
        for line in lines {
            let fields = fields(line);
            let affix = |text: &String| Affix {
                text: text.clone(),
                is_on_latest: fields.get("onlatest").is_some_and(|it| it == "true"),
            };
            if let Some(latest) = fields.get("latest") {
                flavor.latest.clone_from(latest);
            }
            if let Some(prefix) = fields.get("prefix") {
                flavor.prefix = affix(prefix);
            }
            if let Some(suffix) = fields.get("suffix") {
                flavor.suffix = affix(suffix);
            }
        }
        flavor
    }

    /// What stands before and behind the tags of a rule; `None` if a part has no counterpart. What
    /// comes out of a matrix is the variant's ([`of_matrix`]).
    fn affixes(&self, rule: &BTreeMap<String, String>) -> Option<(String, String)> {
        let of_sha = rule.get("type").is_some_and(|kind| kind == "sha");
        let prefix = match (rule.get("prefix"), of_sha) {
            (Some(own), _) => own,
            (None, true) => "sha-",
            (None, false) => &self.prefix.text,
        };
        let suffix = rule.get("suffix").unwrap_or(&self.suffix.text);
        let of_rule = |text: &str| match is_of_matrix(text) {
            true => Some(String::new()),
            false => template(text),
        };
        Some((of_rule(prefix)?, of_rule(suffix)?))
    }

    fn latest_tag(&self) -> String {
        let on_latest = |affix: &Affix| match affix.is_on_latest {
            true if !is_of_matrix(&affix.text) => template(&affix.text).unwrap_or_default(),
            _ => String::new(),
        };
        format!(
            "{}latest{}",
            on_latest(&self.prefix),
            on_latest(&self.suffix)
        )
    }
}

/// What a matrix puts around the tags of each of its combinations: by the flavor, or by any rule.
pub(super) fn of_matrix(
    tags: &[String],
    flavor: &[String],
    fill: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<Affixes> {
    let all: Vec<BTreeMap<String, String>> =
        flavor.iter().chain(tags).map(|it| fields(it)).collect();
    let mut found = |key: &str| {
        let mut texts = all.iter().filter_map(|it| it.get(key));
        let text = texts.find(|it| is_of_matrix(it))?;
        Some(fill(text)?.trim().to_owned())
    };
    let (prefix, suffix) = (found("prefix"), found("suffix"));
    let is_there = prefix.is_some() || suffix.is_some();
    is_there.then(|| Affixes {
        prefix: prefix.unwrap_or_default(),
        suffix: suffix.unwrap_or_default(),
    })
}

fn is_of_matrix(text: &str) -> bool {
    text.contains("${{ matrix.") || text.contains("${{matrix.")
}

fn is_pull(rule: &BTreeMap<String, String>) -> bool {
    rule.get("event").is_some_and(|event| event == "pr")
}

fn pair(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim().to_owned(), value.trim().to_owned()))
}

/// `type=raw,value=x,enable=true`; a value alone is `type=raw`. Commas inside braces belong to them.
fn fields(line: &str) -> BTreeMap<String, String> {
    let mut parts = vec![String::new()];
    let mut depth = 0usize;
    for c in line.chars() {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, depth) {
            (',', 0) => parts.push(String::new()),
            (c, _) => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    let mut fields: BTreeMap<String, String> = parts.iter().filter_map(|part| pair(part)).collect();
    let is_bare = |part: &&String| !part.contains('=');
    if !fields.contains_key("value")
        && let Some(bare) = parts.iter().find(is_bare)
    {
        fields.insert("value".to_owned(), bare.trim().to_owned());
    }
    fields
}

/// The events and the template of a rule, without its prefix and suffix.
fn made(kind: &str, rule: &BTreeMap<String, String>) -> Option<Vec<(EventKind, String)>> {
    let allowed = allowed(rule.get("enable").map_or("true", String::as_str))?;
    let at = |events: &[EventKind], template: &str| {
        let events = events.iter().filter(|event| allowed.contains(event));
        Some(events.map(|event| (*event, template.to_owned())).collect())
    };
    let value = |key: &str| rule.get(key).map(|it| it.trim_matches(['\'', '"']));
    match kind {
        "ref" => match value("event")? {
            "branch" => at(&[EventKind::Branch, EventKind::Main], "{branch}"),
            "tag" => at(&[EventKind::Release, EventKind::Prerelease], "{tag}"),
            "pr" => Some(Vec::new()),
            _ => None,
        },
        "semver" | "pep440" if rule.contains_key("value") => {
            at(&PUSHES, &filled(value("pattern")?, value("value")?, kind)?)
        }
        "match" if rule.contains_key("value") => None,
        "match" => {
            let group = rule.get("group").map_or("0", String::as_str);
            let matched = matched(value("pattern")?, group)?;
            at(&[EventKind::Release, EventKind::Prerelease], &matched)
        }
        "semver" | "pep440" => {
            let mut pattern = template(value("pattern")?)?;
            // Python's versions have one spelling each, and the action gives that.
            let whole = match kind {
                "pep440" => "{pep440}",
                _ => "{version}",
            };
            pattern = pattern.replace("{version}", whole);
            let mut made: Vec<_> = at(&[EventKind::Release], &pattern)?;
            let early = if pattern == "{tag}" { "{tag}" } else { whole };
            made.extend(at(&[EventKind::Prerelease], early)?);
            Some(made)
        }
        "sha" => match value("format") {
            Some("long") => at(&PUSHES, "{commit-full}"),
            _ => at(&PUSHES, "{commit}"),
        },
        "schedule" => at(
            &[EventKind::Schedule],
            &template(value("pattern").unwrap_or("nightly"))?,
        ),
        "edge" => match value("branch") {
            None | Some("main" | "master" | "") => at(&[EventKind::Main], "edge"),
            Some(_) => None,
        },
        "raw" => {
            let value = template(value("value")?)?;
            // Without a condition, schedules and manual runs follow their branch in any case.
            match allowed.as_slice() {
                [kind @ (EventKind::Schedule | EventKind::Manual)] => at(&[*kind], &value),
                _ => at(&PUSHES, &value),
            }
        }
        _ => None,
    }
}

/// The events that a condition allows; `None` if that cannot be told.
fn allowed(condition: &str) -> Option<Vec<EventKind>> {
    let all = || {
        let rest = [EventKind::Schedule, EventKind::Manual];
        PUSHES.into_iter().chain(rest).collect::<Vec<_>>()
    };
    let bare = condition.trim_start_matches("${{").trim_end_matches("}}");
    let bare: String = bare
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'')
        .collect();
    match bare.as_str() {
        "true" | "" => Some(all()),
        "false" => Some(Vec::new()),
        "{{is_default_branch"
        | "{{is_default_branch}}"
        | "is_default_branch"
        | "github.ref==refs/heads/main"
        | "github.ref==refs/heads/master"
        | "github.ref==format(refs/heads/{0},main)"
        | "github.ref==format(refs/heads/{0},master)"
        | "github.ref==format(refs/heads/{0},github.event.repository.default_branch)"
        | "github.ref_name==github.event.repository.default_branch"
        | "github.ref_name==main"
        | "github.ref_name==master" => Some(vec![EventKind::Main]),
        "{{is_not_default_branch" | "{{is_not_default_branch}}" => Some(
            all()
                .into_iter()
                .filter(|kind| *kind != EventKind::Main)
                .collect(),
        ),
        "startsWith(github.ref,refs/heads/)" | "github.ref_type==branch" => {
            Some(vec![EventKind::Branch, EventKind::Main])
        }
        "startsWith(github.ref,refs/tags/)"
        | "startsWith(github.ref,refs/tags/v)"
        | "github.event_name==release"
        | "github.ref_type==tag" => Some(vec![EventKind::Release, EventKind::Prerelease]),
        "github.event_name==schedule" => Some(vec![EventKind::Schedule]),
        "github.event_name==workflow_dispatch" => Some(vec![EventKind::Manual]),
        "github.event_name!=pull_request" | "github.event_name==push" => Some(all()),
        _ => None,
    }
}

/// What the usual patterns of `type=match` take of a git tag that is a version.
fn matched(pattern: &str, group: &str) -> Option<String> {
    let plain = pattern
        .trim_start_matches('^')
        .trim_end_matches('$')
        .replace("\\.", ".")
        .replace("[0-9]", "\\d")
        .replace("\\d+", "\\d")
        .replace(".+", ".*");
    let (before, inside, behind) = match plain.split_once('(') {
        None => ("", plain.as_str(), ""),
        Some((before, rest)) => {
            let (inside, behind) = rest.split_once(')')?;
            (before, inside, behind)
        }
    };
    let of_numbers = |text: &str| match text {
        "\\d.\\d.\\d" => Some("{major}.{minor}.{patch}"),
        "\\d.\\d" => Some("{major}.{minor}"),
        "\\d" => Some("{major}"),
        _ => None,
    };
    if !matches!(before, "" | "v" | "v?") || !matches!(behind, "" | ".*") {
        return None;
    }
    let (is_whole, has_group) = (group == "0", inside.len() != plain.len());
    match (is_whole && has_group, inside) {
        (false, ".*") if before == "v" || before == "v?" => Some("{version}".to_owned()),
        (false, ".*") => Some("{tag}".to_owned()),
        (false, numbers) => match numbers.strip_prefix('v') {
            Some(numbers) => of_numbers(numbers).map(|it| format!("v{it}")),
            None => of_numbers(numbers).map(str::to_owned),
        },
        (true, ".*") => Some("{tag}".to_owned()),
        (true, numbers) if before == "v" && behind.is_empty() => {
            of_numbers(numbers).map(|it| format!("v{it}"))
        }
        (true, _) => None,
    }
}

/// A pattern filled from a version that the rule itself names.
fn filled(pattern: &str, version: &str, kind: &str) -> Option<String> {
    let known = Version::parse(version)?;
    let spelled = match kind {
        "pep440" => normal_version(version)?,
        _ => known.text.clone(),
    };
    let pattern = template(pattern)?;
    let pattern = match known.is_release() || pattern == "{tag}" {
        true => pattern.as_str(),
        false => "{version}",
    };
    let number = |at: usize| known.numbers.get(at).map_or("0", String::as_str);
    let filled = pattern
        .replace("{version}", &spelled)
        .replace("{tag}", version)
        .replace("{major}", number(0))
        .replace("{minor}", number(1))
        .replace("{patch}", number(2));
    (!filled.contains(['{', '$'])).then_some(filled)
}

/// `v{{major}}.{{minor}}` as a rule of ours; `None` if a part has no counterpart.
fn template(pattern: &str) -> Option<String> {
    let mut made = String::new();
    let mut rest = pattern;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}")?;
        made.push_str(before);
        let name = name.trim();
        made.push_str(&match name {
            "version" => "{version}".to_owned(),
            "major" => "{major}".to_owned(),
            "minor" => "{minor}".to_owned(),
            "patch" => "{patch}".to_owned(),
            "raw" | "tag" => "{tag}".to_owned(),
            "branch" => "{branch}".to_owned(),
            "sha" => "{commit}".to_owned(),
            _ => date(
                name.strip_prefix("commit_date")
                    .or(name.strip_prefix("date"))?,
            )?,
        });
        rest = after;
    }
    made.push_str(rest);
    (!made.contains(['$', ' '])).then_some(made)
}

/// A format of moment.js, as far as it is about days: `'YYYY-MM-DD'`.
fn date(format: &str) -> Option<String> {
    let mut rest = format.trim().trim_matches(['\'', '"']);
    if rest == "YYYYMMDD" {
        return Some("{date}".to_owned());
    }
    let mut made = String::new();
    while let Some(first) = rest.chars().next() {
        let tokens = [
            ("YYYY", "{year}"),
            ("MM", "{month}"),
            ("DD", "{day}"),
            ("Q", "{quarter}"),
        ];
        let token = tokens.iter().find(|(token, _)| rest.starts_with(token));
        match token {
            Some((token, fact)) => {
                made.push_str(fact);
                rest = &rest[token.len()..];
            }
            None if matches!(first, '.' | '-' | '_') => {
                made.push(first);
                rest = &rest[1..];
            }
            None => return None,
        }
    }
    (!made.is_empty()).then_some(made)
}

#[cfg(test)]
mod tests;
