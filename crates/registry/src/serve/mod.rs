//! A registry on this machine: what is on a [`Shelf`], to whoever speaks the protocol.
//!
//! ```text
//! GET    /v2/                              yes, this is a registry
//! GET    /v2/_catalog                      repositories
//! GET    /v2/<name>/tags/list              tags, `n` and `last` for pages
//! GET    /v2/<name>/manifests/<reference>  a manifest by tag or digest
//! GET    /v2/<name>/blobs/<digest>         a blob, whole or a range of it
//! GET    /v2/<name>/referrers/<digest>     what says something about a manifest
//! POST   /v2/<name>/blobs/uploads/         an upload is begun, or a blob mounted
//! PATCH  /v2/<name>/blobs/uploads/<id>     bytes of it; GET says how many there are
//! PUT    /v2/<name>/blobs/uploads/<id>     the last of them, and the digest
//! PUT    /v2/<name>/manifests/<reference>  a manifest
//! DELETE                                   a tag, a manifest, a blob, an upload
//! ```
//!
//! Only loopback addresses are listened to. There is a thread for each connection, so no
//! asynchronous runtime enters a process that starts sandboxes. Without a [`Stock`], only GET and
//! HEAD are answered.

mod answer;
mod body;
mod connection;
mod incoming;
mod message;
mod reading;
mod route;
mod uploads;
mod writing;

use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cairn_oci::{Descriptor, Digest};

use crate::distribution::Document;
pub use incoming::Incoming;
use uploads::Uploads;

const CONNECTIONS_MAX: usize = 64;
const POLL: Duration = Duration::from_millis(20);
/// How often uploads that nobody goes on with are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What a registry has.
pub trait Shelf: Sync {
    /// The names of repositories, sorted.
    fn repositories(&self) -> Result<Vec<String>, ShelfError>;

    /// The tags of a repository, sorted; `None` if there is no such repository.
    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, ShelfError>;

    /// A manifest or index by its tag.
    fn by_tag(&self, repository: &str, tag: &str) -> Result<Option<Document>, ShelfError>;

    /// A manifest or index by its digest.
    fn by_digest(&self, repository: &str, digest: &Digest) -> Result<Option<Document>, ShelfError>;

    /// A blob, and its size.
    fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<(File, u64)>, ShelfError>;

    /// What says something about a manifest.
    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, ShelfError>;
}

/// Where clients put things.
pub trait Stock: Sync {
    /// Begins a blob.
    fn begin(&self) -> Result<Box<dyn Intake>, ShelfError>;

    /// Makes a blob that is there a repository's.
    fn add_blob(&self, repository: &str, digest: &Digest) -> Result<(), ShelfError>;

    /// Takes a manifest, under some tags or none.
    fn add_manifest(
        &self,
        repository: &str,
        tags: &[&str],
        manifest: Incoming,
    ) -> Result<(), ShelfError>;

    /// Whether a tag is one that no client may move.
    fn keeps(&self, repository: &str, tag: &str) -> Result<bool, ShelfError>;

    /// Takes something out of a repository.
    fn remove(&self, repository: &str, item: Item<'_>) -> Result<Removed, ShelfError>;
}

/// A blob that is being written. Dropping it unfinished leaves nothing.
pub trait Intake: Write + Send {
    /// Verifies the bytes, and keeps them.
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), IntakeError>;
}

/// Why a blob is not kept.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Its bytes are others.
    #[error("the bytes are {found}")]
    Mismatch {
        /// Which.
        found: Digest,
    },
    /// The shelf failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// Something in a repository.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A tag; what it means stays.
    Tag(&'a str),
    /// A manifest, with all its tags.
    Manifest(&'a Digest),
    /// A blob.
    Blob(&'a Digest),
}

/// How a removal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It was there, and is not now.
    Gone,
    /// It was not there.
    Absent,
    /// It is there, and stays.
    Kept,
}

/// Why something on a shelf cannot be given.
pub type ShelfError = Box<dyn std::error::Error + Send + Sync>;

/// All that the connections of one server share.
pub(crate) struct Shop<'a> {
    shelf: &'a dyn Shelf,
    stock: Option<&'a dyn Stock>,
    uploads: Uploads,
}

/// A registry that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address of this machine; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is not a loopback one, or is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Server> {
        if !address.ip().is_loopback() {
            let text = "only addresses of this machine (127.0.0.1, ::1) are served";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Server { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is stopped, and takes what is pushed if there is a stock to put it in.
    /// `tell` hears what could not be done, and why.
    pub fn run(
        &self,
        shelf: &dyn Shelf,
        stock: Option<&dyn Stock>,
        is_stopped: &(dyn Fn() -> bool + Sync),
        tell: &(dyn Fn(&str) + Sync),
    ) {
        let open = AtomicUsize::new(0);
        let shop = Shop {
            shelf,
            stock,
            uploads: Uploads::default(),
        };
        let mut swept = Instant::now();
        thread::scope(|scope| {
            while !is_stopped() {
                if swept.elapsed() > SWEEP {
                    shop.uploads.sweep();
                    swept = Instant::now();
                }
                let Ok((stream, _)) = self.listener.accept() else {
                    thread::sleep(POLL);
                    continue;
                };
                if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                    open.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let (open, shop) = (&open, &shop);
                scope.spawn(move || {
                    // A client that goes away in the middle is no event.
                    let _ = connection::serve(stream, shop, is_stopped, tell);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}
