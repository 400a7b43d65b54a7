//! What goes wrong with `COPY` and `ADD`.

use std::io;
use std::path::PathBuf;

use cairn_store::StoreError;

use crate::context::HiddenBy;

/// Why no selection could be made.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// Nothing lies at a path that is no wildcard.
    #[error("\"/{}\": not found{}", path.trim_start_matches('/'), hidden(hidden_by))]
    NotFound {
        /// The source as written, cleaned.
        path: String,
        /// Names nearby that look like it.
        near: Vec<String>,
        /// The line of the ignore file that hides it, if it is there.
        hidden_by: Option<HiddenBy>,
        /// The link on the way to it that leads to nothing in the source.
        dangling: Option<Box<DanglingLink>>,
    },
    /// A wildcard that means nothing.
    #[error("invalid pattern \"{pattern}\": {reason}")]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A chain of links without end.
    #[error("\"/{}\": too many levels of symbolic links", path.display())]
    LinkLoop {
        /// The source.
        path: PathBuf,
    },
    /// The run was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// Something cannot be read.
    #[error("cannot read \"/{}\"", path.display())]
    Read {
        /// What, in the source.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A symbolic link whose target is not in its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DanglingLink {
    /// Where it is.
    pub path: String,
    /// What it says.
    pub target: String,
}

fn hidden(by: &Option<HiddenBy>) -> String {
    match by {
        None => String::new(),
        Some(by) => format!(
            " (excluded by \"{}\" in {}:{})",
            by.pattern, by.file, by.line
        ),
    }
}

impl SelectError {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A directory would have to replace something else.
    #[error("cannot copy to non-directory: /{}", path.display())]
    NotADirectory {
        /// The destination.
        path: PathBuf,
    },
    /// A file would have to replace a directory.
    #[error("cannot replace directory /{} with file", path.display())]
    IsADirectory {
        /// The destination.
        path: PathBuf,
    },
    /// A file stands where a directory is needed on the way to the destination.
    #[error("/{}: not a directory", path.display())]
    FileInTheWay {
        /// The file.
        path: PathBuf,
    },
    /// A chain of links without end.
    #[error("/{}: too many levels of symbolic links", path.display())]
    LinkLoop {
        /// The destination.
        path: PathBuf,
    },
    /// A file of the context is not what it was when the key was made.
    #[error("`{}` of the context changed while the build was running", path.display())]
    Changed {
        /// The file, in the context.
        path: PathBuf,
    },
    /// A name that an image cannot hold.
    #[error(
        "\"{}\": names that begin with `.wh.` mean deletion in image layers and cannot be added",
        path.display()
    )]
    WhiteoutName {
        /// The name, in the source or archive.
        path: PathBuf,
    },
    /// An entry of an archive leads out of the destination.
    #[error("archive entry \"{}\" leads out of the destination", path.display())]
    Outside {
        /// The entry as it stands in the archive.
        path: PathBuf,
    },
    /// A hard link in an archive to something that is not there.
    #[error("archive entry \"{}\" links to \"{}\", which is not there", path.display(), target.display())]
    LinkTarget {
        /// The entry.
        path: PathBuf,
        /// What it links to.
        target: PathBuf,
    },
    /// An archive that breaks off or does not follow its format.
    #[error("cannot unpack \"{name}\"")]
    Archive {
        /// The archive.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The run was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A source cannot be read.
    #[error("cannot read \"/{}\"", path.display())]
    Read {
        /// What, in the source.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The destination cannot be written.
    #[error("cannot write /{}", path.display())]
    Write {
        /// What, in the image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CopyError {
    /// What the user can do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotADirectory { .. } | Self::FileInTheWay { .. } => {
                "There is a file of that name in the image: copy to another place, or remove the \
                 file in a step before."
            }
            Self::IsADirectory { .. } => {
                "There is a directory of that name in the image: copy to another place, or into it \
                 with a `/` at the end."
            }
            Self::Changed { .. } => {
                "Build again when nothing writes there; what is not to be copied belongs into \
                 `.dockerignore`."
            }
            _ => return None,
        })
    }

    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}
