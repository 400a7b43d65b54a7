//! A small HTTP server in this process that misbehaves as told.
//!
//! Each connection serves one request, with the next behaviour of the script; the last one
//! repeats. What was asked is remembered, so that a test can look at the headers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends the file, or the range asked for.
    Serve,
    /// Sends the file whole, whatever was asked.
    ServeWhole,
    /// Announces the whole and hangs up after so many bytes of the answer.
    Break(usize),
    /// Sends this status, with extra header lines.
    Status(u16, &'static str, &'static str),
    /// Announces the file and then says nothing for a while.
    Stall,
    /// Hangs up without an answer.
    HangUp,
    /// Sends without a length; the connection's end is the file's end.
    Unannounced,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

#[derive(Clone)]
struct Script {
    file: Arc<Vec<u8>>,
    etag: Option<&'static str>,
    acts: Arc<Mutex<Vec<Act>>>,
}

impl Server {
    pub(crate) fn start(file: Vec<u8>, etag: Option<&'static str>, acts: &[Act]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Script {
            file: Arc::new(file),
            etag,
            acts: Arc::new(Mutex::new(acts.to_vec())),
        };
        let seen = requests.clone();
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, seen) = (script.clone(), seen.clone());
                std::thread::spawn(move || script.answer(stream, &seen));
            }
        });
        Server { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn header(&self, request: usize, name: &str) -> Option<String> {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let requests = self.requests();
        let line = requests[request]
            .iter()
            .find(|l| l.to_ascii_lowercase().starts_with(&prefix))?;
        Some(line[prefix.len()..].trim().to_owned())
    }
}

impl Script {
    fn answer(&self, mut stream: TcpStream, seen: &Mutex<Vec<Vec<String>>>) {
        let lines: Vec<String> = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        if lines.is_empty() {
            return;
        }
        let start = lines.iter().find_map(|l| range_start(l)).unwrap_or(0);
        seen.lock().unwrap().push(lines);
        let act = {
            let mut acts = self.acts.lock().unwrap();
            if acts.len() > 1 {
                acts.remove(0)
            } else {
                acts[0].clone()
            }
        };
        // A client that has seen enough may be gone; that is its right.
        let _ = self.perform(&act, start, &mut stream);
    }

    fn perform(&self, act: &Act, start: usize, stream: &mut TcpStream) -> std::io::Result<()> {
        match act {
            Act::HangUp => Ok(()),
            Act::Status(status, headers, body) => write!(
                stream,
                "HTTP/1.1 {status} Told\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ),
            Act::Unannounced => {
                write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                stream.write_all(&self.file)
            }
            Act::Serve => self
                .head(start, stream)
                .and_then(|()| stream.write_all(&self.file[start..])),
            Act::ServeWhole => self
                .head(0, stream)
                .and_then(|()| stream.write_all(&self.file)),
            Act::Break(count) => {
                self.head(start, stream)?;
                let end = (start + count).min(self.file.len());
                stream.write_all(&self.file[start..end])
            }
            Act::Stall => {
                self.head(start, stream)?;
                std::thread::sleep(Duration::from_secs(30));
                Ok(())
            }
        }
    }

    fn head(&self, start: usize, stream: &mut TcpStream) -> std::io::Result<()> {
        let length = self.file.len() - start;
        if start > 0 {
            let (last, whole) = (self.file.len() - 1, self.file.len());
            write!(
                stream,
                "HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{last}/{whole}\r\n"
            )?;
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
        }
        if let Some(etag) = self.etag {
            write!(stream, "ETag: {etag}\r\n")?;
        }
        write!(
            stream,
            "Last-Modified: Sat, 11 Jul 2026 10:16:37 GMT\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    }
}

fn range_start(line: &str) -> Option<usize> {
    let value = line.to_ascii_lowercase();
    value
        .strip_prefix("range: bytes=")?
        .strip_suffix('-')?
        .parse()
        .ok()
}
