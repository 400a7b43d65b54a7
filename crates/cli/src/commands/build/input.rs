//! What a build of a lone Dockerfile is given: its context, and the Dockerfile.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use cairn_stack::contexts::{is_remote, looks_like_archive};
use cairn_stack::single::{ContextSource, DockerfileSource};
use tempfile::NamedTempFile;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Context and Dockerfile; what came by standard input lies in a file for the while.
pub struct Input {
    /// Where the files are.
    pub context: ContextSource,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// Removed with this value.
    spooled: Vec<NamedTempFile>,
}

impl Input {
    /// Finds out what the arguments mean, and keeps what is piped in.
    pub fn new(context: &str, files: &[PathBuf], session: &Session) -> Result<Self, CommandError> {
        if files.len() > 1 {
            return Self::joined(context, files, session);
        }
        let file = files.first().map(PathBuf::as_path);
        let file_is_stdin = file == Some(Path::new("-"));
        if context == "-" && file_is_stdin {
            return Err(CommandError::usage(
                "standard input cannot be both the context and the Dockerfile",
            ));
        }
        let named = match file {
            Some(path) => DockerfileSource::Named(path.to_owned()),
            None => DockerfileSource::Default,
        };
        let is_pipe = |path: &Path| {
            let found = path.metadata();
            found.is_ok_and(|found| found.file_type().is_fifo())
        };
        if context == "-" {
            let (spooled, is_archive) = spool(io::stdin().lock(), session)?;
            let path = spooled.path().to_owned();
            let (context, dockerfile) = match is_archive {
                true => (ContextSource::Archive(path), named),
                false => (ContextSource::Empty, DockerfileSource::File(path)),
            };
            return Ok(Self {
                context,
                dockerfile,
                spooled: vec![spooled],
            });
        }
        let context = match is_remote(context) {
            true => ContextSource::Remote(context.to_owned()),
            false => ContextSource::Directory(context.into()),
        };
        let text: Option<Box<dyn io::Read>> = match file {
            Some(_) if file_is_stdin => Some(Box::new(io::stdin().lock())),
            // A shell's `<(...)`: it can be read once.
            Some(path) if is_pipe(path) => Some(Box::new(File::open(path).map_err(unkept)?)),
            _ => None,
        };
        let spooled = text.map(|text| spool(text, session)).transpose()?;
        let (dockerfile, spooled) = match spooled {
            Some((spooled, _)) => (
                DockerfileSource::File(spooled.path().to_owned()),
                Some(spooled),
            ),
            None => (named, None),
        };
        Ok(Self {
            context,
            dockerfile,
            spooled: spooled.into_iter().collect(),
        })
    }

    /// Reads several Dockerfiles as one, in their order, as Buildah and podman do. Docker would read
    /// the last alone, whose last stage is the image either way.
    fn joined(context: &str, files: &[PathBuf], session: &Session) -> Result<Self, CommandError> {
        let pipes = files.iter().filter(|path| *path == Path::new("-")).count();
        if pipes + usize::from(context == "-") > 1 {
            return Err(CommandError::usage("standard input can be read once"));
        }
        let read = |path: &PathBuf| {
            if path == Path::new("-") {
                return io::read_to_string(io::stdin().lock()).map_err(unkept);
            }
            // As one alone: from the working directory, or else from the context.
            let inside = Path::new(context).join(path);
            let place = match path.exists() || is_remote(context) || !inside.exists() {
                true => path,
                false => &inside,
            };
            std::fs::read_to_string(place).map_err(|error| {
                CommandError::from_error(Kind::Usage, &error)
                    .while_doing(format!("cannot read the Dockerfile {}", path.display()))
            })
        };
        let texts = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let (spooled, _) = spool(texts.join("\n").as_bytes(), session)?;
        session
            .printer
            .note("several files are read as one Dockerfile, one after the other");
        let inner = Self::new(context, &[], session)?;
        if matches!(inner.dockerfile, DockerfileSource::File(_)) {
            return Err(
                CommandError::usage("what is piped in is a Dockerfile of its own")
                    .hint("name it among the others: `-f -`"),
            );
        }
        let dockerfile = DockerfileSource::File(spooled.path().to_owned());
        let mut kept = inner.spooled;
        kept.push(spooled);
        Ok(Self {
            dockerfile,
            context: inner.context,
            spooled: kept,
        })
    }
}

/// Writes what is piped in to a file; tells whether it looks like an archive: a Dockerfile is text.
fn spool(
    mut text: impl io::Read,
    session: &Session,
) -> Result<(NamedTempFile, bool), CommandError> {
    let directory = session.settings.temporary_dir();
    let mut file = NamedTempFile::new_in(directory).map_err(unkept)?;
    io::copy(&mut text, &mut file).map_err(unkept)?;
    file.flush().map_err(unkept)?;
    let is_archive = looks_like_archive(file.path())?;
    Ok((file, is_archive))
}

fn unkept(error: io::Error) -> CommandError {
    CommandError::from_error(Kind::Environment, &error).while_doing("cannot keep what is piped in")
}
