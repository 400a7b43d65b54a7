//! Tags that a workflow writes out, without docker/metadata-action: what is told by them.

use crate::import::Verdict;
use crate::import::draft::Draft;
use crate::settings::EventKind;

const PUSHES: [EventKind; 4] = [
    EventKind::Branch,
    EventKind::Main,
    EventKind::Release,
    EventKind::Prerelease,
];

/// Makes rules of the tags of a step that have expressions of the event in them.
pub(super) fn read(file: &str, tags: &[String], draft: &mut Draft) {
    let rules = tags.iter().map(|tag| (tag, rule(tag)));
    let rules: Vec<_> = rules.collect();
    if !rules.iter().any(|(tag, _)| tag.contains("${{")) {
        return;
    }
    for (tag, rule) in rules {
        let Some((events, template)) = rule else {
            draft.note(
                Verdict::Missing,
                file,
                format!("tag {tag}"),
                "no rule of `[tags]` says the same; add the tags it makes by hand",
            );
            continue;
        };
        for event in events {
            draft.tag(*event, &template);
        }
    }
}

/// The events and the rule of a tag.
fn rule(tag: &str) -> Option<(&'static [EventKind], String)> {
    let expressions = [
        ("github.sha", "{commit-full}", &PUSHES[..]),
        ("github.ref_name", "{branch}", &PUSHES[..2]),
        ("github.head_ref", "{branch}", &PUSHES[..2]),
        ("github.event.release.tag_name", "{tag}", &PUSHES[2..]),
    ];
    let Some((before, behind)) = tag.split_once("${{") else {
        // What is the same every time means the newest.
        return Some((&PUSHES[1..3], tag.to_owned()));
    };
    let (expression, after) = behind.split_once("}}")?;
    let known = expressions
        .iter()
        .find(|(name, ..)| *name == expression.trim());
    let (_, fact, events) = known?;
    (!after.contains("${{")).then(|| (*events, format!("{before}{fact}{after}")))
}
