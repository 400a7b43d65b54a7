//! Blobs out of registries: streamed, verified, continued elsewhere after a break.

use std::ops::ControlFlow;
use std::thread;

use cairn_oci::{Descriptor, Reference};
use cairn_store::{SnapshotId, Store};
use reqwest::Method;
use reqwest::blocking::Response;
use reqwest::header::HeaderMap;

use super::client::{Endpoint, RegistryClient};
use super::error::RegistryError;
use super::host::{NO_BODY, Request};
use super::options::Watch;
use super::pieces::{Feed, pieces};
use crate::http::Download;
use crate::http::body::{Bare, Sink};
use crate::http::error::FetchProblem;
use crate::http::transfer::{Origin, Transfer};

impl RegistryClient {
    /// Brings a blob into the store, if it is not there.
    ///
    /// # Errors
    /// When no mirror and not the registry gives the bytes of the descriptor.
    pub fn fetch_blob(
        &self,
        store: &Store,
        reference: &Reference,
        blob: &Descriptor,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        if store.has_blob(&blob.digest) {
            return Ok(());
        }
        self.over_sources(reference, |sources| {
            let mut writer = store.blob_writer_with(blob.digest.algorithm())?;
            stream(sources, blob, &mut writer, watch)?;
            writer.finish(Some(&blob.digest))?;
            Ok(())
        })
    }

    /// Downloads a layer and unpacks it at the same time, as one made here; the blob is not kept.
    ///
    /// # Errors
    /// When no mirror and not the registry gives the bytes of the descriptor, or they are no layer.
    pub fn unpack_blob(
        &self,
        store: &Store,
        reference: &Reference,
        blob: &Descriptor,
        watch: Watch<'_>,
    ) -> Result<SnapshotId, RegistryError> {
        self.over_sources(reference, |sources| {
            let (sender, pieces) = pieces();
            thread::scope(|scope| {
                let unpacker = scope.spawn(|| store.unpack_layer(pieces));
                let streamed = stream(sources, blob, &mut Bare(&mut Feed(sender)), watch);
                let unpacked = unpacker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                // Bytes that are not the right ones may be a layer all the same.
                if let (Err(_), Ok(snapshot)) = (&streamed, &unpacked) {
                    store.discard_snapshot(snapshot)?;
                }
                streamed?;
                Ok(unpacked?)
            })
        })
    }

    /// Fetches from all places in turn; where a mirror gave other bytes than it should, a second
    /// time from the registry alone.
    pub(crate) fn over_sources<T>(
        &self,
        reference: &Reference,
        fetch: impl Fn(&[Endpoint]) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let sources = self.sources(reference)?;
        let fetched = match fetch(&sources) {
            Err(error) if sources.len() > 1 && is_wrong(&error) => {
                fetch(&[self.origin(reference)?])
            }
            done => done,
        };
        fetched.map_err(|error| self.after_mirrors(reference, error))
    }
}

fn is_wrong(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Request { failure, .. } if matches!(
        failure.problem,
        FetchProblem::WrongDigest { .. } | FetchProblem::WrongSize { .. }
    ))
}

/// Streams a blob into a writer, from the first place that can, and on from the next. What was
/// written has the digest and the size of the descriptor if this says that it went well.
pub(crate) fn stream(
    sources: &[Endpoint],
    blob: &Descriptor,
    out: &mut dyn Sink,
    watch: Watch<'_>,
) -> Result<(), RegistryError> {
    let download = Download {
        url: "",
        digest: Some(&blob.digest),
        size: Some(blob.size),
        limit: blob.size,
    };
    let mut transfer = Transfer::new(&download, out);
    let mut heard = 0;
    let mut follow = |received: u64| {
        (watch.moved)(received.saturating_sub(heard));
        heard = heard.max(received);
        match (watch.is_stopped)() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let mut left = sources.iter().peekable();
    while let Some(source) = left.next() {
        let origin = BlobOrigin {
            source,
            path: source.path(&format!("blobs/{}", blob.digest)),
            watch,
        };
        let failure = match transfer.run(&origin, source.host.retry(), out, &mut follow) {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        let is_final = match &failure.problem {
            FetchProblem::Cancelled | FetchProblem::Write(_) => true,
            // What was written already cannot be taken back.
            FetchProblem::WrongDigest { .. } => transfer.has_begun(),
            _ => false,
        };
        let error = source.error(failure);
        source.note(&error);
        if is_final || left.peek().is_none() {
            return Err(error);
        }
    }
    unreachable!("the registry itself is among the sources")
}

struct BlobOrigin<'a> {
    source: &'a Endpoint,
    path: String,
    watch: Watch<'a>,
}

impl Origin for BlobOrigin<'_> {
    fn url(&self) -> String {
        self.source.host.shown(&self.path)
    }

    fn get(&self, headers: HeaderMap) -> Result<Response, FetchProblem> {
        self.source.send(&Request {
            method: Method::GET,
            url: self.source.host.url(&self.path)?,
            headers,
            repository: &self.source.repository,
            scopes: &self.source.scopes("pull"),
            body: NO_BODY,
            timeout: None,
            is_stopped: self.watch.is_stopped,
        })
    }
}
