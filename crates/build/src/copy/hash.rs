//! Digests of the selected files' contents, read in parallel, and only where nobody knows them.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use cairn_sandbox::Cancel;
use cairn_store::{ContentDigest, KeyHasher};

use super::error::SelectError;
use super::selection::{Item, Source};
use crate::context::{Kind, SourceTree};

/// Bytes read at once: large enough that BLAKE3 runs at full speed.
const BUFFER: usize = 128 << 10;

/// Gives the digest of each regular file of the sources, in order.
///
/// A digest covers the content and the extended attributes that are copied with it, so that a file
/// whose identity is known needs no further look.
pub(super) fn digest_files(
    tree: &dyn SourceTree,
    sources: &[Source],
    workers: usize,
    cancel: &Cancel,
) -> Result<Vec<ContentDigest>, SelectError> {
    let mut digests = Vec::new();
    let mut unread = Vec::new();
    for source in sources {
        for item in source
            .items
            .iter()
            .filter(|item| item.entry.kind == Kind::File)
        {
            let path = source.place(item);
            match tree.known_digest(&path, &item.entry) {
                Some(known) => digests.push(known),
                None => {
                    unread.push(Unread {
                        place: digests.len(),
                        path,
                        item,
                    });
                    digests.push(ContentDigest::from_bytes([0; 32]));
                }
            }
        }
    }
    if !unread.is_empty() {
        read_all(tree, &unread, &mut digests, workers, cancel)?;
    }
    Ok(digests)
}

/// A file that has to be read.
struct Unread<'a> {
    place: usize,
    path: PathBuf,
    item: &'a Item,
}

fn read_all(
    tree: &dyn SourceTree,
    unread: &[Unread<'_>],
    digests: &mut [ContentDigest],
    workers: usize,
    cancel: &Cancel,
) -> Result<(), SelectError> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let read_some = || {
        let mut buffer = vec![0; BUFFER];
        let mut read = Vec::new();
        while let Some(file) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
            let digest = match cancel.is_cancelled() {
                true => Err(SelectError::Cancelled),
                false => digest_file(tree, file, &mut buffer),
            };
            match digest {
                Ok(digest) => read.push((file.place, digest)),
                Err(error) => {
                    next.store(unread.len(), Ordering::Relaxed);
                    failed
                        .lock()
                        .expect("no panics while held")
                        .get_or_insert(error);
                }
            }
        }
        read
    };
    let threads = workers.clamp(1, unread.len());
    let parts: Vec<Vec<_>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(read_some)).collect();
        let mut parts = vec![read_some()];
        parts.extend(
            others
                .into_iter()
                .map(|other| other.join().expect("reading does not panic")),
        );
        parts
    });
    if let Some(error) = failed.into_inner().expect("no panics while held") {
        return Err(error);
    }
    for (place, digest) in parts.into_iter().flatten() {
        digests[place] = digest;
    }
    Ok(())
}

fn digest_file(
    tree: &dyn SourceTree,
    unread: &Unread<'_>,
    buffer: &mut [u8],
) -> Result<ContentDigest, SelectError> {
    let read_error = |error| SelectError::Read {
        path: unread.path.clone(),
        source: error,
    };
    let entry = &unread.item.entry;
    let read_began = SystemTime::now();
    let file = tree.open(&unread.path, entry).map_err(read_error)?;
    let content = digest_content(&file, buffer).map_err(read_error)?;
    let xattrs = tree.xattrs(entry, Some(&file)).map_err(read_error)?;
    let digest = match xattrs.is_empty() {
        true => content,
        false => {
            let mut hasher = KeyHasher::new("cairn file with attributes 1");
            hasher.field("content", content.as_bytes());
            for (name, value) in xattrs {
                hasher.field("name", name.as_bytes()).field("value", &value);
            }
            hasher.finish_content()
        }
    };
    // A file that is being written has no digest worth keeping; its copy will say so.
    if tree.is_unchanged(entry, &file).map_err(read_error)? {
        tree.learn_digest(&unread.path, entry, digest, read_began);
    }
    Ok(digest)
}

fn digest_content(mut file: &File, buffer: &mut [u8]) -> std::io::Result<ContentDigest> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes())),
            Ok(count) => drop(hasher.update(&buffer[..count])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
