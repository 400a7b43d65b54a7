//! The table: an event, a spec's rules, and the tags.

use cairn_diagnostic::Source;

use super::*;
use crate::{Surroundings, read};

/// The commit of every row: 14 November 2023, the fourth quarter.
const COMMIT: &str = "abc1234def5678900000000000000000000000ff";
const TIME: i64 = 1_700_000_000;

/// The rules of the seed documents, and some that try the corners.
const NONE: &str = "";
/// DataHub: year.quarter and branch (DH-17, DH-18).
const DH: &str = "prefix = \"2026.3\"";
/// DataHub with the commit as the suffix (DH-22).
const DH_COMMIT: &str = "prefix = \"2023.2\"\nbranch = [\"{prefix}-{commit}\"]";
/// MaNIAC (MAN-20, MAN-21).
const MAN: &str = "main = [\"latest\", \"sha-{commit}\"]\n\
    release = [\"{version}\", \"{major}.{minor}\", \"{major}\", \"latest\", \"sha-{commit}\"]";
/// The example of the design.
const DESIGN: &str = "prefix = \"2026.3\"\nbranch = [\"{prefix}-{branch}\"]\n\
    main = [\"latest\", \"sha-{commit}\"]\n\
    release = [\"{version}\", \"{major}.{minor}\", \"latest\", \"sha-{commit}\"]\npull-request = []";
const PANOPTES: &str = "main-branches = [\"develop\", \"release/*\"]\nbranch = [\"{branch}\"]\n\
    main = [\"{branch}\", \"latest\"]";
const NIGHTLY: &str = "schedule = [\"nightly\", \"nightly-{date}\"]\nmanual = [\"manual-{branch}\"]\n\
    pull-request = [\"pr-{number}\"]";
const CALENDAR: &str = "prefix = \"{year}.{quarter}\"";
const PARTS: &str = "release = [\"{major}.{minor}.{patch}\", \"{tag}\", \"{version}-{date}\"]\n\
    prerelease = [\"{version}\", \"{major}.{minor}-{prerelease}\", \"latest\"]";
const CONTENT: &str =
    "branch = [\"c-{content}\"]\nmain = [\"{commit-full}\", \"{event}-{year}{month}{day}\"]";

enum On {
    Branch(&'static str),
    Tag(&'static str),
    Pull(&'static str),
    Cron(&'static str),
    Hand(&'static str),
    HandTag(&'static str),
    Detached,
}
use On::*;

fn facts(on: &On, git_tags: &[&str], default: Option<&str>) -> Facts {
    let branch = |name: &str| GitRef::Branch(name.to_owned());
    let (trigger, reference) = match on {
        Branch(name) => (Trigger::Push, branch(name)),
        Tag(name) => (Trigger::Push, GitRef::Tag((*name).to_owned())),
        Pull(head) => (Trigger::PullRequest { number: Some(71) }, branch(head)),
        Cron(name) => (Trigger::Schedule, branch(name)),
        Hand(name) => (Trigger::Manual, branch(name)),
        HandTag(name) => (Trigger::Manual, GitRef::Tag((*name).to_owned())),
        Detached => (Trigger::Push, GitRef::Detached),
    };
    Facts {
        trigger,
        reference,
        commit: Some(COMMIT.to_owned()),
        time: Some(TIME),
        default_branch: default.map(str::to_owned),
        git_tags: git_tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

fn stack(tags: &str, image: &str) -> Stack {
    let text = format!(
        "[stack]\nname = \"lab\"\nregistries = [\"ghcr.io/lab\"]\n[tags]\n{tags}\n[image.a]\ncontext = \"a\"\n{image}"
    );
    read(&Source::new("f", text), &Surroundings::none()).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}", all.join("\n"))
    })
}

/// The tags of the first image, joined by blanks.
fn tags(rules: &str, facts: &Facts) -> String {
    let stack = stack(rules, "");
    let digest = |_| Some("sha256:0123456789abcdef0123".to_owned());
    let publication = publication(&stack, facts, &Instead::default(), &digest);
    let tags = publication.images[0].tags.iter();
    let tags: Vec<&str> = tags.map(|tag| tag.tag.as_str()).collect();
    tags.join(" ")
}

#[test]
fn the_table() {
    const LONG: &str = "a-very-long-branch-name-that-goes-on-and-on-and-on-until-nobody-remembers-what-it-was-about-and-then-some-more-of-it-to-be-sure-of-it";
    const OLD: &[&str] = &[
        "v1.0.0",
        "v1.2.3",
        "v1.2.4",
        "v1.3.0",
        "v2.0.0-rc.1",
        "not-a-version",
    ];
    const CAL: &[&str] = &["v2026.2.0", "v2026.02.19", "v2026.10.1", "v2025.12.31"];
    let rows: &[(&str, On, &[&str], &str)] = &[
        // No rules at all.
        (NONE, Branch("main"), &[], "latest sha-abc1234"),
        (NONE, Branch("master"), &[], "latest sha-abc1234"),
        (NONE, Branch("topic"), &[], "topic"),
        (NONE, Branch("feature/a b"), &[], "feature-a-b"),
        (NONE, Branch("stable"), &[], ""),
        (NONE, Branch("2026.2-stable"), &[], ""),
        (NONE, Branch("日本"), &[], ""),
        (NONE, Branch("-x-"), &[], "x"),
        (NONE, Branch(LONG), &[], &LONG[..128]),
        (NONE, Tag("v1.2.3"), &[], "1.2.3 1.2 latest sha-abc1234"),
        (NONE, Tag("1.2.3"), &[], "1.2.3 1.2 latest sha-abc1234"),
        (NONE, Tag("v1.2.3-rc.1"), &[], "1.2.3-rc.1 sha-abc1234"),
        (NONE, Tag("nightly"), &[], ""),
        (NONE, Tag("v1"), &[], ""),
        (NONE, Pull("topic"), &[], ""),
        (NONE, Cron("main"), &[], "latest sha-abc1234"),
        (NONE, Cron("topic"), &[], "topic"),
        (NONE, Hand("main"), &[], "latest sha-abc1234"),
        (NONE, Hand("topic"), &[], "topic"),
        (NONE, HandTag("v1.2.3"), &[], "1.2.3 1.2 latest sha-abc1234"),
        (NONE, Detached, &[], ""),
        // DH-17, DH-18, DH-19, DH-20, DH-21, DH-23.
        (DH, Branch("update_pytorch"), &[], "2026.3-update_pytorch"),
        (DH, Branch("main"), &[], "2026.3-main"),
        (DH, Branch("fix/cuda:12 now"), &[], "2026.3-fix-cuda-12-now"),
        (
            DH,
            Branch("dependabot/pip/numpy-1.26"),
            &[],
            "2026.3-dependabot-pip-numpy-1.26",
        ),
        (DH, Branch("stable"), &[], ""),
        (DH, Branch("my-stable"), &[], ""),
        (DH, Branch("stable-2"), &[], "2026.3-stable-2"),
        (DH, Pull("update_pytorch"), &[], ""),
        (DH, Hand("update_pytorch"), &[], "2026.3-update_pytorch"),
        (DH, Cron("main"), &[], "2026.3-main"),
        (DH_COMMIT, Branch("x"), &[], "2023.2-abc1234"),
        (DH_COMMIT, Branch("main"), &[], "2023.2-main"),
        (CALENDAR, Branch("main"), &[], "2023.4-main"),
        (CALENDAR, Branch("a/b"), &[], "2023.4-a-b"),
        // MAN-20 to MAN-25.
        (MAN, Branch("main"), &[], "latest sha-abc1234"),
        (MAN, Branch("topic"), &[], "topic"),
        (
            MAN,
            Tag("v2026.2.0"),
            &[],
            "2026.2.0 2026.2 2026 latest sha-abc1234",
        ),
        (
            MAN,
            Tag("v2026.02.19"),
            &[],
            "2026.02.19 2026.02 2026 latest sha-abc1234",
        ),
        (
            MAN,
            Tag("v2026.2.0"),
            &["v2026.2.0"],
            "2026.2.0 2026.2 2026 latest sha-abc1234",
        ),
        (
            MAN,
            Tag("v2025.12.31"),
            CAL,
            "2025.12.31 2025.12 2025 sha-abc1234",
        ),
        (
            MAN,
            Tag("v2026.10.1"),
            CAL,
            "2026.10.1 2026.10 2026 latest sha-abc1234",
        ),
        (MAN, Tag("v2026.2.0"), CAL, "2026.2.0 2026.2 sha-abc1234"),
        (
            MAN,
            Tag("v2026.02.19"),
            CAL,
            "2026.02.19 2026.02 sha-abc1234",
        ),
        (MAN, Tag("v2026.3"), CAL, "2026.3 sha-abc1234"),
        (MAN, Tag("v2026.11"), CAL, "2026.11 2026 latest sha-abc1234"),
        (
            MAN,
            Tag("v2026.2.0-beta.1"),
            &[],
            "2026.2.0-beta.1 sha-abc1234",
        ),
        (MAN, Tag("v2026.2.0b1"), &[], "2026.2.0b1 sha-abc1234"),
        (MAN, Pull("topic"), &[], ""),
        (MAN, Hand("main"), &[], "latest sha-abc1234"),
        // A moving tag only moves forward (D30).
        (MAN, Tag("v1.3.0"), OLD, "1.3.0 1.3 1 latest sha-abc1234"),
        (MAN, Tag("v1.2.4"), OLD, "1.2.4 1.2 sha-abc1234"),
        (MAN, Tag("v1.2.3"), OLD, "1.2.3 sha-abc1234"),
        (MAN, Tag("v1.0.0"), OLD, "1.0.0 1.0 sha-abc1234"),
        (MAN, Tag("v1.2.5"), OLD, "1.2.5 1.2 sha-abc1234"),
        (MAN, Tag("v0.9.0"), OLD, "0.9.0 0.9 0 sha-abc1234"),
        (MAN, Tag("v2.0.0-rc.1"), OLD, "2.0.0-rc.1 sha-abc1234"),
        (MAN, Tag("v2.0.0"), OLD, "2.0.0 2.0 2 latest sha-abc1234"),
        (
            MAN,
            Tag("v1.2.3.4"),
            &[],
            "1.2.3.4 1.2 1 latest sha-abc1234",
        ),
        (
            MAN,
            Tag("v1.2.3+build.7"),
            &[],
            "1.2.3-build.7 1.2 1 latest sha-abc1234",
        ),
        (MAN, Tag("v1.10.0"), OLD, "1.10.0 1.10 1 latest sha-abc1234"),
        // The example of the design.
        (DESIGN, Branch("main"), &[], "latest sha-abc1234"),
        (DESIGN, Branch("topic"), &[], "2026.3-topic"),
        (DESIGN, Tag("v1.2.3"), &[], "1.2.3 1.2 latest sha-abc1234"),
        (DESIGN, Pull("topic"), &[], ""),
        (DESIGN, Cron("main"), &[], "latest sha-abc1234"),
        (DESIGN, Cron("topic"), &[], "2026.3-topic"),
        // PAN-04: the tag follows the branch; other branches count as main.
        (PANOPTES, Branch("develop"), &[], "develop latest"),
        (PANOPTES, Branch("main"), &[], "main"),
        (PANOPTES, Branch("release/0.3"), &[], "release-0.3 latest"),
        (PANOPTES, Branch("releases"), &[], "releases"),
        // Schedules, manual runs and pull requests with lists of their own.
        (NIGHTLY, Cron("main"), &[], "nightly nightly-20231114"),
        (NIGHTLY, Cron("topic"), &[], "nightly nightly-20231114"),
        (NIGHTLY, Hand("a/b"), &[], "manual-a-b"),
        (NIGHTLY, HandTag("v1.0.0"), &[], ""),
        (NIGHTLY, Pull("x"), &[], ""),
        (NIGHTLY, Branch("main"), &[], "latest sha-abc1234"),
        // Parts of versions.
        (PARTS, Tag("v1.2.3"), &[], "1.2.3 v1.2.3 1.2.3-20231114"),
        (PARTS, Tag("v2026.3"), &[], "v2026.3 2026.3-20231114"),
        (PARTS, Tag("v1.2.3-rc.1"), &[], "1.2.3-rc.1 1.2-rc.1"),
        (PARTS, Tag("1.2rc1"), &[], "1.2rc1 1.2-rc1"),
        (PARTS, Tag("1.2.dev3"), &[], "1.2.dev3 1.2-dev3"),
        // Content and the rest.
        (CONTENT, Branch("x"), &[], "c-0123456789ab"),
        (
            CONTENT,
            Branch("main"),
            &[],
            "abc1234def5678900000000000000000000000ff main-20231114",
        ),
    ];
    assert!(rows.len() >= 80, "{} rows", rows.len());
    for (rules, on, git_tags, expected) in rows {
        let facts = facts(on, git_tags, None);
        assert_eq!(
            tags(rules, &facts),
            *expected,
            "{rules} on {:?}",
            facts.reference
        );
    }
}

#[test]
fn the_default_branch_is_main_whatever_it_is_called() {
    let on = |branch| facts(&Branch(branch), &[], Some("trunk"));
    assert_eq!(tags(NONE, &on("trunk")), "latest sha-abc1234");
    assert_eq!(tags(NONE, &on("main")), "main");
    let rules = "main-branches = \"main\"";
    assert_eq!(
        tags(rules, &on("main")),
        "latest sha-abc1234",
        "the spec wins"
    );
}

fn reasons(rules: &str, facts: &Facts) -> Vec<String> {
    let stack = stack(rules, "");
    let publication = publication(&stack, facts, &Instead::default(), &|_| None);
    let left_out = publication.images[0].left_out.iter();
    left_out
        .map(|it| format!("{}: {}", it.rule, it.reason))
        .collect()
}

#[test]
fn a_rule_that_makes_no_tag_says_why() {
    let push = |branch| facts(&Branch(branch), &[], None);
    assert_eq!(
        reasons(NONE, &push("stable")),
        ["{branch}: `stable` is given by promotion only"]
    );
    assert_eq!(
        reasons(
            "branch = [\"latest\", \"{version}\", \"{content}\", \"{prefix}\"]",
            &push("x")
        ),
        [
            "latest: `latest` names what a main branch or a release made",
            "{version}: the event has no version",
            "{content}: the content is known once the image is built",
            "{prefix}: `tags.prefix` is not set",
        ]
    );
    assert_eq!(
        reasons(NIGHTLY, &facts(&Pull("x"), &[], None)),
        ["pr-{number}: a pull request publishes nothing"]
    );
    let old = facts(&Tag("v1.2.3"), &["v1.3.0", "v1.2.4"], None);
    assert_eq!(
        reasons(
            "release = [\"{major}.{minor}\", \"latest\", \"{number}\"]",
            &old
        ),
        [
            "{major}.{minor}: `1.2` stays with 1.2.4, which is newer",
            "latest: `latest` stays with 1.3.0, which is newer",
            "{number}: the event has no pull request's number",
        ]
    );
    let odd = facts(&Tag("nightly"), &[], None);
    assert_eq!(
        reasons(NONE, &odd),
        ["every rule: the git tag `nightly` is no version"]
    );
    let mut blind = push("main");
    (blind.commit, blind.time) = (None, None);
    assert_eq!(
        reasons("main = [\"{commit}\", \"{date}\"]", &blind),
        [
            "{commit}: the commit is not known",
            "{date}: the commit's time is not known"
        ]
    );
}

/// The names of every image, for an event.
fn published(image: &str, rules: &str, on: &On) -> Vec<String> {
    let stack = stack(rules, image);
    let publication = publication(&stack, &facts(on, &[], None), &Instead::default(), &|_| {
        None
    });
    assert_eq!(publication.clashes, []);
    publication
        .images
        .iter()
        .flat_map(ImageTags::names)
        .collect()
}

/// EPI-01, DH-12, DH-13, MAN-17 and version lists: variants share a repository, not a tag.
#[test]
fn variants_are_told_apart_by_their_suffix_their_prefix_or_their_rules() {
    assert_eq!(
        published(
            "[image.a.variant.local]\n[image.a.variant.cloud]\n",
            NONE,
            &Branch("main")
        ),
        [
            "ghcr.io/lab/a:latest-local",
            "ghcr.io/lab/a:sha-abc1234-local",
            "ghcr.io/lab/a:latest-cloud",
            "ghcr.io/lab/a:sha-abc1234-cloud",
        ]
    );
    assert_eq!(
        published(
            "[image.a.variant.local]\n[image.a.variant.cloud]\n",
            "main = [\"{variant}\"]",
            &Branch("main")
        ),
        ["ghcr.io/lab/a:local", "ghcr.io/lab/a:cloud"]
    );
    assert_eq!(
        published(
            "[image.a.variant.PYTHON39]\nsuffix = \"\"\ntags.prefix = \"2021.3\"\n\
             [image.a.variant.PYTHON38]\nsuffix = \"\"\ntags.prefix = \"2021.2\"\n",
            NONE,
            &Branch("fix/x")
        ),
        ["ghcr.io/lab/a:2021.3-fix-x", "ghcr.io/lab/a:2021.2-fix-x"]
    );
    assert_eq!(
        published(
            "[image.a.matrix.r]\n\"4.3.3\" = {}\n\
             \"4.4.1\".tags.main = [\"{r}\", \"4.4-{commit}\", \"latest-{variant}\"]\n",
            "main = [\"{r}\"]",
            &Branch("main")
        ),
        [
            "ghcr.io/lab/a:4.3.3",
            "ghcr.io/lab/a:4.4.1",
            "ghcr.io/lab/a:4.4-abc1234-4.4.1",
            "ghcr.io/lab/a:latest-4.4.1",
        ]
    );
    assert_eq!(
        published(
            "[image.a.variant.default]\nsuffix = \"\"\n[image.a.variant.cuda12]\nprefix = \"cuda12-\"\n\
             tags.main = [\"latest\", \"x-{variant}\"]\n\
             [image.a.variant.both]\nprefix = \"a-\"\nsuffix = \"-z\"\n",
            "main = [\"latest\"]",
            &Branch("main")
        ),
        [
            "ghcr.io/lab/a:latest",
            "ghcr.io/lab/a:cuda12-latest",
            "ghcr.io/lab/a:x-cuda12",
            "ghcr.io/lab/a:a-latest-z",
        ]
    );
    assert_eq!(
        published(
            "variant.gpu = { prefix = \"gpu-\" }\n",
            DH,
            &Branch("stable")
        ),
        [""; 0],
        "only promotion makes `gpu-2026.3-stable`"
    );
    assert_eq!(
        published("variant.gpu = {}\n", DH, &Branch("stable")),
        [""; 0],
        "only promotion makes `2026.3-stable-gpu`"
    );
    let internal = "internal = true\n[image.b]\ncontext = \"b\"\n";
    assert_eq!(published(internal, NONE, &Branch("x")), ["ghcr.io/lab/b:x"]);
}

#[test]
fn two_images_under_one_name_are_a_clash() {
    let stack = stack(
        NONE,
        "variant.x = { suffix = \"\" }\nvariant.y = { suffix = \"\" }\n",
    );
    let publication = publication(
        &stack,
        &facts(&Branch("t"), &[], None),
        &Instead::default(),
        &|_| None,
    );
    let clash = &publication.clashes[0];
    assert_eq!(
        (clash.name.as_str(), clash.one, clash.other),
        ("ghcr.io/lab/a:t", ImageId(0), ImageId(1))
    );
}

#[test]
fn a_long_branch_is_cut_before_the_suffix() {
    let stack = stack(NONE, "variant.gpu = {}\n");
    let long = "x".repeat(300);
    let mut facts = facts(&Branch("t"), &[], None);
    facts.reference = GitRef::Branch(long);
    let publication = publication(&stack, &facts, &Instead::default(), &|_| None);
    let tag = &publication.images[0].tags[0].tag;
    assert_eq!(tag.len(), 128);
    assert!(tag.ends_with("xx-gpu"));
}

/// What the command line names goes by the same names, registries and suffixes as what rules make.
#[test]
fn the_command_line_stands_in_for_the_spec() {
    let stack = stack(
        NONE,
        "names = { \"ghcr.io/lab\" = \"own\" }\nvariant.gpu = {}\n[image.b]\ncontext = \"b\"\n",
    );
    let names = |on: &On, registries: &[&str], tags: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let instead = Instead {
            registries: own(registries),
            tags: own(tags),
        };
        let publication = publication(&stack, &facts(on, &[], None), &instead, &|_| None);
        let images = publication.images.iter();
        images.flat_map(ImageTags::names).collect::<Vec<_>>()
    };
    let main = Branch("main");
    assert_eq!(
        names(&main, &[], &["try"]),
        ["ghcr.io/lab/own:try-gpu", "ghcr.io/lab/b:try"]
    );
    assert_eq!(
        names(&main, &["quay.io/x", "ghcr.io/lab"], &["a", "a"]),
        [
            "quay.io/x/a:a-gpu",
            "ghcr.io/lab/own:a-gpu",
            "quay.io/x/b:a",
            "ghcr.io/lab/b:a"
        ]
    );
    assert_eq!(names(&main, &["quay.io/x"], &[]).len(), 4);
    assert_eq!(names(&Detached, &[], &["try"]).len(), 2);
    assert_eq!(names(&Pull("x"), &[], &["try"]), [""; 0]);
    assert_eq!(names(&main, &[], &["a b"]), [""; 0]);
    let promoted = "[promote]\n\"{any}-good\" = { from = \"x\" }\n[image.b]\ncontext = \"b\"\n";
    assert_eq!(
        published(promoted, "main = [\"x\", \"x-good\"]", &Branch("main")),
        ["ghcr.io/lab/a:x", "ghcr.io/lab/b:x"]
    );
}
