//! What git knows of the directory a stack lives in: commit, branch, time, remote.
//!
//! Asked of the `git` program with plumbing commands whose output is stable. A directory without
//! a repository, and a machine without git, are no errors: there is just nothing to tell.

use std::path::Path;
use std::process::{Command, Stdio};

/// The commit a stack was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The full hash.
    pub hash: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
    /// The branch, unless the head is detached.
    pub branch: Option<String>,
    /// Where the repository was cloned from, without credentials; `None` for a folder.
    pub remote: Option<String>,
}

/// Looks up the commit of a directory.
pub fn commit(directory: &Path) -> Option<Commit> {
    // Two processes side by side: each costs some milliseconds of a run with nothing to do.
    std::thread::scope(|scope| {
        let remote = scope.spawn(|| git(directory, &["config", "--get", "remote.origin.url"]));
        let head = git(
            directory,
            &["log", "-1", "--decorate=full", "--format=%H %ct %D"],
        );
        let remote = remote
            .join()
            .ok()
            .flatten()
            .map(|url| without_credentials(url.trim()))
            .filter(|url| leads_away(url));
        parse_head(&head?, remote)
    })
}

/// Where the repository was cloned from as git has it, logins and all; `None` for a folder.
pub fn remote_with_login(directory: &Path) -> Option<String> {
    let url = git(directory, &["config", "--get", "remote.origin.url"])?;
    let url = url.trim().to_owned();
    leads_away(&without_credentials(&url)).then_some(url)
}

/// A branch or a tag of the repository, or a branch of one that it was cloned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name of the branch or the tag.
    pub name: String,
    /// Whether it is a tag.
    pub is_tag: bool,
    /// The commit.
    pub commit: String,
    /// When it was committed or tagged, in seconds since 1970.
    pub time: i64,
}

/// All branches and tags that the repository knows; `None` where there is no repository.
pub fn named(directory: &Path) -> Option<Vec<Named>> {
    let format = "--format=%(objectname) %(*objectname) %(creatordate:unix) %(refname)";
    let listed = git(
        directory,
        &[
            "for-each-ref",
            format,
            "refs/heads",
            "refs/remotes",
            "refs/tags",
        ],
    );
    Some(listed?.lines().filter_map(parse_named).collect())
}

/// Reads `HASH [HASH-OF-COMMIT] TIME REF`.
fn parse_named(line: &str) -> Option<Named> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [own, commit, time, reference] = parts[..] else {
        return None;
    };
    let (name, is_tag) = match reference.strip_prefix("refs/remotes/") {
        // `HEAD` of a remote is one of its branches.
        Some(rest) => (rest.split_once('/').filter(|it| it.1 != "HEAD")?.1, false),
        None => match reference.strip_prefix("refs/tags/") {
            Some(tag) => (tag, true),
            None => (reference.strip_prefix("refs/heads/")?, false),
        },
    };
    Some(Named {
        name: name.to_owned(),
        is_tag,
        // A tag with a message is an object of its own.
        commit: if commit.is_empty() { own } else { commit }.to_owned(),
        time: time.parse().unwrap_or(0),
    })
}

/// Whether a clone has a part of the history only, and so perhaps of the branches.
pub fn is_shallow(directory: &Path) -> bool {
    let told = git(directory, &["rev-parse", "--is-shallow-repository"]);
    told.is_some_and(|told| told.trim() == "true")
}

/// The names of all tags; none where there is no repository.
pub fn tags(directory: &Path) -> Vec<String> {
    lines(git(directory, &["tag", "--list"]))
}

/// The tags of the commit.
pub fn tags_here(directory: &Path) -> Vec<String> {
    lines(git(directory, &["tag", "--points-at", "HEAD"]))
}

/// The branch that the remote says is its default.
pub fn default_branch(directory: &Path) -> Option<String> {
    let head = git(
        directory,
        &[
            "symbolic-ref",
            "--quiet",
            "--short",
            "refs/remotes/origin/HEAD",
        ],
    )?;
    let branch = head.trim().strip_prefix("origin/")?;
    Some(branch.to_owned())
}

/// The full hash and the time of a commit.
pub fn resolve(directory: &Path, revision: &str) -> Option<(String, i64)> {
    // A revision that begins with a dash would be an option.
    let revision = format!("{revision}^{{commit}}");
    let shown = git(
        directory,
        &[
            "log",
            "-1",
            "--format=%H %ct",
            "--end-of-options",
            &revision,
        ],
    )?;
    let (hash, time) = shown.trim().split_once(' ')?;
    Some((hash.to_owned(), time.parse().ok()?))
}

/// The commit that both a revision and what is checked out come from.
pub fn merge_base(directory: &Path, revision: &str) -> Option<String> {
    let (commit, _) = resolve(directory, revision)?;
    let base = git(directory, &["merge-base", &commit, "HEAD"]);
    Some(base.map_or(commit, |base| base.trim().to_owned()))
}

/// The files below the directory that git knows and that are different from a commit, by their
/// paths from there; those that are not committed yet among them.
pub fn modified(directory: &Path, commit: &str) -> Vec<String> {
    let known = git(
        directory,
        &[
            "diff",
            "--name-only",
            "--no-renames",
            "--relative",
            "-z",
            commit,
            "--",
            ".",
        ],
    );
    files(&known.unwrap_or_default())
}

/// As [`modified`], with the files that git does not know yet.
pub fn changed(directory: &Path, commit: &str) -> Vec<String> {
    let unknown = git(
        directory,
        &[
            "ls-files",
            "--others",
            "--exclude-standard",
            "-z",
            "--",
            ".",
        ],
    );
    let mut all = modified(directory, commit);
    all.extend(files(&unknown.unwrap_or_default()));
    all.sort();
    all.dedup();
    all
}

/// What git lists with `-z`.
fn files(output: &str) -> Vec<String> {
    let files = output.split('\0').filter(|file| !file.is_empty());
    files.map(str::to_owned).collect()
}

/// The commits since another one, newest first: short hash and message.
pub fn messages(directory: &Path, commit: &str) -> Vec<(String, String)> {
    let range = format!("{commit}..HEAD");
    let log = git(directory, &["log", "-z", "--format=%h%n%B", &range]);
    let log = log.unwrap_or_default();
    let commits = log.split('\0').filter_map(|entry| entry.split_once('\n'));
    commits
        .map(|(hash, message)| (hash.to_owned(), message.to_owned()))
        .collect()
}

/// A file below the directory as it was at a commit.
pub fn show(directory: &Path, commit: &str, path: &str) -> Option<String> {
    git(directory, &["show", &format!("{commit}:./{path}")])
}

fn lines(output: Option<String>) -> Vec<String> {
    output
        .iter()
        .flat_map(|text| text.lines())
        .map(str::to_owned)
        .collect()
}

/// Reads `HASH TIME HEAD -> refs/heads/main, ...`.
fn parse_head(line: &str, remote: Option<String>) -> Option<Commit> {
    let mut parts = line.trim().splitn(3, ' ');
    let hash = parts.next()?.to_owned();
    let time = parts.next()?.parse().ok()?;
    let refs = parts.next().unwrap_or("");
    let branch = refs
        .split(", ")
        .find_map(|name| name.strip_prefix("HEAD -> refs/heads/"));
    Some(Commit {
        hash,
        time,
        branch: branch.map(str::to_owned),
        remote,
    })
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        // The stack's directory may belong to another user, as in a container or a CI job; only
        // its commit is read, none of its hooks or settings is run.
        .args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false"])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes `user:password@` from an address.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}/{path}")
}

/// Whether an address leads to more than a folder of this machine, whose path would tell images of
/// one commit apart and help nobody.
fn leads_away(url: &str) -> bool {
    !url.starts_with(['/', '.', '~']) && !url.starts_with("file:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_source() {
        for folder in ["/srv/lab.git", "../lab", "~/lab", "file:///srv/lab.git"] {
            assert!(!leads_away(folder), "{folder}");
        }
        for address in ["https://host/lab.git", "git@host:lab", "host:lab"] {
            assert!(leads_away(address), "{address}");
        }
    }

    #[test]
    fn credentials_never_leave() {
        assert_eq!(
            without_credentials("https://me:secret@host/a/b.git"),
            "https://host/a/b.git"
        );
        assert_eq!(without_credentials("git@host:a/b"), "git@host:a/b");
    }

    #[test]
    fn a_head_is_read_with_and_without_a_branch() {
        let commit = parse_head(
            "abc 17 HEAD -> refs/heads/topic/x, tag: refs/tags/v1\n",
            None,
        );
        let commit = commit.unwrap();
        assert_eq!(
            (commit.time, commit.branch.as_deref()),
            (17, Some("topic/x"))
        );
        assert_eq!(parse_head("abc 17 HEAD\n", None).unwrap().branch, None);
    }

    #[test]
    fn branches_are_those_of_remotes_too() {
        let named = |line: &str| parse_named(line).map(|it| (it.name, it.is_tag, it.commit));
        let found =
            |name: &str, is_tag, commit: &str| Some((name.to_owned(), is_tag, commit.to_owned()));
        assert_eq!(
            named("a  7 refs/heads/topic/x"),
            found("topic/x", false, "a")
        );
        assert_eq!(
            named("a  7 refs/remotes/origin/topic/x"),
            found("topic/x", false, "a")
        );
        assert_eq!(named("t a 7 refs/tags/v1"), found("v1", true, "a"));
        assert_eq!(named("a  7 refs/remotes/origin/HEAD"), None);
        assert_eq!(named("a  7 refs/stash"), None);
    }

    #[test]
    fn no_repository_is_no_commit() {
        assert_eq!(commit(Path::new("/proc")), None);
    }
}
