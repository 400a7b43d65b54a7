//! Addresses of git repositories, as Dockerfiles and command lines write them.
//!
//! ```text
//! https://host/path.git[?query][#ref[:subdir]]    ssh://..., git://...
//! user@host:path[?query][#ref[:subdir]]
//! query: ref= branch= tag= subdir= commit=|checksum= keep-git-dir[=] submodules[=]
//!        fetch-by-commit[=] mtime=commit|checkout
//! ```
//!
//! `mtime` changes nothing: the time of a checkout enters no image here.

/// A repository, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitAddress {
    /// What `git` is given.
    pub remote: String,
    /// A branch, a tag or a commit; the remote's default branch if there is none.
    pub reference: Option<String>,
    /// The directory in it.
    pub subdir: Option<String>,
    /// The commit, or its beginning, that it must be.
    pub checksum: Option<String>,
    /// Whether `.git` is kept, where the address says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are left out.
    pub skip_submodules: bool,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A query that means nothing here.
    #[error(
        "unexpected query \"{0}\" (known: ref, branch, tag, subdir, commit, checksum, keep-git-dir, \
         submodules, fetch-by-commit, mtime)"
    )]
    UnknownQuery(String),
    /// A query without its value.
    #[error("query \"{0}\" has no value")]
    NoValue(String),
    /// A query with several values.
    #[error("query \"{0}\" has multiple values")]
    Repeated(String),
    /// A query whose value is neither yes nor no.
    #[error("invalid {name} value: \"{value}\"")]
    NotBoolean {
        /// The query's name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A time of files that is none.
    #[error("invalid mtime value: \"{0}\" (known: commit, checkout)")]
    BadTime(String),
    /// A commit that is to be fetched and is not named whole.
    #[error("fetch-by-commit needs the whole hash of the commit in `commit` or `checksum`")]
    NoWholeCommit,
    /// Two parts that say different things.
    #[error("{what} conflicts: \"{one}\" vs \"{other}\"")]
    Conflict {
        /// What they speak of.
        what: &'static str,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// A branch and a tag.
    #[error("branch conflicts with tag")]
    BranchAndTag,
    /// A reference that `git` would take for an option.
    #[error("invalid reference \"{0}\"")]
    BadReference(String),
}

impl GitAddress {
    /// Reads an address; `None` if the text is something else: a path, a file on a web server.
    pub fn parse(text: &str) -> Result<Option<Self>, AddressError> {
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (remote, query) = match rest.split_once('?') {
            Some((remote, query)) => (remote, Some(query)),
            None => (rest, None),
        };
        if !is_git(remote) {
            return Ok(None);
        }
        let mut address = Self {
            remote: remote.to_owned(),
            reference: None,
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            skip_submodules: false,
        };
        if let Some(fragment) = fragment {
            let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
            address.reference = non_empty(reference);
            address.subdir = non_empty(subdir);
        }
        if let Some(query) = query {
            address.query(query)?;
        }
        match &address.reference {
            Some(reference) if reference.starts_with('-') => {
                Err(AddressError::BadReference(reference.clone()))
            }
            _ => Ok(Some(address)),
        }
    }

    /// Reads an address of a build context: `github.com/user/repository` is one there.
    pub fn parse_context(text: &str) -> Result<Option<Self>, AddressError> {
        match text.strip_prefix("github.com/") {
            Some(path) => {
                let (path, rest) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
                let suffix = if path.ends_with(".git") { "" } else { ".git" };
                Self::parse(&format!("https://github.com/{path}{suffix}{rest}"))
            }
            None => Self::parse(text),
        }
    }

    fn query(&mut self, query: &str) -> Result<(), AddressError> {
        let (mut branch, mut tag) = (None, None);
        let mut fetches_commit = false;
        let mut seen: Vec<String> = Vec::new();
        for field in query.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let (name, value) = (decoded(name), decoded(value));
            if seen.contains(&name) {
                return Err(AddressError::Repeated(name));
            }
            seen.push(name.clone());
            match name.as_str() {
                "keep-git-dir" => self.keep_git_dir = Some(boolean(&name, &value)?),
                "submodules" => self.skip_submodules = !boolean(&name, &value)?,
                "fetch-by-commit" => fetches_commit = boolean(&name, &value)?,
                "ref" | "subdir" | "branch" | "tag" | "commit" | "checksum" | "mtime"
                    if value.is_empty() =>
                {
                    return Err(AddressError::NoValue(name));
                }
                "mtime" if !matches!(value.as_str(), "commit" | "checkout") => {
                    return Err(AddressError::BadTime(value));
                }
                "mtime" => {}
                "ref" => agree("ref", &mut self.reference, value)?,
                "subdir" => agree("subdir", &mut self.subdir, value)?,
                "branch" => branch = Some(prefixed("refs/heads/", &value)),
                "tag" => tag = Some(prefixed("refs/tags/", &value)),
                "commit" | "checksum" => agree("checksum", &mut self.checksum, value)?,
                _ => return Err(AddressError::UnknownQuery(name)),
            }
        }
        if branch.is_some() && tag.is_some() {
            return Err(AddressError::BranchAndTag);
        }
        if let Some(full) = branch.or(tag) {
            agree("ref", &mut self.reference, full)?;
        }
        if fetches_commit {
            // Whatever the reference means by now.
            self.reference = None;
            let is_whole = |commit: &String| matches!(commit.len(), 40 | 64);
            if !self.checksum.as_ref().is_some_and(is_whole) {
                return Err(AddressError::NoWholeCommit);
            }
        }
        Ok(())
    }
}

/// Whether what comes before query and fragment names a repository.
fn is_git(remote: &str) -> bool {
    match remote.split_once("://") {
        Some(("http" | "https", rest)) => rest
            .split_once('/')
            .is_some_and(|(_, path)| path.ends_with(".git")),
        Some(("git" | "ssh", rest)) => !rest.is_empty(),
        Some(_) => false,
        None => is_scp_style(remote),
    }
}

/// `user@host:path`, as ssh's copy program writes it.
fn is_scp_style(remote: &str) -> bool {
    let Some((user, rest)) = remote.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    let is_name = |text: &str, more: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    is_name(user, "-_") && is_name(host, "-.") && !path.is_empty()
}

fn agree(
    what: &'static str,
    known: &mut Option<String>,
    value: String,
) -> Result<(), AddressError> {
    match known {
        Some(one) if *one != value => Err(AddressError::Conflict {
            what,
            one: one.clone(),
            other: value,
        }),
        _ => {
            *known = Some(value);
            Ok(())
        }
    }
}

fn prefixed(prefix: &str, name: &str) -> String {
    match name.starts_with(prefix) {
        true => name.to_owned(),
        false => format!("{prefix}{name}"),
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn boolean(name: &str, value: &str) -> Result<bool, AddressError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(AddressError::NotBoolean {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// Replaces `+` and `%xx` of a query.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()];
                let number = digits.iter().try_fold(0, |number: u8, digit| {
                    let digit = char::from((*digit)?).to_digit(16)?;
                    Some(number << 4 | u8::try_from(digit).ok()?)
                });
                bytes.push(number.unwrap_or(b'%'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> GitAddress {
        GitAddress::parse(text).unwrap().unwrap()
    }

    fn error(text: &str) -> String {
        GitAddress::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn repositories_are_told_from_files() {
        for git in [
            "https://host/a/b.git#main:dir",
            "http://127.0.0.1:1/.git",
            "git://host/a",
            "ssh://git@host/a",
            "git@host:a/b",
        ] {
            assert!(GitAddress::parse(git).unwrap().is_some(), "{git}");
        }
        for other in [
            "https://host/a/b.tar.gz",
            "https://host.git",
            "dir/file.git",
            "./git@host:a",
            "ftp://host/a.git",
            "file:///a.git",
            "https://host/x?y=.git",
        ] {
            assert_eq!(GitAddress::parse(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn fragments_and_queries_say_what_is_meant() {
        let old = address("https://h/a.git#v1:sub/dir");
        assert_eq!(old.remote, "https://h/a.git");
        assert_eq!(old.reference.as_deref(), Some("v1"));
        assert_eq!(old.subdir.as_deref(), Some("sub/dir"));
        let only_subdir = address("https://h/a.git#:sub");
        assert_eq!(
            (only_subdir.reference, only_subdir.subdir),
            (None, Some("sub".into()))
        );
        let new = address("https://h/a.git?branch=x%2Fy&subdir=sub&commit=abc&submodules=0");
        assert_eq!(new.reference.as_deref(), Some("refs/heads/x/y"));
        assert_eq!(new.checksum.as_deref(), Some("abc"));
        assert!(new.skip_submodules && new.keep_git_dir.is_none());
        assert_eq!(address("git@h:a?keep-git-dir").keep_git_dir, Some(true));
        let both = address("https://h/a.git?tag=v1#refs/tags/v1");
        assert_eq!(both.reference.as_deref(), Some("refs/tags/v1"));
        let commit = "a".repeat(40);
        let by_commit = format!("https://h/a.git?ref=main&commit={commit}&fetch-by-commit=true");
        let by_commit = address(&format!("{by_commit}&mtime=commit"));
        assert_eq!(by_commit.reference, None);
        assert_eq!(by_commit.checksum, Some(commit));
    }

    #[test]
    fn contradictions_and_strangers_are_refused() {
        assert!(error("https://h/a.git?tag=v1#refs/heads/m").contains("ref conflicts"));
        assert!(error("https://h/a.git?tag=v1&branch=m").contains("branch conflicts"));
        assert!(error("https://h/a.git?depth=1").contains("unexpected query"));
        assert!(error("https://h/a.git?mtime=now").contains("invalid mtime value"));
        assert!(error("https://h/a.git?commit=abc&fetch-by-commit").contains("whole hash"));
        assert!(error("https://h/a.git?ref=").contains("no value"));
        assert!(error("https://h/a.git?ref=a&ref=b").contains("multiple values"));
        assert!(error("https://h/a.git?submodules=maybe").contains("invalid submodules"));
        assert!(error("https://h/a.git#--upload-pack=x").contains("invalid reference"));
    }

    #[test]
    fn a_context_may_leave_out_the_scheme() {
        let context = GitAddress::parse_context("github.com/a/b#main")
            .unwrap()
            .unwrap();
        assert_eq!(context.remote, "https://github.com/a/b.git");
        assert_eq!(context.reference.as_deref(), Some("main"));
        assert_eq!(GitAddress::parse("github.com/a/b"), Ok(None));
    }
}
