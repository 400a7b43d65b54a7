//! `COPY` and `ADD`.

use cairn_diagnostic::{Diagnostic, Span};
use cairn_dockerfile::ast::{Add, Copy, CopySource, FileArguments};
use cairn_dockerfile::chmod::Chmod;
use cairn_dockerfile::expand::Expander;
use cairn_oci::{Digest, DigestError, redact};
use cairn_registry::git::GitAddress;

use super::dockerfile::FileLowering;
use super::stage::{Place, StageState};
use super::windows;
use crate::graph::{ContextId, CopyOp, FileSource, Op, RemoteFile, RepositorySource};

type Lowered = Result<(), Box<Diagnostic>>;

impl CopyOp {
    /// All files of a context at the root.
    pub(crate) fn everything(context: ContextId) -> Self {
        Self {
            from: FileSource::Context(context),
            paths: vec!["/".to_owned()],
            inline: Vec::new(),
            remote: Vec::new(),
            repositories: Vec::new(),
            dest: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: false,
            add: false,
        }
    }
}

impl FileLowering<'_, '_> {
    pub(super) fn copy(
        &mut self,
        state: &mut StageState,
        place: &Place<'_>,
        copy: &Copy,
    ) -> Lowered {
        let from = match &copy.from {
            Some(name) => self.file_source(name.as_str(), place.stage, name.span)?,
            None => FileSource::Context(self.recipe.context),
        };
        let (mut op, dest) = self.files(state, &copy.files, from)?;
        op.parents = copy.parents;
        let created_by = told("COPY", &op, &dest);
        for path in &op.paths {
            if matches!(GitAddress::parse(path), Err(_) | Ok(Some(_))) {
                return Err(self.error("source can't be a git ref for COPY", place.span));
            }
            if is_on_the_web(path) {
                return Err(self.error("source can't be a URL for COPY", place.span));
            }
        }
        self.finish_files(state, place, op, created_by)
    }

    pub(super) fn add(&mut self, state: &mut StageState, place: &Place<'_>, add: &Add) -> Lowered {
        let context = FileSource::Context(self.recipe.context);
        let (mut op, dest) = self.files(state, &add.files, context)?;
        let created_by = told("ADD", &op, &dest);
        op.add = true;
        op.unpack = add.unpack.unwrap_or(true);
        let checksum = match &add.checksum {
            Some(word) => Some(self.expand(state, word.as_str(), word.span)?),
            None => None,
        };
        let given = op.paths.len() + op.inline.len();
        for path in std::mem::take(&mut op.paths) {
            let error = |text: String| self.error(text, place.span);
            let address = GitAddress::parse(&path).map_err(|wrong| error(wrong.to_string()))?;
            if let Some(address) = address {
                let source = repository(address, add.keep_git_dir, checksum.as_deref());
                op.repositories.push(source.map_err(error)?);
            } else if is_on_the_web(&path) {
                op.remote.push(RemoteFile {
                    url: path,
                    checksum: match &checksum {
                        Some(text) => Some(checksum_digest(text).map_err(error)?),
                        None => None,
                    },
                    unpack: add.unpack == Some(true),
                });
            } else {
                op.paths.push(path);
            }
        }
        if let Some(word) = &add.checksum {
            if given != 1 {
                let text = "checksum can't be specified for multiple sources";
                return Err(self.error(text, word.span));
            }
            if op.remote.is_empty() && op.repositories.is_empty() {
                let text = "checksum requires HTTP(S) or Git sources";
                return Err(self.error(text, word.span));
            }
        }
        self.finish_files(state, place, op, created_by)
    }

    /// What is copied, and the destination as it was meant before it became absolute.
    fn files(
        &self,
        state: &StageState,
        files: &FileArguments,
        from: FileSource,
    ) -> Result<(CopyOp, String), Box<Diagnostic>> {
        let mut paths = Vec::new();
        let mut inline = Vec::new();
        for source in &files.sources {
            match source {
                CopySource::Path(word) => {
                    paths.push(self.expand(state, word.as_str(), word.span)?);
                }
                CopySource::Heredoc(heredoc) => {
                    let mut content = heredoc.text();
                    if heredoc.expand {
                        content = Expander::for_heredoc()
                            .word(&content, &state.env)
                            .map_err(|error| self.error(error.to_string(), heredoc.span))?
                            .text;
                    }
                    inline.push((heredoc.name.clone(), content));
                }
            }
        }
        let dest = self.expand(state, files.dest.as_str(), files.dest.span)?;
        let plain = self.plain(state, dest.clone(), files.dest.span)?;
        let optional = |word: &Option<cairn_dockerfile::ast::Word>| match word {
            Some(word) => self.expand(state, word.as_str(), word.span).map(Some),
            None => Ok(None),
        };
        let mut exclude = Vec::new();
        for word in &files.excludes {
            exclude.push(self.expand(state, word.as_str(), word.span)?);
        }
        let op = CopyOp {
            from,
            paths,
            inline,
            remote: Vec::new(),
            repositories: Vec::new(),
            dest: absolute_dest(&state.workdir(), &plain),
            chown: optional(&files.chown)?.filter(|owner| !owner.is_empty()),
            chmod: optional(&files.chmod)?.filter(|mode| !mode.is_empty()),
            link: files.link,
            parents: false,
            exclude,
            unpack: false,
            add: false,
        };
        Ok((op, dest))
    }

    /// The path as layers have it, whatever system the image is for.
    pub(super) fn plain(
        &self,
        state: &StageState,
        path: String,
        span: Span,
    ) -> Result<String, Box<Diagnostic>> {
        match state.is_windows() {
            true => windows::plain(&path).map_err(|error| self.error(error.to_string(), span)),
            false => Ok(path),
        }
    }

    fn finish_files(
        &mut self,
        state: &mut StageState,
        place: &Place<'_>,
        mut op: CopyOp,
        created_by: String,
    ) -> Lowered {
        for path in &mut op.paths {
            *path = self.plain(state, std::mem::take(path), place.span)?;
        }
        if let Some(mode) = &op.chmod {
            Chmod::parse(mode).map_err(|error| self.error(error.to_string(), place.span))?;
        }
        let many = op.paths.len() + op.inline.len() + op.remote.len() + op.repositories.len() > 1;
        if many && !op.dest.ends_with('/') {
            let name = if op.add { "ADD" } else { "COPY" };
            return Err(self.error(
                format!(
                    "When using {name} with more than one source file, the destination must be a \
                     directory and end with a /"
                ),
                place.span,
            ));
        }
        self.push(state, place, Op::Copy(Box::new(op)), created_by);
        Ok(())
    }
}

/// The entry of the history, as BuildKit writes it: with the values of variables, of the flags
/// only those that files show, and no login of an address.
fn told(name: &str, op: &CopyOp, dest: &str) -> String {
    let mut words = vec![name.to_owned()];
    if op.parents {
        words.push("--parents".to_owned());
    }
    let flag = |flag: &str, value: &Option<String>| {
        let value = value.as_ref()?;
        Some(format!("--{flag}={value}"))
    };
    words.extend(flag("chown", &op.chown));
    words.extend(flag("chmod", &op.chmod));
    words.extend(op.paths.iter().map(|path| match path.contains("://") {
        true => redact(path),
        false => path.clone(),
    }));
    words.extend(op.inline.iter().map(|(name, _)| format!("<<{name}")));
    words.push(dest.to_owned());
    format!("{} # buildkit", words.join(" "))
}

/// A repository as `ADD` takes it: flags and address must not say different things.
fn repository(
    mut address: GitAddress,
    keep_git_dir: Option<bool>,
    checksum: Option<&str>,
) -> Result<RepositorySource, String> {
    if let (Some(flag), Some(query)) = (keep_git_dir, address.keep_git_dir)
        && flag != query
    {
        return Err("inconsistent keep-git-dir configuration".to_owned());
    }
    match (checksum, &address.checksum) {
        (Some(flag), Some(query)) if flag != query => {
            return Err(format!("checksum mismatch \"{flag}\" != \"{query}\""));
        }
        (Some(flag), _) => address.checksum = Some(flag.to_owned()),
        (None, _) => {}
    }
    if let Some(checksum) = &address.checksum
        && !checksum.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Err(format!(
            "invalid checksum \"{checksum}\" for a git source, expected hex commit hash"
        ));
    }
    Ok(RepositorySource {
        keep_git_dir: keep_git_dir.or(address.keep_git_dir).unwrap_or(false),
        address,
    })
}

/// Reads the `--checksum` of a file.
fn checksum_digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|wrong| match wrong {
        DigestError::Algorithm(_) => format!("checksum `{text}`: {wrong}"),
        DigestError::NoAlgorithm(_) | DigestError::Hex { .. } => {
            format!("invalid checksum digest format: {wrong}")
        }
    })
}

/// Whether a source is a file on a web server.
fn is_on_the_web(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Makes a path absolute and clean: no `.`, `..` or double slashes, no slash at the end.
pub(super) fn absolute(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { dir };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// As [`absolute`], but a slash or a dot at the end keeps meaning "a directory".
fn absolute_dest(dir: &str, path: &str) -> String {
    let mut absolute = absolute(dir, path);
    let directory = path.is_empty() || path.ends_with('/') || path == "." || path.ends_with("/.");
    if directory && !absolute.ends_with('/') {
        absolute.push('/');
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_clean() {
        assert_eq!(absolute("/a/b", "c/../d"), "/a/b/d");
        assert_eq!(absolute("/a", "/x//y/"), "/x/y");
        assert_eq!(absolute("/a", "../../.."), "/");
        assert_eq!(absolute_dest("/w", "."), "/w/");
        assert_eq!(absolute_dest("/", "dir/"), "/dir/");
        assert_eq!(absolute_dest("/", "/"), "/");
        assert_eq!(absolute_dest("/w", "file"), "/w/file");
    }

    #[test]
    fn the_history_has_what_was_meant() {
        let op = CopyOp {
            paths: vec!["a*".into(), "https://me:pass@host/b".into()],
            inline: vec![("EOF".into(), "text".into())],
            chown: Some("1:2".into()),
            chmod: Some("0644".into()),
            link: true,
            ..CopyOp::everything(ContextId(0))
        };
        assert_eq!(
            told("ADD", &op, "./"),
            "ADD --chown=1:2 --chmod=0644 a* https://xxxxx:xxxxx@host/b <<EOF ./ # buildkit"
        );
        let op = CopyOp {
            parents: true,
            ..CopyOp::everything(ContextId(0))
        };
        assert_eq!(told("COPY", &op, ""), "COPY --parents /  # buildkit");
    }

    #[test]
    fn a_checksum_says_what_is_wrong_with_it() {
        let wrong = |text: &str| checksum_digest(text).unwrap_err();
        let md5 = "md5:7e55db001d319a94b0b713529a756623";
        assert!(wrong(md5).contains("unsupported digest algorithm"));
        for text in ["abcd", "sha256:12"] {
            assert!(wrong(text).starts_with("invalid checksum digest format"));
        }
        assert!(checksum_digest(Digest::sha256(b"").as_str()).is_ok());
    }

    #[test]
    fn flags_and_address_of_a_repository_agree() {
        let address = |text: &str| GitAddress::parse(text).unwrap().unwrap();
        let plain = || address("https://host/a.git#v1");
        let kept = address("https://host/a.git?keep-git-dir=1");
        assert!(!repository(plain(), None, None).unwrap().keep_git_dir);
        assert!(repository(plain(), Some(true), None).unwrap().keep_git_dir);
        assert!(repository(kept.clone(), None, None).unwrap().keep_git_dir);
        assert!(repository(kept, Some(false), None).is_err());
        let known = address("https://host/a.git?commit=abcd");
        assert!(repository(known.clone(), None, Some("abce")).is_err());
        assert!(
            repository(plain(), None, Some("foobar"))
                .unwrap_err()
                .contains("hex commit hash")
        );
        let one = repository(plain(), None, Some("abcd")).unwrap();
        assert_eq!(one.address.checksum, known.checksum);
    }
}
