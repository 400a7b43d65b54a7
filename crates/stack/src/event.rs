//! What a run answers: a push, a release, a pull request, a set time, somebody's wish.
//!
//! Asked of the flags, then of the environment of GitHub Actions or GitLab CI, then of git. The
//! facts are values; `cairn_spec::tags` says what follows from them.

use std::collections::BTreeMap;

use cairn_spec::tags::{Facts, GitRef, Trigger, Version};

use crate::git;
use crate::load::LoadedStack;

/// What the flags say; the rest is found out.
#[derive(Debug, Clone, Default)]
pub struct EventOptions {
    /// The trigger, by its word.
    pub trigger: Option<TriggerWord>,
    /// A branch or a tag, maybe as `refs/heads/...` or `refs/tags/...`.
    pub reference: Option<String>,
    /// The number of the pull request.
    pub number: Option<u64>,
}

/// A trigger by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerWord {
    /// A push to a branch, or a pushed tag.
    Push,
    /// A pull request, or a merge request.
    PullRequest,
    /// A set time.
    Schedule,
    /// Somebody.
    Manual,
}

/// Where the facts of an event were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The environment of GitHub Actions.
    GitHub,
    /// The environment of GitLab CI.
    GitLab,
    /// The repository.
    Git,
}

/// Facts, and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The facts.
    pub facts: Facts,
    /// Where those were found that no flag says.
    pub origin: Origin,
    /// Whether a CI says that this is the run of a pull request, whatever a flag says.
    pub is_of_request: bool,
}

/// Finds out what a run of this stack answers.
pub fn detect(
    loaded: &LoadedStack,
    environment: &BTreeMap<String, String>,
    options: &EventOptions,
) -> Event {
    let directory = &loaded.directory;
    let git_tags = git::tags(directory);
    let is_set = |name: &str| environment.get(name).is_some_and(|value| value == "true");
    let tells = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    // Forges and runners that speak as one of the two do not always say that they are it.
    let (mut found, origin) = if is_set("GITHUB_ACTIONS") || tells("GITHUB_EVENT_NAME") {
        (github(environment), Origin::GitHub)
    } else if is_set("GITLAB_CI") || tells("CI_MERGE_REQUEST_IID") {
        (gitlab(environment), Origin::GitLab)
    } else {
        (repository(loaded), Origin::Git)
    };
    let is_of_request = matches!(found.trigger, Trigger::PullRequest { .. });
    if let Some(word) = options.trigger {
        found.trigger = match word {
            TriggerWord::Push => Trigger::Push,
            TriggerWord::PullRequest => Trigger::PullRequest { number: None },
            TriggerWord::Schedule => Trigger::Schedule,
            TriggerWord::Manual => Trigger::Manual,
        };
    }
    if let (Some(number), Trigger::PullRequest { number: known }) =
        (options.number, &mut found.trigger)
    {
        *known = Some(number);
    }
    if let Some(reference) = &options.reference {
        found.reference = named(reference, &git_tags);
    }
    let commit = match &found.commit {
        Some(revision) => git::resolve(directory, revision).map(|(_, time)| time),
        None => None,
    };
    let here = loaded.commit.as_ref();
    let facts = Facts {
        trigger: found.trigger,
        reference: found.reference,
        time: commit.or(here.map(|commit| commit.time)),
        commit: found.commit.or(here.map(|commit| commit.hash.clone())),
        default_branch: found
            .default_branch
            .or_else(|| git::default_branch(directory)),
        git_tags,
    };
    Event {
        facts,
        origin,
        is_of_request,
    }
}

/// What a place tells of the event.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    trigger: Trigger,
    reference: GitRef,
    commit: Option<String>,
    default_branch: Option<String>,
}

/// A branch or a tag as somebody writes it: in full, or a word. A word is a tag if the
/// repository has that tag, or if it is a version; else it is a branch.
fn named(reference: &str, git_tags: &[String]) -> GitRef {
    if let Some(reference) = in_full(reference) {
        return reference;
    }
    let is_tag = git_tags.iter().any(|tag| tag == reference) || Version::parse(reference).is_some();
    match is_tag {
        true => GitRef::Tag(reference.to_owned()),
        false => GitRef::Branch(reference.to_owned()),
    }
}

fn in_full(reference: &str) -> Option<GitRef> {
    let branch = reference.strip_prefix("refs/heads/");
    let tag = reference.strip_prefix("refs/tags/");
    let branch = branch.map(|name| GitRef::Branch(name.to_owned()));
    branch.or(tag.map(|name| GitRef::Tag(name.to_owned())))
}

/// `GITHUB_*` and the file with the event's own words.
fn github(environment: &BTreeMap<String, String>) -> Found {
    let text = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let payload = text("GITHUB_EVENT_PATH").and_then(|path| std::fs::read(path).ok());
    let payload: serde_json::Value = payload
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let told = |pointer: &str| payload.pointer(pointer)?.as_str().map(str::to_owned);
    let full = text("GITHUB_REF").map_or("", String::as_str);
    let number = full
        .strip_prefix("refs/pull/")
        .and_then(|rest| rest.split('/').next()?.parse().ok());
    let trigger = match text("GITHUB_EVENT_NAME").map_or("", String::as_str) {
        // `pull_request_target` and the reviews of one, too.
        event if event.starts_with("pull_request") => Trigger::PullRequest {
            number: number.or_else(|| payload.pointer("/number")?.as_u64()),
        },
        "schedule" => Trigger::Schedule,
        "push" | "create" | "release" => Trigger::Push,
        _ => Trigger::Manual,
    };
    let is_pull = matches!(trigger, Trigger::PullRequest { .. });
    let head = text("GITHUB_HEAD_REF").filter(|_| is_pull);
    let reference = match head {
        Some(head) => GitRef::Branch(head.clone()),
        None => in_full(full).unwrap_or(GitRef::Detached),
    };
    // The commit of a pull request's run is a merge that nobody made; its head is what counts.
    let merged = told("/pull_request/head/sha").filter(|_| is_pull);
    Found {
        trigger,
        reference,
        commit: merged.or_else(|| text("GITHUB_SHA").cloned()),
        default_branch: told("/repository/default_branch"),
    }
}

/// `CI_*`.
fn gitlab(environment: &BTreeMap<String, String>) -> Found {
    let text = |name: &str| {
        let value = environment.get(name);
        value.filter(|value| !value.is_empty()).cloned()
    };
    let number = text("CI_MERGE_REQUEST_IID");
    let trigger = match text("CI_PIPELINE_SOURCE").as_deref() {
        source
            if number.is_some()
                || matches!(
                    source,
                    Some("merge_request_event" | "external_pull_request_event")
                ) =>
        {
            Trigger::PullRequest {
                number: number.and_then(|number| number.parse().ok()),
            }
        }
        Some("schedule") => Trigger::Schedule,
        Some("push") => Trigger::Push,
        _ => Trigger::Manual,
    };
    let branch = text("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME").or_else(|| text("CI_COMMIT_BRANCH"));
    let reference = match (text("CI_COMMIT_TAG"), branch) {
        (Some(tag), _) => GitRef::Tag(tag),
        (None, Some(branch)) => GitRef::Branch(branch),
        (None, None) => GitRef::Detached,
    };
    Found {
        trigger,
        reference,
        commit: text("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA").or_else(|| text("CI_COMMIT_SHA")),
        default_branch: text("CI_DEFAULT_BRANCH"),
    }
}

/// What is checked out counts as pushed: its branch, or the highest version among its tags.
fn repository(loaded: &LoadedStack) -> Found {
    let branch = loaded.commit.as_ref().and_then(|it| it.branch.clone());
    let reference = match branch {
        Some(branch) => GitRef::Branch(branch),
        None => {
            let tags = git::tags_here(&loaded.directory);
            let versions = tags
                .iter()
                .filter_map(|tag| Some((tag, Version::parse(tag)?)));
            let highest = versions.max_by(|(_, one), (_, other)| one.order(other));
            highest.map_or(GitRef::Detached, |(tag, _)| GitRef::Tag(tag.clone()))
        }
    };
    Found {
        trigger: Trigger::Push,
        reference,
        commit: None,
        default_branch: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn branch(name: &str) -> GitRef {
        GitRef::Branch(name.to_owned())
    }

    fn tag(name: &str) -> GitRef {
        GitRef::Tag(name.to_owned())
    }

    #[test]
    fn github_tells_by_its_variables_and_its_file() {
        let on = |event: &str, full: &str, more: &[(&str, &str)]| {
            let mut pairs = vec![("GITHUB_EVENT_NAME", event), ("GITHUB_REF", full)];
            pairs.extend(more);
            let found = github(&environment(&pairs));
            (found.trigger, found.reference)
        };
        assert_eq!(
            on("push", "refs/heads/a/b", &[]),
            (Trigger::Push, branch("a/b"))
        );
        assert_eq!(
            on("push", "refs/tags/v1.2", &[]),
            (Trigger::Push, tag("v1.2"))
        );
        assert_eq!(
            on("release", "refs/tags/v1.2", &[]),
            (Trigger::Push, tag("v1.2"))
        );
        assert_eq!(
            on("schedule", "refs/heads/main", &[]),
            (Trigger::Schedule, branch("main"))
        );
        assert_eq!(
            on("pull_request_target", "refs/heads/main", &[]).0,
            Trigger::PullRequest { number: None }
        );
        assert_eq!(
            on("workflow_dispatch", "refs/heads/x", &[]),
            (Trigger::Manual, branch("x"))
        );
        let number = Some(71);
        assert_eq!(
            on(
                "pull_request",
                "refs/pull/71/merge",
                &[("GITHUB_HEAD_REF", "topic")]
            ),
            (Trigger::PullRequest { number }, branch("topic")),
            "DH-20: the head branch, not `71/merge`"
        );
    }

    #[test]
    fn a_pull_requests_commit_is_its_head() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("event.json");
        let text = r#"{"number": 5, "pull_request": {"head": {"sha": "feed"}}, "repository": {"default_branch": "trunk"}}"#;
        std::fs::write(&path, text).expect("a file");
        let path = path.display().to_string();
        let with = |event| {
            github(&environment(&[
                ("GITHUB_EVENT_NAME", event),
                ("GITHUB_REF", "refs/heads/x"),
                ("GITHUB_HEAD_REF", "topic"),
                ("GITHUB_SHA", "cafe"),
                ("GITHUB_EVENT_PATH", &path),
            ]))
        };
        let pull = with("pull_request");
        assert_eq!(pull.commit.as_deref(), Some("feed"));
        assert_eq!(pull.trigger, Trigger::PullRequest { number: Some(5) });
        assert_eq!(pull.default_branch.as_deref(), Some("trunk"));
        let push = with("push");
        assert_eq!(
            (push.commit.as_deref(), push.reference),
            (Some("cafe"), branch("x"))
        );
    }

    #[test]
    fn gitlab_tells_by_its_variables() {
        let on = |source: &str, more: &[(&str, &str)]| {
            let mut pairs = vec![("CI_PIPELINE_SOURCE", source)];
            pairs.extend(more);
            let found = gitlab(&environment(&pairs));
            (found.trigger, found.reference)
        };
        assert_eq!(
            on("push", &[("CI_COMMIT_BRANCH", "a")]),
            (Trigger::Push, branch("a"))
        );
        assert_eq!(
            on("push", &[("CI_COMMIT_TAG", "v1.0")]),
            (Trigger::Push, tag("v1.0"))
        );
        assert_eq!(
            on("web", &[("CI_COMMIT_BRANCH", "a")]),
            (Trigger::Manual, branch("a"))
        );
        assert_eq!(
            on("schedule", &[("CI_COMMIT_BRANCH", "a")]),
            (Trigger::Schedule, branch("a"))
        );
        let request = [
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "topic"),
        ];
        assert_eq!(
            on("merge_request_event", &request),
            (Trigger::PullRequest { number: Some(7) }, branch("topic"))
        );
    }

    #[test]
    fn a_word_is_a_tag_if_it_is_known_as_one_or_is_a_version() {
        let tags = ["odd".to_owned()];
        assert_eq!(named("main", &tags), branch("main"));
        assert_eq!(named("odd", &tags), tag("odd"));
        assert_eq!(named("v1.2.3", &tags), tag("v1.2.3"));
        assert_eq!(named("refs/heads/v1.2.3", &tags), branch("v1.2.3"));
        assert_eq!(named("refs/tags/main", &tags), tag("main"));
    }
}
