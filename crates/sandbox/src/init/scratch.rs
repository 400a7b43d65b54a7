//! The sandbox's own file system in memory: whatever has to exist besides the image.
//!
//! It is mounted over the caller's scratch directory in the sandbox's mount namespace only and
//! goes away with it, so there is nothing to clean up and nothing for two sandboxes to share.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::error::{At, Failure, Step};
use crate::mount::{attach_at, tmpfs};

/// Its directories, by what they are for.
pub(crate) struct Scratch {
    dir: PathBuf,
    mounted: usize,
}

impl Scratch {
    pub(crate) fn mount(dir: &Path) -> Result<Scratch, Failure> {
        let tree = tmpfs(None, 0o755, MountAttrFlags::MOUNT_ATTR_NODEV).at(Step::Scratch)?;
        attach_at(&tree, dir).at_path(Step::Scratch, dir)?;
        let scratch = Scratch {
            dir: dir.to_owned(),
            mounted: 0,
        };
        for name in [
            "root", "under", "over", "empty", "files", "upper", "work", "mounts",
        ] {
            make_dir(&scratch.dir.join(name))?;
        }
        Ok(scratch)
    }

    /// Where the new root is attached.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The lower below the image: mount points that it lacks.
    pub(crate) fn under(&self) -> PathBuf {
        self.dir.join("under")
    }

    /// The lower above the image: what has to win over it.
    pub(crate) fn over(&self) -> PathBuf {
        self.dir.join("over")
    }

    /// A directory in which nothing ever is.
    pub(crate) fn empty(&self) -> PathBuf {
        self.dir.join("empty")
    }

    /// For the writes of a root whose changes are thrown away.
    pub(crate) fn upper_and_work(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("upper"), self.dir.join("work"))
    }

    /// A new file with this content, to be mounted over one of the root.
    pub(crate) fn file(&mut self, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.next("files");
        std::fs::write(&path, content)
            .map_err(errno_of)
            .at_path(Step::Scratch, &path)?;
        Ok(path)
    }

    /// A new empty directory.
    pub(crate) fn directory(&mut self) -> Result<PathBuf, Failure> {
        let path = self.next("mounts");
        make_dir(&path)?;
        Ok(path)
    }

    fn next(&mut self, below: &str) -> PathBuf {
        self.mounted += 1;
        self.dir.join(below).join(self.mounted.to_string())
    }
}

fn make_dir(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(errno_of)
        .at_path(Step::Scratch, path)
}

/// The error number of an error of the standard library.
pub(crate) fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
