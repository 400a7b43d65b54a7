//! One repository: which commit a reference means, and that commit's files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::program::{GitError, Program};
use super::remote::Remote;
use crate::logins::Logins;

/// Hex digits of a whole SHA-1 hash.
const SHA1_DIGITS: usize = 40;
/// Hex digits of a whole SHA-256 hash.
const SHA256_DIGITS: usize = 64;

/// A remote repository.
pub struct Repository<'a> {
    program: Program<'a>,
}

/// What is laid out of a commit.
#[derive(Debug, Clone, Copy)]
pub struct Checkout<'a> {
    /// The commit: a full hash, or the beginning of one.
    pub commit: &'a str,
    /// The reference it was found by, if one was given; the commit must lie behind it.
    pub reference: Option<&'a str>,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// Whether submodules are left out.
    pub skip_submodules: bool,
}

/// A commit that was laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its full hash.
    pub hash: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
}

impl<'a> Repository<'a> {
    /// A repository by its address. `go_on` is asked, again and again, whether to go on.
    pub fn new(remote: &str, go_on: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            program: Program {
                remote: Remote::new(remote),
                go_on,
            },
        }
    }

    /// The repository, asked for with the login of its host, if there is one.
    #[must_use]
    pub fn with_logins(mut self, logins: &Logins) -> Self {
        self.program.remote.header = logins.of_repository(&self.program.remote.address);
        self
    }

    /// The repository, unless nothing may be fetched and it is not on this machine.
    pub fn allowed(self, is_offline: bool) -> Result<Self, GitError> {
        let address = &self.program.remote.address;
        let is_here = address.starts_with('/') || address.starts_with("file://");
        match is_offline && !is_here {
            true => Err(GitError::Offline {
                remote: self.program.remote.shown,
            }),
            false => Ok(self),
        }
    }

    /// Finds the commit that a reference means and compares it with a checksum.
    ///
    /// A checksum without a reference, or one that is the reference, needs no question to the
    /// remote; of a shortened one the whole is known only after fetching.
    pub fn resolve(
        &self,
        reference: Option<&str>,
        checksum: Option<&str>,
    ) -> Result<String, GitError> {
        if let Some(checksum) = checksum {
            // Any beginning will do to compare with; git finds nothing by less than four digits.
            let is_alone = reference.is_none_or(|reference| reference == checksum);
            let digits_min = if is_alone { 4 } else { 1 };
            if !is_hex(checksum) || !(digits_min..=SHA256_DIGITS).contains(&checksum.len()) {
                return Err(GitError::BadChecksum(checksum.to_owned()));
            }
            if is_alone {
                return Ok(checksum.to_owned());
            }
        }
        let found = match reference {
            Some(commit) if is_commit(commit) => Found::only(commit),
            _ => self.ask(reference)?,
        };
        if let Some(expected) = checksum
            && !found.is(expected)
        {
            return Err(GitError::Checksum {
                expected: expected.to_owned(),
                found: found.commit,
            });
        }
        Ok(found.commit)
    }

    fn ask(&self, reference: Option<&str>) -> Result<Found, GitError> {
        let remote = &self.program.remote;
        let arguments = ["ls-remote", "--", &remote.address];
        let listed = self.program.run("ls-remote", None, &arguments)?;
        let wanted = reference.unwrap_or("HEAD");
        find(&listed, wanted).ok_or_else(|| self.missing(wanted))
    }

    fn missing(&self, reference: &str) -> GitError {
        GitError::NoReference {
            reference: reference.to_owned(),
            remote: self.program.remote.shown.clone(),
        }
    }

    /// Lays a commit's files out in an empty directory. Modes are git's: executable or not,
    /// whatever the caller's umask.
    pub fn check_out(&self, checkout: &Checkout<'_>, into: &Path) -> Result<Commit, GitError> {
        let remote = &self.program.remote.address;
        let run = |action, arguments: &[&str]| self.program.run(action, Some(into), arguments);
        // A repository has hashes of one kind; what is fetched must be of the same.
        let kind = match checkout.commit.len() {
            SHA256_DIGITS => "--object-format=sha256",
            _ => "--object-format=sha1",
        };
        run("init", &["init", "--quiet", kind])?;
        run("remote", &["remote", "add", "origin", remote])?;
        let commit = self.fetch(checkout, into)?;
        run("checkout", &["checkout", "--quiet", "--force", &commit])?;
        let time = run("log", &["log", "-1", "--format=%ct"])?;
        if !checkout.skip_submodules && into.join(".gitmodules").exists() {
            let update = ["submodule", "update", "--quiet", "--init", "--recursive"];
            run("submodule update", &update)?;
        }
        if !checkout.keep_git_dir {
            remove_git(into)?;
        }
        set_modes(into)?;
        Ok(Commit {
            hash: commit,
            time: time.trim().parse().unwrap_or(0),
        })
    }

    /// Gets the commit alone, or all of the repository from servers that give no part.
    fn fetch(&self, checkout: &Checkout<'_>, into: &Path) -> Result<String, GitError> {
        let run = |action, arguments: &[&str]| self.program.run(action, Some(into), arguments);
        let wanted = checkout.commit;
        if is_commit(wanted) {
            let alone = [
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                "origin",
                wanted,
            ];
            match run("fetch", &alone) {
                Ok(_) => return Ok(wanted.to_owned()),
                Err(GitError::Failed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let everything = [
            "fetch",
            "--quiet",
            "--force",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        ];
        run("fetch", &everything)?;
        let verified = |name: &str| {
            let verify = ["rev-parse", "--quiet", "--verify", name];
            match run("rev-parse", &verify) {
                Ok(hash) => Ok(hash.trim().to_owned()),
                Err(GitError::Failed { .. }) => {
                    Err(self.missing(checkout.reference.unwrap_or(wanted)))
                }
                Err(error) => Err(error),
            }
        };
        let object = verified(wanted)?;
        // A branch or tag may be called like the beginning of a hash, and then wins.
        if !object.starts_with(&wanted.to_ascii_lowercase()) {
            return Err(GitError::Checksum {
                expected: wanted.to_owned(),
                found: object,
            });
        }
        verified(&format!("{object}^{{commit}}"))
    }
}

/// What a reference leads to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    commit: String,
    /// The tag object on the way, for tags that are objects.
    tag: Option<String>,
}

impl Found {
    fn only(commit: &str) -> Self {
        Self {
            commit: commit.to_owned(),
            tag: None,
        }
    }

    fn is(&self, checksum: &str) -> bool {
        let begins = |hash: &String| hash.starts_with(&checksum.to_ascii_lowercase());
        begins(&self.commit) || self.tag.as_ref().is_some_and(begins)
    }
}

/// Finds a reference in what `ls-remote` lists: the full name first, then a branch, then a tag.
fn find(listed: &str, wanted: &str) -> Option<Found> {
    let hash_of = |name: &str| {
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        let mut lines = lines.filter(|(_, known)| *known == name);
        lines.next().map(|(hash, _)| hash.to_owned())
    };
    [
        wanted.to_owned(),
        format!("refs/heads/{wanted}"),
        format!("refs/tags/{wanted}"),
        format!("refs/{wanted}"),
    ]
    .into_iter()
    .find_map(|name| {
        let direct = hash_of(&name)?;
        Some(match hash_of(&format!("{name}^{{}}")) {
            Some(commit) => Found {
                commit,
                tag: Some(direct),
            },
            None => Found::only(&direct),
        })
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a text is a whole commit hash: SHA-1 or SHA-256.
fn is_commit(text: &str) -> bool {
    is_hex(text) && matches!(text.len(), SHA1_DIGITS | SHA256_DIGITS)
}

/// Removes `.git` of the repository and of its submodules.
fn remove_git(directory: &Path) -> Result<(), GitError> {
    for entry in list(directory)? {
        let path = entry.path();
        let kind = entry.file_type().map_err(io("read", &path))?;
        if entry.file_name() == ".git" {
            let removed = match kind.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.map_err(io("remove", &path))?;
        } else if kind.is_dir() {
            remove_git(&path)?;
        }
    }
    Ok(())
}

/// Gives everything the modes that git knows.
fn set_modes(directory: &Path) -> Result<(), GitError> {
    for entry in list(directory)? {
        let path = entry.path();
        let metadata = entry.metadata().map_err(io("read", &path))?;
        if metadata.is_symlink() {
            continue;
        }
        let is_plain = metadata.is_file() && metadata.permissions().mode() & 0o100 == 0;
        let mode = if is_plain { 0o644 } else { 0o755 };
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(&path, permissions).map_err(io("set the mode of", &path))?;
        if metadata.is_dir() {
            set_modes(&path)?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<fs::DirEntry>, GitError> {
    fs::read_dir(directory)
        .and_then(Iterator::collect)
        .map_err(io("read", directory))
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::Io {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
aaaa\tHEAD
aaaa\trefs/heads/main
bbbb\trefs/heads/v1
cccc\trefs/tags/v1
dddd\trefs/tags/v2
eeee\trefs/tags/v2^{}
";

    #[test]
    fn branches_win_over_tags_and_tags_are_followed_to_commits() {
        let commit = |name: &str| find(LISTED, name).map(|found| found.commit);
        assert_eq!(commit("HEAD").as_deref(), Some("aaaa"));
        assert_eq!(commit("v1").as_deref(), Some("bbbb"));
        assert_eq!(commit("refs/tags/v1").as_deref(), Some("cccc"));
        assert_eq!(commit("tags/v1").as_deref(), Some("cccc"));
        assert_eq!(commit("v2").as_deref(), Some("eeee"));
        assert_eq!(commit("v3"), None);
        let annotated = find(LISTED, "v2").unwrap();
        assert!(annotated.is("dd") && annotated.is("EE") && !annotated.is("a"));
    }

    #[test]
    fn a_checksum_alone_asks_nobody() {
        let repository = Repository::new("https://host.invalid/a.git", &|| true);
        assert_eq!(
            repository.resolve(None, Some("abcd1234")).unwrap(),
            "abcd1234"
        );
        let wrong = repository.resolve(None, Some("foobar")).unwrap_err();
        assert!(wrong.to_string().contains("expected hex commit hash"));
        assert!(repository.resolve(None, Some("abc")).is_err(), "too short");
    }

    #[test]
    fn any_beginning_of_a_commit_is_its_checksum() {
        let repository = Repository::new("https://host.invalid/a.git", &|| true);
        let commit = "a".repeat(SHA1_DIGITS);
        assert_eq!(
            repository.resolve(Some(&commit), Some("A")).unwrap(),
            commit
        );
        assert!(repository.resolve(Some(&commit), Some("b")).is_err());
    }
}
