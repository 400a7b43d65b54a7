//! What a build of a lone Dockerfile is given: its context, and the Dockerfile.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

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
    _spooled: Option<NamedTempFile>,
}

impl Input {
    /// Finds out what the arguments mean, and keeps what is piped in.
    pub fn new(
        context: &str,
        file: Option<&Path>,
        session: &Session,
    ) -> Result<Self, CommandError> {
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
                _spooled: Some(spooled),
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
            _spooled: spooled,
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
