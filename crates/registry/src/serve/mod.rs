//! A read-only registry on this machine: what is on a [`Shelf`], to whoever speaks the protocol.
//!
//! ```text
//! GET /v2/                              yes, this is a registry
//! GET /v2/_catalog                      repositories
//! GET /v2/<name>/tags/list              tags, `n` and `last` for pages
//! GET /v2/<name>/manifests/<reference>  a manifest by tag or digest
//! GET /v2/<name>/blobs/<digest>         a blob, whole or a range of it
//! GET /v2/<name>/referrers/<digest>     nothing refers to anything here
//! ```
//!
//! Only loopback addresses are listened to. There is a thread for each connection, so no
//! asynchronous runtime enters a process that starts sandboxes. The requests that are understood
//! have no bodies; anything else is answered with `405`.

mod connection;
mod message;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cairn_oci::Digest;

use crate::distribution::Document;

const CONNECTIONS_MAX: usize = 64;
const POLL: Duration = Duration::from_millis(20);

/// What a registry has.
pub trait Shelf: Sync {
    /// The names of repositories, sorted.
    fn repositories(&self) -> Result<Vec<String>, ShelfError>;

    /// The tags of a repository, sorted; `None` if there is no such repository.
    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, ShelfError>;

    /// A manifest or index by its tag.
    fn by_tag(&self, repository: &str, tag: &str) -> Result<Option<Document>, ShelfError>;

    /// A manifest or index by its digest.
    fn by_digest(&self, digest: &Digest) -> Result<Option<Document>, ShelfError>;

    /// A blob, and its size.
    fn blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, ShelfError>;
}

/// Why something on a shelf cannot be given.
pub type ShelfError = Box<dyn std::error::Error + Send + Sync>;

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

    /// Answers until it is stopped. `tell` hears what could not be given, and why.
    pub fn run(
        &self,
        shelf: &dyn Shelf,
        is_stopped: &(dyn Fn() -> bool + Sync),
        tell: &(dyn Fn(&str) + Sync),
    ) {
        let open = AtomicUsize::new(0);
        thread::scope(|scope| {
            while !is_stopped() {
                let Ok((stream, _)) = self.listener.accept() else {
                    thread::sleep(POLL);
                    continue;
                };
                if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                    open.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let open = &open;
                scope.spawn(move || {
                    // A client that goes away in the middle is no event.
                    let _ = connection::serve(stream, shelf, is_stopped, tell);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}
