//! Cache mounts carried elsewhere: as an archive, and back into a store.
//!
//! ```text
//! <key>/about    what the cache is called and how it starts, as JSON
//! <key>/fs/...   its files
//! ```
//!
//! An archive is a zstd-compressed tar. One that comes in is unpacked as `ADD` unpacks strangers'
//! archives, in a place of its own; only then are its caches moved to where they belong.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use cairn_sandbox::Cancel;
use cairn_store::{
    CacheMountClaims, CacheMountSharing, CacheMountStart, CacheMountUse, Store, StoreError,
};

use crate::copy::{CopyError, unpack_owned};
use crate::failure::StepError;
use crate::solve::{move_children, own};

const ABOUT: &str = "about";
const FILES: &str = "fs";
/// Fast, and good enough for what a network carries.
const LEVEL: i32 = 3;
/// What a cache says of itself is short.
const ABOUT_MAX: u64 = 64 << 10;

/// Why caches cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum CacheArchiveError {
    /// The archive cannot be written.
    #[error("cannot write the archive of caches")]
    Write(#[source] io::Error),
    /// A file of a cache cannot be read.
    #[error("cannot read the cache `{name}`")]
    Read {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be unpacked.
    #[error("cannot unpack the archive of caches")]
    Unpack(#[from] CopyError),
    /// The archive holds something else.
    #[error("the archive holds no caches: `{0}` is none")]
    Stranger(String),
    /// A cache cannot be put into the store.
    #[error("cannot restore the cache `{name}`")]
    Restore {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes caches to an archive; gives the names of those that were there to be written.
pub fn save(
    store: &Store,
    caches: &[CacheMountUse],
    to: impl Write,
) -> Result<Vec<String>, CacheArchiveError> {
    let compressed = zstd::stream::write::Encoder::new(to, LEVEL);
    let mut tar = tar::Builder::new(compressed.map_err(CacheArchiveError::Write)?);
    tar.follow_symlinks(false);
    let mut saved = Vec::new();
    for cache in caches {
        let claims = CacheMountClaims::default();
        let sharing = CacheMountSharing::Shared;
        // Steps that want it for themselves alone find another directory, or wait for us.
        let taken = store.take_cache_mount(&cache.start, sharing, false, &claims, &mut || true)?;
        let Some(taken) = taken.filter(|taken| !taken.is_new()) else {
            continue;
        };
        let about = serde_json::to_vec(&cache.start).unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_size(about.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let place = Path::new(&cache.key);
        tar.append_data(&mut header, place.join(ABOUT), about.as_slice())
            .map_err(CacheArchiveError::Write)?;
        tar.append_dir_all(place.join(FILES), taken.files())
            .map_err(|source| CacheArchiveError::Read {
                name: cache.start.name.clone(),
                source,
            })?;
        saved.push(cache.start.name.clone());
    }
    let compressed = tar.into_inner().map_err(CacheArchiveError::Write)?;
    compressed.finish().map_err(CacheArchiveError::Write)?;
    Ok(saved)
}

/// Puts the caches of an archive into the store, in the place of those of the same name; gives
/// their names. `wanted` says which.
pub fn restore(
    store: &Store,
    from: impl Read + Send + 'static,
    wanted: &dyn Fn(&str) -> bool,
    cancel: &Cancel,
) -> Result<Vec<String>, CacheArchiveError> {
    let unpacked = store.begin_snapshot()?;
    unpack_owned(from, "caches", store, &unpacked, cancel)?;
    let mut restored = Vec::new();
    let entries = std::fs::read_dir(unpacked.upper()).and_then(Iterator::collect);
    let entries: Vec<std::fs::DirEntry> = entries.map_err(CacheArchiveError::Write)?;
    for entry in entries {
        let stranger = || CacheArchiveError::Stranger(entry.file_name().display().to_string());
        // A link would lead to files of the host.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return Err(stranger());
        }
        let start = about(&entry.path()).ok_or_else(stranger)?;
        let files = entry.path().join(FILES);
        if !std::fs::symlink_metadata(&files).is_ok_and(|files| files.is_dir()) {
            return Err(stranger());
        }
        if !wanted(&start.name) {
            continue;
        }
        put(store, &start, &files).map_err(|source| CacheArchiveError::Restore {
            name: start.name.clone(),
            source: Box::new(source),
        })?;
        restored.push(start.name);
    }
    restored.sort();
    Ok(restored)
}

fn about(cache: &Path) -> Option<CacheMountStart> {
    let path = cache.join(ABOUT);
    let is_file = std::fs::symlink_metadata(&path).ok()?.is_file();
    let mut text = Vec::new();
    let file = is_file.then(|| File::open(&path).ok()).flatten()?;
    file.take(ABOUT_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn put(store: &Store, start: &CacheMountStart, files: &Path) -> Result<(), StepError> {
    let claims = CacheMountClaims::default();
    let sharing = CacheMountSharing::Private;
    let taken = store.take_cache_mount(start, sharing, true, &claims, &mut || true)?;
    let mut taken = taken.ok_or(StepError::Cancelled)?;
    taken.fill(|directory| {
        move_children(files, directory)?;
        own(directory, start)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;

    use cairn_testkit::TempStore;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_cache_leads_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        let start = CacheMountStart {
            name: "stolen".to_owned(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            content: None,
        };
        let about = serde_json::to_vec(&start).unwrap();
        fs::write(outside.path().join(ABOUT), about).unwrap();
        fs::create_dir(outside.path().join(FILES)).unwrap();
        fs::write(outside.path().join(FILES).join("mine"), "").unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_link(&mut header, "key", outside.path()).unwrap();
        let archive = Cursor::new(tar.into_inner().unwrap());
        let restored = restore(&TempStore::new(), archive, &|_| true, &Cancel::new());
        assert!(matches!(restored, Err(CacheArchiveError::Stranger(_))));
        assert!(outside.path().join(FILES).join("mine").exists());
    }
}
