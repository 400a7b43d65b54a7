//! Between a program and a registry: it counts what goes through, and makes trouble if it is to.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::message::Message;
use super::random::Random;
use super::registry::Shelf;
use crate::error::ChoreError;

/// While trouble is made a token serves for so many requests, whatever was promised.
const TOKEN_USES: u64 = 60;
const STALL: Duration = Duration::from_millis(1500);

/// Chances in a thousand.
const ERRORS: u64 = 50;
const LIMITS: u64 = 10;
const RESETS: u64 = 10;
const LOST_ANSWERS: u64 = 10;
const LOST_CREATIONS: u64 = 10;
const STALLS: u64 = 5;
const CUT_BODIES: u64 = 10;
const WRONG_BODIES: u64 = 10;

/// What went through all proxies of a campaign.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests.
    pub(super) requests: AtomicU64,
    /// All bytes, heads and bodies, both ways.
    pub(super) bytes: AtomicU64,
    /// Bytes of bodies that were sent to registries which had them: nobody needed them.
    pub(super) again: AtomicU64,
    /// Troubles that were made.
    pub(super) troubles: AtomicU64,
    /// What was sent again, for messages.
    pub(super) sent_again: Mutex<Vec<String>>,
}

impl Counts {
    /// Reads one number.
    pub(super) fn get(number: &AtomicU64) -> u64 {
        number.load(Ordering::SeqCst)
    }

    fn add(number: &AtomicU64, more: u64) {
        number.fetch_add(more, Ordering::SeqCst);
    }
}

/// A proxy in front of one registry.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its host and port.
    pub(super) host: String,
    makes_trouble: Arc<AtomicBool>,
}

struct Gate {
    host: String,
    upstream: String,
    shelf: Shelf,
    counts: Arc<Counts>,
    makes_trouble: Arc<AtomicBool>,
    random: Mutex<Random>,
    /// The number of the token that is good, and how often it was used.
    token: Mutex<(u64, u64)>,
}

impl Proxy {
    /// Starts a proxy; it ends with the process.
    pub(super) fn start(
        upstream: &str,
        shelf: Shelf,
        counts: &Arc<Counts>,
        seed: u64,
    ) -> Result<Self, ChoreError> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(ChoreError::file("127.0.0.1"))?;
        let address = listener.local_addr();
        let host = address.map_err(ChoreError::file("127.0.0.1"))?.to_string();
        let makes_trouble = Arc::new(AtomicBool::new(false));
        let gate = Arc::new(Gate {
            host: host.clone(),
            upstream: upstream.to_owned(),
            shelf,
            counts: counts.clone(),
            makes_trouble: makes_trouble.clone(),
            random: Mutex::new(Random::new(seed)),
            token: Mutex::new((1, 0)),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = gate.clone();
                // Whoever hung up is gone.
                std::thread::spawn(move || drop(gate.serve(stream)));
            }
        });
        Ok(Self {
            host,
            makes_trouble,
        })
    }

    /// Makes trouble from now on, or no more.
    pub(super) fn trouble(&self, makes_trouble: bool) {
        self.makes_trouble.store(makes_trouble, Ordering::SeqCst);
    }
}

impl Gate {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(mut request) = Message::read_head(&mut reader)? else {
            return Ok(());
        };
        let head: usize = request
            .headers
            .iter()
            .map(|(n, v)| n.len() + v.len() + 4)
            .sum();
        Counts::add(&self.counts.requests, 1);
        let happens = |per_mille: u64| {
            let trouble = self.makes_trouble.load(Ordering::SeqCst)
                && self.random.lock().expect("no panics").happens(per_mille);
            Counts::add(&self.counts.troubles, u64::from(trouble));
            trouble
        };
        if happens(RESETS) {
            // The head is read, and the connection ends with a body on its way.
            return stream.shutdown(Shutdown::Both);
        }
        request.read_body(&mut reader, false)?;
        let asked = request.first.len() + 4 + head + request.body.len();
        Counts::add(&self.counts.bytes, asked as u64);
        if happens(STALLS) {
            std::thread::sleep(STALL);
        }
        if let Some(answer) = self.refusal(&request) {
            return self.answer(&stream, &answer);
        }
        if happens(LIMITS) {
            let mut limit = said("429 Too Many Requests");
            limit
                .headers
                .push(("Retry-After".to_owned(), "1".to_owned()));
            return self.answer(&stream, &limit);
        }
        if happens(ERRORS) {
            let status = ["500 Error", "502 Bad Gateway", "503 Unavailable"];
            let at = self.random.lock().expect("no panics").below(3);
            return self.answer(&stream, &said(status[usize::try_from(at).unwrap_or(0)]));
        }
        self.note_what_is_there(&request);
        let mut answer = self.ask(&request)?;
        let is_created = answer.status() == 201;
        if happens(LOST_ANSWERS) || (is_created && happens(LOST_CREATIONS)) {
            return stream.shutdown(Shutdown::Both);
        }
        let has_body = request.target().0 == "GET" && answer.body.len() > 2;
        let told = answer.body.len();
        if has_body && happens(CUT_BODIES) {
            answer.body.truncate(told / 2);
            let written = answer.write(&mut &stream, Some(told))?;
            Counts::add(&self.counts.bytes, written);
            return stream.shutdown(Shutdown::Both);
        }
        if has_body && happens(WRONG_BODIES) {
            answer.body[told / 2] ^= 1;
        }
        self.answer(&stream, &answer)
    }

    fn answer(&self, mut stream: &TcpStream, answer: &Message) -> io::Result<()> {
        // An answer to HEAD tells the length of what it does not have.
        let told = match answer.header("content-length") {
            Some(_) if answer.body.is_empty() => None,
            _ => Some(answer.body.len()),
        };
        let written = answer.write(&mut stream, told)?;
        Counts::add(&self.counts.bytes, written);
        Ok(())
    }

    /// Passes a request on.
    fn ask(&self, request: &Message) -> io::Result<Message> {
        let mut stream = TcpStream::connect(&self.upstream)?;
        request.write(&mut stream, Some(request.body.len()))?;
        let mut reader = BufReader::new(stream);
        let answer = Message::read_head(&mut reader)?;
        let mut answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let has_none = request.target().0 == "HEAD" || matches!(answer.status(), 204 | 304);
        if !has_none {
            answer.read_body(&mut reader, true)?;
        }
        Ok(answer)
    }

    /// Nobody comes in without a token; while trouble is made it ends sooner than was promised.
    fn refusal(&self, request: &Message) -> Option<Message> {
        let (_, path) = request.target();
        let mut token = self.token.lock().expect("no panics");
        if path.starts_with("/token") {
            let mut answer = said("200 OK");
            answer.body = format!("{{\"token\":\"t{}\",\"expires_in\":600}}", token.0).into_bytes();
            return Some(answer);
        }
        let good = format!("Bearer t{}", token.0);
        if request.header("authorization") == Some(good.as_str()) {
            token.1 += 1;
            if token.1 >= TOKEN_USES && self.makes_trouble.load(Ordering::SeqCst) {
                Counts::add(&self.counts.troubles, 1);
                *token = (token.0 + 1, 0);
            }
            return None;
        }
        let mut answer = said("401 Unauthorized");
        let host = &self.host;
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"campaign\",scope=\"repository:lab/any:pull,push\""
        );
        answer
            .headers
            .push(("WWW-Authenticate".to_owned(), challenge));
        Some(answer)
    }

    /// Counts what is sent although the registry has it: a blob, a manifest, a tag's meaning.
    fn note_what_is_there(&self, request: &Message) {
        let (method, path) = request.target();
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        let is_there = match (method, rest.split_once("/manifests/")) {
            ("PUT", Some((repository, name))) => match name.starts_with("sha256:") {
                true => self.shelf.has_manifest(repository, name),
                false => self.shelf.tag(repository, name) == Some(digest_of(&request.body)),
            },
            ("PUT", None) => rest
                .split_once("/blobs/uploads/")
                .is_some_and(|(repository, _)| {
                    !request.body.is_empty()
                        && self.shelf.has_blob(repository, &digest_of(&request.body))
                }),
            _ => false,
        };
        if is_there {
            Counts::add(&self.counts.again, request.body.len() as u64);
            let mut sent_again = self.counts.sent_again.lock().expect("no panics");
            sent_again.push(format!("{method} {path}"));
        }
    }
}

fn said(status: &str) -> Message {
    Message {
        first: format!("HTTP/1.1 {status}"),
        headers: Vec::new(),
        body: b"{}".to_vec(),
    }
}

fn digest_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
