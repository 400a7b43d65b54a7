//! docker/metadata-action's rules to rules of `[tags]`.
//!
//! | rule | here |
//! | --- | --- |
//! | `type=ref,event=branch` | `{branch}` of `branch` and `main` |
//! | `type=ref,event=tag` | `{tag}` of `release` and `prerelease` |
//! | `type=ref,event=pr` | nothing: a pull request publishes nothing, and that is said |
//! | `type=semver`, `type=pep440` | the pattern of `release`; `{version}` of `prerelease`, as the action does |
//! | `type=sha` | `sha-{commit}` of every push |
//! | `type=schedule` | the pattern of `schedule` |
//! | `type=edge` | `edge` of `main` |
//! | `type=raw` | the value, of the events that `enable` allows |
//! | `flavor: latest=auto` | `latest` of `release`, where a rule is about versions |

use std::collections::BTreeMap;

use super::Verdict;
use super::draft::Draft;
use crate::settings::EventKind;

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
    let flavor: BTreeMap<String, String> = flavor.iter().filter_map(|line| pair(line)).collect();
    let mut has_versions = false;
    for line in &tags {
        let rule: BTreeMap<String, String> = fields(line);
        let kind = rule.get("type").map_or("raw", String::as_str);
        has_versions |= matches!(kind, "semver" | "pep440")
            || (kind == "ref" && rule.get("event").is_some_and(|it| it == "tag"));
        match made(kind, &rule) {
            Some(made) if made.is_empty() && is_pull(&rule) => draft.note(
                Verdict::Differs,
                file,
                line.clone(),
                "a pull request is built and tested, and publishes nothing: its author may be anybody",
            ),
            Some(made) => {
                for (event, template) in made {
                    let prefix = affix(&rule, &flavor, "prefix");
                    let suffix = affix(&rule, &flavor, "suffix");
                    draft.tag(event, &format!("{prefix}{template}{suffix}"));
                }
                draft.note(
                    Verdict::Equal,
                    file,
                    line.clone(),
                    "the same tags by `[tags]`",
                );
            }
            None => draft.note(
                Verdict::Missing,
                file,
                line.clone(),
                "no rule of `[tags]` says the same; add the tags it makes by hand",
            ),
        }
    }
    match flavor.get("latest").map_or("auto", String::as_str) {
        "auto" if has_versions => {
            draft.tag(EventKind::Release, "latest");
            draft.note(
                Verdict::Differs,
                file,
                "flavor latest=auto",
                "a release has `latest` unless a newer one has it already; there every release took it",
            );
        }
        "true" => {
            for kind in [EventKind::Main, EventKind::Release] {
                draft.tag(kind, "latest");
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
    if !fields.contains_key("type") && !fields.contains_key("value") {
        fields.insert("value".to_owned(), line.to_owned());
    }
    fields
}

fn affix(rule: &BTreeMap<String, String>, flavor: &BTreeMap<String, String>, name: &str) -> String {
    let is_sha = rule.get("type").is_some_and(|kind| kind == "sha");
    let own = rule.get(name).cloned();
    own.unwrap_or_else(|| match (name, is_sha) {
        ("prefix", true) => "sha-".to_owned(),
        _ => flavor.get(name).cloned().unwrap_or_default(),
    })
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
        "semver" | "pep440" => {
            let pattern = template(value("pattern")?)?;
            let mut made: Vec<_> = at(&[EventKind::Release], &pattern)?;
            let early = if pattern == "{tag}" {
                "{tag}"
            } else {
                "{version}"
            };
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
        "edge" => at(&[EventKind::Main], "edge"),
        "raw" => {
            let value = template(value("value")?)?;
            // Without a condition, schedules and manual runs follow their branch in any case.
            match allowed.as_slice() {
                [EventKind::Schedule] => at(&[EventKind::Schedule], &value),
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
        | "github.ref_name==main"
        | "github.ref_name==master" => Some(vec![EventKind::Main]),
        "startsWith(github.ref,refs/tags/)"
        | "startsWith(github.ref,refs/tags/v)"
        | "github.ref_type==tag" => Some(vec![EventKind::Release, EventKind::Prerelease]),
        "github.event_name==schedule" => Some(vec![EventKind::Schedule]),
        "github.event_name!=pull_request" => Some(all()),
        _ => None,
    }
}

/// `v{{major}}.{{minor}}` as a rule of ours; `None` if a part has no counterpart.
fn template(pattern: &str) -> Option<String> {
    let mut made = String::new();
    let mut rest = pattern;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}")?;
        made.push_str(before);
        made.push_str(match name.trim() {
            "version" => "{version}",
            "major" => "{major}",
            "minor" => "{minor}",
            "patch" => "{patch}",
            "raw" | "tag" => "{tag}",
            "branch" => "{branch}",
            "sha" => "{commit}",
            date if date.starts_with("date") => match date.trim_matches(['\'', '"']) {
                date if date.ends_with("YYYYMMDD") => "{date}",
                date if date.ends_with("YYYY") => "{year}",
                _ => return None,
            },
            _ => return None,
        });
        rest = after;
    }
    made.push_str(rest);
    (!made.contains(['$', ' '])).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(tags: &[&str], flavor: &[&str]) -> String {
        let own = |lines: &[&str]| lines.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let mut draft = Draft::default();
        read("f", &own(tags), &own(flavor), &mut draft);
        let lists = draft.tags.iter().filter(|(_, list)| !list.is_empty());
        let lists = lists.map(|(kind, list)| format!("{kind}: {}", list.join(" ")));
        lists.collect::<Vec<_>>().join("; ")
    }

    /// MAN-20, MAN-21: the rules of the seed's repository give the seed's tags.
    #[test]
    fn the_actions_rules_give_the_same_tags() {
        let maniac = [
            "type=raw,value=latest,enable={{is_default_branch}}",
            "type=semver,pattern={{version}}",
            "type=semver,pattern={{major}}.{{minor}}",
            "type=sha",
        ];
        assert_eq!(
            rules(&maniac, &[]),
            "branch: sha-{commit}; main: latest sha-{commit}; \
             release: {version} {major}.{minor} sha-{commit} latest; prerelease: {version} sha-{commit}"
        );
        assert_eq!(
            rules(&[], &["latest=false"]),
            "branch: {branch}; main: {branch}; release: {tag}; prerelease: {tag}; schedule: nightly"
        );
        assert_eq!(
            rules(
                &[
                    "type=sha,prefix=,format=long",
                    "type=edge",
                    "v1-x",
                    "type=raw,value=nightly-{{date 'YYYYMMDD'}},enable=${{ github.event_name == 'schedule' }}"
                ],
                &["suffix=-gpu", "latest=false"]
            ),
            "branch: {commit-full}-gpu v1-x-gpu; main: {commit-full}-gpu edge-gpu v1-x-gpu; \
             release: {commit-full}-gpu v1-x-gpu; prerelease: {commit-full}-gpu v1-x-gpu; \
             schedule: nightly-{date}-gpu"
        );
    }

    #[test]
    fn what_has_no_counterpart_is_said() {
        let mut draft = Draft::default();
        let odd = [
            "type=match,pattern=v(.*)",
            "type=raw,value=x,enable=${{ inputs.y }}",
        ];
        read("f", &odd.map(str::to_owned), &[], &mut draft);
        assert!(
            draft
                .notes
                .iter()
                .all(|note| note.verdict == Verdict::Missing)
        );
        assert_eq!(draft.notes.len(), 2);
    }
}
