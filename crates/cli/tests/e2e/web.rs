//! A web server for one test: the files of a directory, over plain HTTP, on loopback.
//!
//! What is below `private/` wants a login; what is called `packed` is packed by gzip on the way.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The time that every file claims, in seconds since 1970 and as HTTP writes it.
pub(crate) const MODIFIED: i64 = 1_000_000_000;
const MODIFIED_TEXT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

/// What one must say to see a file below `private/`: as a token of files, or of repositories.
const LOGINS: [&str; 2] = [
    "bearer letmein",
    // `x-access-token:letmein`
    "basic ec1hy2nlc3mtdg9rzw46bgv0bwvpbg==",
];

/// A running server. Dropping it ends it.
pub(crate) struct Web {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    /// How many files were sent.
    sent: Arc<AtomicUsize>,
}

impl Web {
    /// Serves what is in a directory, now and later.
    pub(crate) fn of(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let web = Self {
            address: listener.local_addr().expect("an address"),
            is_over: Arc::default(),
            requests: Arc::default(),
            sent: Arc::default(),
        };
        let directory = directory.to_owned();
        let (is_over, requests) = (web.is_over.clone(), web.requests.clone());
        let sent = web.sent.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (directory, requests) = (directory.clone(), requests.clone());
                let sent = sent.clone();
                if let Ok(stream) = stream {
                    std::thread::spawn(move || answer(&stream, &directory, &requests, &sent));
                }
            }
        });
        web
    }

    /// The address of a file.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// How many files were asked for.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many files were sent, and not only said to be as they were.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the server up, so that it sees it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers one request and hangs up.
fn answer(mut stream: &TcpStream, directory: &Path, requests: &AtomicUsize, sent: &AtomicUsize) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let mut known = String::new();
    let mut login = String::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let line = line.to_ascii_lowercase();
        if let Some(tag) = line.strip_prefix("if-none-match: ") {
            tag.clone_into(&mut known);
        }
        if let Some(value) = line.strip_prefix("authorization: ") {
            value.clone_into(&mut login);
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let path = request.split_whitespace().nth(1).unwrap_or("/");
    let path = path.split('?').next().unwrap_or(path);
    let file: PathBuf = directory.join(path.trim_start_matches('/'));
    let is_let_in = !path.starts_with("/private/") || LOGINS.contains(&login.as_str());
    let (status, body) = match fs::read(file) {
        _ if !is_let_in => ("401 Unauthorized", Vec::new()),
        Ok(body) if tag_of(path, &body) == known => ("304 Not Modified", Vec::new()),
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let tag = match status {
        "200 OK" => tag_of(path, &body),
        _ => known,
    };
    let (coding, body) = match path.ends_with("packed") {
        true => ("Content-Encoding: gzip\r\n", cairn_testkit::gzip(&body)),
        false => ("", body),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: {MODIFIED_TEXT}\r\nETag: {tag}\r\n\
         {coding}Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    if !request.starts_with("HEAD") {
        sent.fetch_add(usize::from(status == "200 OK"), Ordering::SeqCst);
        let _ = stream.write_all(&body);
    }
}

/// Which bytes a file is, in the server's words; files called `weak` have a weak one.
fn tag_of(path: &str, body: &[u8]) -> String {
    let digest = cairn_oci::Digest::sha256(body);
    match path.ends_with("weak") {
        true => format!("W/\"{}\"", digest.short()),
        false => format!("\"{}\"", digest.short()),
    }
}
