//! Copying file contents, many at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_sandbox::Cancel;
use rustix::io::Errno;

use super::error::CopyError;
use super::upper::{Metadata, Upper};
use crate::context::{Kind, SourceEntry, SourceTree};

/// Bytes that go through memory at once where the kernel cannot copy by itself.
pub(super) const BUFFER: usize = 128 << 10;

/// A regular file to be copied.
#[derive(Debug)]
pub(super) struct FileJob<'a> {
    /// Where it lies in the source tree.
    pub(super) path: PathBuf,
    pub(super) entry: &'a SourceEntry,
    /// Where it goes. Its directory is held.
    pub(super) dest: PathBuf,
    /// Its metadata; extended attributes are those of the source.
    pub(super) metadata: Metadata,
}

/// Copies all files, on several threads; the first failure ends it.
pub(super) fn copy_files(
    tree: &dyn SourceTree,
    jobs: &[FileJob<'_>],
    upper: &Upper<'_>,
    workers: usize,
    cancel: &Cancel,
) -> Result<(), CopyError> {
    // Neighbours mostly share a directory, and two threads that make files in one directory wait
    // for each other in the kernel: each takes some at a time.
    const FILES_AT_ONCE: usize = 32;
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let copy_some = || {
        let mut buffer = vec![0; BUFFER];
        loop {
            let first = next.fetch_add(FILES_AT_ONCE, Ordering::Relaxed);
            let Some(rest) = jobs.get(first..).filter(|rest| !rest.is_empty()) else {
                return;
            };
            for job in &rest[..rest.len().min(FILES_AT_ONCE)] {
                let copied = match cancel.is_cancelled() {
                    true => Err(CopyError::Cancelled),
                    false => copy_file(tree, job, upper, &mut buffer),
                };
                if let Err(error) = copied {
                    next.store(jobs.len(), Ordering::Relaxed);
                    failed
                        .lock()
                        .expect("no panics while held")
                        .get_or_insert(error);
                    return;
                }
            }
        }
    };
    let threads = workers.clamp(1, jobs.len().div_ceil(FILES_AT_ONCE).max(1));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(copy_some);
        }
        copy_some();
    });
    failed
        .into_inner()
        .expect("no panics while held")
        .map_or(Ok(()), Err)
}

fn copy_file(
    tree: &dyn SourceTree,
    job: &FileJob<'_>,
    upper: &Upper<'_>,
    buffer: &mut [u8],
) -> Result<(), CopyError> {
    let to = upper.create_file(&job.dest)?;
    if job.entry.kind == Kind::Socket {
        return upper.finish_file(&job.dest, &to, &job.metadata);
    }
    let from = tree
        .open(&job.path, job.entry)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CopyError::Changed {
                path: job.path.clone(),
            },
            _ => CopyError::read(&job.path)(error),
        })?;
    copy_content(&from, &to, job.entry.size, buffer, &job.path, &job.dest)?;
    let xattrs = tree
        .xattrs(job.entry, Some(&from))
        .map_err(CopyError::read(&job.path))?;
    let metadata = Metadata {
        xattrs,
        ..job.metadata.clone()
    };
    upper.finish_file(&job.dest, &to, &metadata)?;
    if !tree
        .is_unchanged(job.entry, &from)
        .map_err(CopyError::read(&job.path))?
    {
        return Err(CopyError::Changed {
            path: job.path.clone(),
        });
    }
    Ok(())
}

/// Copies everything from one file to the other: large files by sharing blocks or inside the kernel
/// where it can, others through memory, which is quicker for them.
pub(super) fn copy_content(
    from: &File,
    to: &File,
    size: u64,
    buffer: &mut [u8],
    from_path: &Path,
    to_path: &Path,
) -> Result<(), CopyError> {
    const CHUNK: usize = 1 << 30;
    let mut copied = 0_usize;
    while size > buffer.len() as u64 {
        match rustix::fs::copy_file_range(from, None, to, None, CHUNK) {
            // Some file systems give nothing here for files that do have a content.
            Ok(0) if copied == 0 => break,
            Ok(0) => return Ok(()),
            Ok(count) => copied += count,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
                if copied == 0 =>
            {
                break;
            }
            Err(error) => return Err(CopyError::write(to_path)(error.into())),
        }
    }
    copy_through_memory(from, to, buffer, from_path, to_path)
}

fn copy_through_memory(
    mut from: &File,
    mut to: &File,
    buffer: &mut [u8],
    from_path: &Path,
    to_path: &Path,
) -> Result<(), CopyError> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to
                .write_all(&buffer[..count])
                .map_err(CopyError::write(to_path))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::read(from_path)(error)),
        }
    }
}
