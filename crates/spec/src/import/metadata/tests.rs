//! Rules of the action, and what an event has by them after import: as the action's own page tells,
//! but for what is different on purpose.

use cairn_diagnostic::Source;

use super::*;
use crate::Surroundings;
use crate::tags::{Facts, GitRef, Instead, Trigger, publication};

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
        "branch: {branch}; main: {branch}; release: {tag}; prerelease: {tag}; schedule: nightly {branch}"
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
         schedule: nightly-{date}-gpu {commit-full}-gpu edge-gpu v1-x-gpu"
    );
}

#[test]
fn what_has_no_counterpart_is_said() {
    let mut draft = Draft::default();
    let odd = [
        "type=match,pattern=v(.*)(x|y)",
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

/// 14 November 2023.
const TIME: i64 = 1_700_000_000;
const COMMIT: &str = "90dd6032fac8bda1b6c4436a2e65de27961ed071";

#[derive(Debug, Clone, Copy)]
enum On {
    Push(&'static str),
    Tag(&'static str),
    Pull,
    Cron,
    Hand,
}
use On::{Cron, Hand, Pull, Push, Tag};

/// The tags that an imported step gives on an event.
fn given(tags: &[&str], flavor: &[&str], on: On) -> String {
    let own = |lines: &[&str]| lines.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let mut draft = Draft::default();
    read("f", &own(tags), &own(flavor), &mut draft);
    let mut text = "[stack]\nname = \"s\"\nregistries = [\"r.io/x\"]\n[tags]\n".to_owned();
    for (kind, list) in &draft.tags {
        text.push_str(&format!("{kind} = {list:?}\n"));
    }
    text.push_str("[image.a]\ncontext = \"a\"\n");
    let stack = crate::read(&Source::new("f", text), &Surroundings::none());
    let stack = stack.unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}", all.join("\n"))
    });
    let branch = |name: &str| GitRef::Branch(name.to_owned());
    let (trigger, reference) = match on {
        Push(name) => (Trigger::Push, branch(name)),
        Tag(name) => (Trigger::Push, GitRef::Tag(name.to_owned())),
        Pull => (Trigger::PullRequest { number: Some(2) }, branch("topic")),
        Cron => (Trigger::Schedule, branch("master")),
        Hand => (Trigger::Manual, branch("master")),
    };
    let facts = Facts {
        trigger,
        reference,
        commit: Some(COMMIT.to_owned()),
        time: Some(TIME),
        default_branch: None,
        git_tags: Vec::new(),
    };
    let publication = publication(&stack, &facts, &Instead::default(), &|_| None);
    let tags = publication.images[0].tags.iter();
    let mut tags: Vec<&str> = tags.map(|tag| tag.tag.as_str()).collect();
    tags.sort_unstable();
    tags.join(" ")
}

const BASIC: &[&str] = &[];
const SEMVER: &[&str] = &[
    "type=ref,event=branch",
    "type=ref,event=pr",
    "type=semver,pattern={{version}}",
    "type=semver,pattern={{major}}.{{minor}}",
];
const ZERO: &[&str] = &[
    "type=semver,pattern={{version}}",
    "type=semver,pattern={{major}}.{{minor}}",
];

/// The tables of the action's page. What is different here on purpose: a pull request publishes
/// nothing, and neither does a git tag that is no version; `latest` is never a version before a
/// release; a date is the commit's.
#[test]
fn the_actions_tables() {
    let none: &[&str] = &[];
    let rows: &[(&[&str], &[&str], On, &str)] = &[
        // Basic usage.
        (BASIC, none, Pull, ""),
        (BASIC, none, Push("master"), "master"),
        (BASIC, none, Push("releases/v1"), "releases-v1"),
        (BASIC, none, Tag("v1.2.3"), "latest v1.2.3"),
        (BASIC, none, Tag("v2.0.8-beta.67"), "v2.0.8-beta.67"),
        (BASIC, none, Cron, "master nightly"),
        (BASIC, none, Hand, "master"),
        // Semver.
        (SEMVER, none, Pull, ""),
        (SEMVER, none, Push("master"), "master"),
        (SEMVER, none, Push("releases/v1"), "releases-v1"),
        (SEMVER, none, Tag("v1.2.3"), "1.2 1.2.3 latest"),
        (SEMVER, none, Tag("v2.0.8-beta.67"), "2.0.8-beta.67"),
        // type=schedule.
        (&["type=schedule"], none, Cron, "nightly"),
        (&["type=schedule,pattern=nightly"], none, Cron, "nightly"),
        (
            &["type=schedule,pattern={{date 'YYYYMMDD'}}"],
            none,
            Cron,
            "20231114",
        ),
        (
            &["type=schedule,pattern=n-{{date 'YYYY-MM-DD'}}"],
            none,
            Cron,
            "n-2023-11-14",
        ),
        (
            &["type=schedule,pattern={{date 'YYYY.Q'}}"],
            none,
            Cron,
            "2023.4",
        ),
        (&["type=schedule"], none, Push("master"), ""),
        (
            &["type=schedule,prefix=a-,suffix=-b"],
            none,
            Cron,
            "a-nightly-b",
        ),
        // type=semver.
        (
            &["type=semver,pattern={{raw}}"],
            none,
            Tag("v1.2.3"),
            "latest v1.2.3",
        ),
        (
            &["type=semver,pattern={{version}}"],
            none,
            Tag("v1.2.3"),
            "1.2.3 latest",
        ),
        (
            &["type=semver,pattern={{major}}.{{minor}}"],
            none,
            Tag("v1.2.3"),
            "1.2 latest",
        ),
        (
            &["type=semver,pattern=v{{major}}"],
            none,
            Tag("v1.2.3"),
            "latest v1",
        ),
        (
            &["type=semver,pattern={{minor}}"],
            none,
            Tag("v1.2.3"),
            "2 latest",
        ),
        (
            &["type=semver,pattern={{patch}}"],
            none,
            Tag("v1.2.3"),
            "3 latest",
        ),
        (
            &["type=semver,pattern={{raw}}"],
            none,
            Tag("v2.0.8-beta.67"),
            "v2.0.8-beta.67",
        ),
        (
            &["type=semver,pattern={{version}}"],
            none,
            Tag("v2.0.8-beta.67"),
            "2.0.8-beta.67",
        ),
        (
            &["type=semver,pattern={{major}}.{{minor}}"],
            none,
            Tag("v2.0.8-beta.67"),
            "2.0.8-beta.67",
        ),
        (
            &["type=semver,pattern={{version}},value=v1.0.0"],
            none,
            Push("master"),
            "1.0.0",
        ),
        (
            &["type=semver,pattern=v{{major}}.{{minor}},value=1.4.2"],
            none,
            Push("topic"),
            "v1.4",
        ),
        (
            &["type=semver,pattern={{major}},value=v2.0.8-beta.67"],
            none,
            Push("master"),
            "2.0.8-beta.67",
        ),
        (
            &["type=semver,pattern={{version}}"],
            none,
            Push("master"),
            "",
        ),
        (
            &["type=semver,pattern={{version}}"],
            none,
            Tag("nightly"),
            "",
        ),
        (
            &["type=semver,pattern={{version}},enable=false"],
            &["latest=false"],
            Tag("v1.2.3"),
            "",
        ),
        (
            &["type=semver,pattern={{version}},prefix=a-,suffix=-b"],
            &["latest=false"],
            Tag("v1.2.3"),
            "a-1.2.3-b",
        ),
        // Major version zero.
        (ZERO, none, Tag("v0.1.2"), "0.1 0.1.2 latest"),
        // type=pep440.
        (
            &["type=pep440,pattern={{version}}"],
            none,
            Tag("1.2.3"),
            "1.2.3 latest",
        ),
        (
            &["type=pep440,pattern={{version}}"],
            none,
            Tag("v1.2.3"),
            "1.2.3 latest",
        ),
        (
            &["type=pep440,pattern={{raw}}"],
            none,
            Tag("1.2.3"),
            "1.2.3 latest",
        ),
        (
            &["type=pep440,pattern={{major}}.{{minor}}"],
            none,
            Tag("1.2.3"),
            "1.2 latest",
        ),
        (
            &["type=pep440,pattern=v{{major}}"],
            none,
            Tag("1.2.3"),
            "latest v1",
        ),
        (
            &["type=pep440,pattern={{raw}}"],
            none,
            Tag("v1.2.3rc2"),
            "v1.2.3rc2",
        ),
        (
            &["type=pep440,pattern={{version}}"],
            none,
            Tag("1.2.3rc2"),
            "1.2.3rc2",
        ),
        (
            &["type=pep440,pattern={{major}}.{{minor}}"],
            none,
            Tag("1.2.3rc2"),
            "1.2.3rc2",
        ),
        (
            &["type=pep440,pattern={{version}}"],
            none,
            Tag("v1.2.3-rc.2"),
            "1.2.3rc2",
        ),
        (
            &["type=pep440,pattern={{version}}"],
            none,
            Tag("v1.2.3-beta"),
            "1.2.3b0",
        ),
        (
            &["type=pep440,pattern={{version}}"],
            none,
            Tag("1.2.3.post1"),
            "1.2.3.post1",
        ),
        (
            &["type=pep440,pattern=py{{version}}"],
            none,
            Tag("2026.02.19"),
            "latest py2026.2.19",
        ),
        // type=match.
        (
            &["type=match,pattern=\\d.\\d.\\d"],
            none,
            Tag("v1.2.3"),
            "1.2.3 latest",
        ),
        (
            &["type=match,pattern=v(.*),group=1"],
            none,
            Tag("v2.0.8-beta.67"),
            "2.0.8-beta.67",
        ),
        (
            &["type=match,pattern=v(.*),group=1"],
            none,
            Tag("v1.2.3"),
            "1.2.3 latest",
        ),
        (
            &["type=match,pattern=v(\\d.\\d),group=1"],
            none,
            Tag("v2.0.8-beta.67"),
            "2.0",
        ),
        (
            &["type=match,pattern=v(\\d+),group=1"],
            none,
            Tag("v12.0.8"),
            "12 latest",
        ),
        (
            &["type=match,pattern=v\\d+\\.\\d+"],
            none,
            Tag("v1.2.3"),
            "latest v1.2",
        ),
        (
            &["type=match,pattern=^v([0-9]+\\.[0-9]+\\.[0-9]+)$,group=1"],
            none,
            Tag("v1.22.3"),
            "1.22.3 latest",
        ),
        (&["type=match,pattern=\\d+"], none, Tag("20200110-RC2"), ""),
        (
            &["type=match,pattern=v(.*),group=1"],
            none,
            Push("master"),
            "",
        ),
        // type=edge.
        (&["type=edge"], none, Push("master"), "edge"),
        (&["type=edge"], none, Push("topic"), ""),
        (&["type=edge,branch=main"], none, Push("main"), "edge"),
        (&["type=edge,prefix=a-"], none, Push("main"), "a-edge"),
        // type=ref.
        (
            &["type=ref,event=branch"],
            none,
            Push("my/branch"),
            "my-branch",
        ),
        (&["type=ref,event=branch"], none, Tag("v1.2.3"), ""),
        (
            &["type=ref,event=tag"],
            none,
            Tag("v1.2.3"),
            "latest v1.2.3",
        ),
        (&["type=ref,event=tag"], none, Push("master"), ""),
        (&["type=ref,event=pr"], none, Pull, ""),
        (
            &["type=ref,event=branch,suffix=-dev"],
            none,
            Push("master"),
            "master-dev",
        ),
        // type=raw, in all its spellings.
        (
            &["type=raw,value=foo", "type=raw,value=bar"],
            none,
            Push("topic"),
            "bar foo",
        ),
        (&["type=raw,foo", "bar"], none, Push("topic"), "bar foo"),
        (&["foo"], none, Tag("v1.2.3"), "foo"),
        (&["type=raw,value=foo"], none, Cron, "foo"),
        (&["type=raw,value=foo"], none, Hand, "foo"),
        (
            &["type=raw,value=latest,enable={{is_default_branch}}"],
            none,
            Push("main"),
            "latest",
        ),
        (
            &["type=raw,value=latest,enable={{is_default_branch}}"],
            none,
            Push("topic"),
            "",
        ),
        (
            &["type=raw,value=t,enable={{is_not_default_branch}}"],
            none,
            Push("topic"),
            "t",
        ),
        (
            &["type=raw,value=t,enable={{is_not_default_branch}}"],
            none,
            Push("main"),
            "",
        ),
        (
            &["type=raw,value=latest,enable=${{ github.ref == format('refs/heads/{0}', 'main') }}"],
            none,
            Push("main"),
            "latest",
        ),
        (
            &["type=raw,value=hand,enable=${{ github.event_name == 'workflow_dispatch' }}"],
            none,
            Hand,
            "hand",
        ),
        (
            &["type=raw,value=x,enable=${{ startsWith(github.ref, 'refs/tags/') }}"],
            none,
            Tag("v1.2.3"),
            "x",
        ),
        (
            &["type=raw,value=x,enable=${{ startsWith(github.ref, 'refs/tags/') }}"],
            none,
            Push("main"),
            "",
        ),
        // type=sha.
        (&["type=sha"], none, Push("topic"), "sha-90dd603"),
        (
            &["type=sha,format=long"],
            none,
            Push("topic"),
            "sha-90dd6032fac8bda1b6c4436a2e65de27961ed071",
        ),
        (&["type=sha,prefix="], none, Tag("v1.2.3"), "90dd603"),
        (&["type=sha"], none, Tag("v2.0.8-beta.67"), "sha-90dd603"),
        (
            &["type=sha,enable={{is_default_branch}}"],
            none,
            Push("topic"),
            "",
        ),
        // Global expressions.
        (
            &["type=sha,prefix={{branch}}-"],
            none,
            Push("master"),
            "master-90dd603",
        ),
        (
            &["type=raw,value=mytag-{{branch}}-{{sha}}"],
            none,
            Push("master"),
            "mytag-master-90dd603",
        ),
        (
            &["type=raw,value={{tag}}-x"],
            none,
            Tag("v1.2.3"),
            "v1.2.3-x",
        ),
        (
            &["type=raw,value={{date 'YYYYMMDD'}}"],
            none,
            Push("master"),
            "20231114",
        ),
        (
            &["type=raw,value={{commit_date 'YYYY.MM'}}"],
            none,
            Push("master"),
            "2023.11",
        ),
        // Flavor.
        (SEMVER, &["latest=false"], Tag("v1.2.3"), "1.2 1.2.3"),
        (BASIC, &["latest=true"], Push("main"), "latest main"),
        (
            SEMVER,
            &["suffix=-alpine"],
            Tag("v1.2.3"),
            "1.2-alpine 1.2.3-alpine latest",
        ),
        (
            SEMVER,
            &["suffix=-alpine,onlatest=true"],
            Tag("v1.2.3"),
            "1.2-alpine 1.2.3-alpine latest-alpine",
        ),
        (
            SEMVER,
            &["prefix=x-,onlatest=true"],
            Tag("v1.2.3"),
            "x-1.2 x-1.2.3 x-latest",
        ),
        (SEMVER, &["prefix=x-"], Push("topic"), "x-topic"),
        (
            &["type=sha"],
            &["prefix=x-", "suffix=-y"],
            Push("topic"),
            "sha-90dd603-y",
        ),
        (
            &["type=ref,event=branch,suffix="],
            &["suffix=-y"],
            Push("topic"),
            "topic",
        ),
    ];
    assert!(rows.len() >= 80, "{} rows", rows.len());
    for (tags, flavor, on, expected) in rows {
        assert_eq!(
            given(tags, flavor, *on),
            *expected,
            "{tags:?} {flavor:?} {on:?}"
        );
    }
}
