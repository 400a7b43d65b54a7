//! Files of the web that the store has: asked for again, they are fetched only if they are others.
//!
//! A server that gives a strong `ETag` says by it which bytes a file is. It is remembered by the
//! file's address, and the server is asked whether it is still so, by one `HEAD`. A date is no such
//! word: two files may have the same.

use std::io::{BufReader, Read};
use std::ops::ControlFlow;

use cairn_oci::{Digest, redact};
use cairn_registry::{Download, Fetched};
use cairn_store::{CacheKey, CacheRecord, KeyHasher, Store};
use flate2::bufread::MultiGzDecoder;

use crate::engine::Engine;
use crate::failure::StepError;
use crate::image::stoppable::Stoppable;

/// A download larger than this is refused.
const DOWNLOAD_MAX: u64 = 64 << 30;
const ETAG: &str = "etag";
const DIGEST: &str = "digest";
const SIZE: &str = "size";
const MODIFIED: &str = "modified";
const PLACE: &str = "place";

/// Gets a file: from the store if its server says that it is the same, else from there.
pub(crate) fn fetch(engine: &Engine<'_>, url: &str) -> Result<Fetched, StepError> {
    if let Some((known, etag)) = known(engine.store, url)
        && engine.fetcher.is_unchanged(url, &etag)
    {
        return Ok(known);
    }
    let download = Download {
        url,
        digest: None,
        size: None,
        limit: DOWNLOAD_MAX,
    };
    let fetched = engine
        .fetcher
        .get_blob(engine.store, &download, &mut |_| {
            if engine.cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(|source| StepError::Fetch(Box::new(source)))?;
    let fetched = match fetched.is_gzipped {
        true => unpacked(engine, url, fetched)?,
        false => fetched,
    };
    remember(engine.store, url, &fetched)?;
    Ok(fetched)
}

/// The file as it was before its server packed it for the way.
fn unpacked(engine: &Engine<'_>, url: &str, fetched: Fetched) -> Result<Fetched, StepError> {
    let mut writer = engine.store.blob_writer()?;
    let packed = engine.store.open_blob(&fetched.digest)?;
    let file = MultiGzDecoder::new(BufReader::new(packed)).take(DOWNLOAD_MAX + 1);
    let mut file = Stoppable {
        inner: file,
        cancel: engine.cancel,
    };
    let failed = |source| match engine.cancel.is_cancelled() {
        true => StepError::Cancelled,
        false => StepError::Io {
            doing: "unpack",
            path: redact(url).into(),
            source,
        },
    };
    let size = std::io::copy(&mut file, &mut writer).map_err(failed)?;
    if size > DOWNLOAD_MAX {
        let text = "it is larger than any file that is fetched";
        return Err(failed(std::io::Error::other(text)));
    }
    let (digest, size) = writer.finish(None)?;
    Ok(Fetched {
        digest,
        size,
        is_gzipped: false,
        ..fetched
    })
}

/// What the store has of an address, with the word of its server.
fn known(store: &Store, url: &str) -> Option<(Fetched, String)> {
    let record = store.get_record(&key(url))?;
    let value = |wanted: &str| {
        let found = record.inputs.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let digest: Digest = value(DIGEST)?.parse().ok()?;
    let etag = value(ETAG)?;
    let fetched = Fetched {
        size: value(SIZE)?.parse().ok()?,
        last_modified: value(MODIFIED).and_then(|time| time.parse().ok()),
        url: value(PLACE)?,
        etag: Some(etag.clone()),
        is_gzipped: false,
        digest,
    };
    store.has_blob(&fetched.digest).then_some((fetched, etag))
}

fn remember(store: &Store, url: &str, fetched: &Fetched) -> Result<(), StepError> {
    let Some(etag) = &fetched.etag else {
        return Ok(());
    };
    let mut content = KeyHasher::new("cairn download");
    content.field("digest", fetched.digest.as_str());
    let mut inputs = vec![
        (ETAG.to_owned(), etag.clone()),
        (DIGEST.to_owned(), fetched.digest.to_string()),
        (SIZE.to_owned(), fetched.size.to_string()),
        (PLACE.to_owned(), fetched.url.clone()),
    ];
    let modified = fetched.last_modified;
    inputs.extend(modified.map(|time| (MODIFIED.to_owned(), time.to_string())));
    store.put_record(&CacheRecord {
        key: key(url),
        snapshot: None,
        content: content.finish_content(),
        created: 0,
        cost_ms: 0,
        description: "file of the web".to_owned(),
        inputs,
    })?;
    Ok(())
}

/// Of the whole address: with another login it may be another file.
fn key(url: &str) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn file of the web");
    hasher.field("url", url);
    hasher.finish_key()
}
