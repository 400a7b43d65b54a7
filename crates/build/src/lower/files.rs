//! `COPY` and `ADD`.

use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::ast::{Add, Copy, CopySource, FileArguments};
use cairn_dockerfile::chmod::Chmod;
use cairn_dockerfile::expand::Expander;

use super::dockerfile::FileLowering;
use super::stage::{Place, StageState};
use crate::graph::{ContextId, CopyOp, FileSource, Op, RemoteFile};

type Lowered = Result<(), Box<Diagnostic>>;

impl CopyOp {
    /// All files of a context at the root.
    pub(super) fn everything(context: ContextId) -> Self {
        Self {
            from: FileSource::Context(context),
            paths: vec!["/".to_owned()],
            inline: Vec::new(),
            remote: Vec::new(),
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
            Some(name) => {
                if name.value.contains('$') {
                    return Err(self.error(
                        "variable expansion is not supported for --from, define a new stage \
                         with FROM using ARG from global scope as a workaround",
                        name.span,
                    ));
                }
                self.file_source(name.as_str(), place.stage, name.span)?
            }
            None => FileSource::Context(self.recipe.context),
        };
        let mut op = self.files(state, &copy.files, from)?;
        op.parents = copy.parents;
        self.finish_files(state, place, op)
    }

    pub(super) fn add(&mut self, state: &mut StageState, place: &Place<'_>, add: &Add) -> Lowered {
        let context = FileSource::Context(self.recipe.context);
        let mut op = self.files(state, &add.files, context)?;
        op.add = true;
        op.unpack = add.unpack.unwrap_or(true);
        let checksum = match &add.checksum {
            Some(word) => Some(self.expand(state, word.as_str(), word.span)?),
            None => None,
        };
        let (remote, local): (Vec<_>, Vec<_>) = std::mem::take(&mut op.paths)
            .into_iter()
            .partition(|path| is_remote(path));
        if checksum.is_some() && remote.len() != 1 {
            let text = "checksum is specified for a local source";
            return Err(self.error(text, add.checksum.as_ref().map_or(place.span, |w| w.span)));
        }
        if let Some(git) = remote.iter().find(|address| is_git(address)) {
            return Err(self.error(
                format!("ADD of a git repository is not supported yet: `{git}`"),
                place.span,
            ));
        }
        if !remote.is_empty() && add.unpack == Some(true) {
            let text = "ADD --unpack of a remote file is not supported yet";
            return Err(self.error(text, place.span));
        }
        op.paths = local;
        op.remote = remote
            .into_iter()
            .map(|url| RemoteFile {
                url,
                checksum: checksum.clone(),
            })
            .collect();
        self.finish_files(state, place, op)
    }

    fn files(
        &self,
        state: &StageState,
        files: &FileArguments,
        from: FileSource,
    ) -> Result<CopyOp, Box<Diagnostic>> {
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
        let optional = |word: &Option<cairn_dockerfile::ast::Word>| match word {
            Some(word) => self.expand(state, word.as_str(), word.span).map(Some),
            None => Ok(None),
        };
        let mut exclude = Vec::new();
        for word in &files.excludes {
            exclude.push(self.expand(state, word.as_str(), word.span)?);
        }
        Ok(CopyOp {
            from,
            paths,
            inline,
            remote: Vec::new(),
            dest: absolute_dest(state.workdir(), &dest),
            chown: optional(&files.chown)?.filter(|owner| !owner.is_empty()),
            chmod: optional(&files.chmod)?.filter(|mode| !mode.is_empty()),
            link: files.link,
            parents: false,
            exclude,
            unpack: false,
            add: false,
        })
    }

    fn finish_files(&mut self, state: &mut StageState, place: &Place<'_>, op: CopyOp) -> Lowered {
        if let Some(mode) = &op.chmod {
            Chmod::parse(mode).map_err(|error| self.error(error.to_string(), place.span))?;
        }
        let many = op.paths.len() + op.inline.len() + op.remote.len() > 1;
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
        let created_by = format!("{} # buildkit", place.instruction.text);
        self.push(state, place, Op::Copy(Box::new(op)), created_by);
        Ok(())
    }
}

/// Whether an `ADD` source is fetched rather than copied.
fn is_remote(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://") || is_git(path)
}

/// Whether a source names a git repository, by the rules of `docker build` contexts.
fn is_git(path: &str) -> bool {
    if path.starts_with("git://") || path.starts_with("git@") || path.starts_with("ssh://") {
        return true;
    }
    let web = path.starts_with("http://") || path.starts_with("https://");
    web && path
        .split(['#', '?'])
        .next()
        .is_some_and(|address| address.ends_with(".git"))
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
    fn git_addresses_are_told_from_files() {
        assert!(is_git("https://host/a/b.git#main:dir"));
        assert!(is_git("git@host:a/b"));
        assert!(!is_git("https://host/a/b.tar.gz"));
        assert!(!is_remote("dir/file.git"));
    }
}
