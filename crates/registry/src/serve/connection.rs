//! One connection: requests one after the other, each answered from the shelf.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cairn_oci::{Digest, Index, MediaType};

use super::message::{Head, Request, read};
use super::{Shelf, ShelfError};
use crate::distribution::Document;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How often a silent one looks whether the server was stopped.
const POLL: Duration = Duration::from_millis(200);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer on its way.
enum Answer {
    Text(u16, Vec<(&'static str, String)>, Vec<u8>),
    File(Vec<(&'static str, String)>, std::fs::File, u64),
}

pub(crate) fn serve(
    stream: TcpStream,
    shelf: &dyn Shelf,
    is_stopped: &(dyn Fn() -> bool + Sync),
    tell: &(dyn Fn(&str) + Sync),
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    while has_more(&mut input, &out, is_stopped)? {
        out.set_read_timeout(Some(IDLE))?;
        let Some(request) = read(&mut input)? else {
            return Ok(());
        };
        let answer = match answer(&request, shelf) {
            Ok(answer) => answer,
            Err(reason) => {
                tell(&format!("{} {}: {reason}", request.method, request.path));
                error(500, "UNKNOWN", "the store does not give it")
            }
        };
        send(&request, answer, &mut out)?;
        if request.is_last {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits for the first byte of a request.
fn has_more(
    input: &mut BufReader<TcpStream>,
    stream: &TcpStream,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> io::Result<bool> {
    use std::io::BufRead;
    let end = Instant::now() + IDLE;
    stream.set_read_timeout(Some(POLL))?;
    while !is_stopped() && Instant::now() < end {
        match input.fill_buf() {
            Ok(bytes) => return Ok(!bytes.is_empty()),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn answer(request: &Request, shelf: &dyn Shelf) -> Result<Answer, ShelfError> {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Ok(error(405, "UNSUPPORTED", "this registry is read-only"));
    }
    let Some(rest) = request.path.strip_prefix("/v2/") else {
        return Ok(error(404, "UNSUPPORTED", "there is nothing but /v2/ here"));
    };
    match rest {
        "" => return Ok(json(&serde_json::json!({}), Vec::new())),
        "_catalog" => {
            let (names, link) = page(shelf.repositories()?, request);
            return Ok(json(&serde_json::json!({ "repositories": names }), link));
        }
        _ => {}
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return Ok(match shelf.tags(repository)? {
            Some(tags) => {
                let (tags, link) = page(tags, request);
                json(
                    &serde_json::json!({ "name": repository, "tags": tags }),
                    link,
                )
            }
            None => error(404, "NAME_UNKNOWN", "no such repository"),
        });
    }
    if let Some((repository, name)) = rest.rsplit_once("/manifests/") {
        let found = match name.parse::<Digest>() {
            Ok(digest) => shelf.by_digest(&digest)?,
            Err(_) => shelf.by_tag(repository, name)?,
        };
        return Ok(match found {
            Some(document) => manifest(document),
            None => error(404, "MANIFEST_UNKNOWN", "no such manifest"),
        });
    }
    if let Some((_, name)) = rest.rsplit_once("/blobs/") {
        let found = match name.parse::<Digest>() {
            Ok(digest) => shelf.blob(&digest)?,
            Err(_) => None,
        };
        return Ok(match found {
            Some((file, size)) => Answer::File(
                vec![
                    ("Content-Type", "application/octet-stream".to_owned()),
                    ("Docker-Content-Digest", name.to_owned()),
                    ("Accept-Ranges", "bytes".to_owned()),
                ],
                file,
                size,
            ),
            None => error(404, "BLOB_UNKNOWN", "no such blob"),
        });
    }
    if rest.contains("/referrers/") {
        let none = Index::new(Vec::new()).to_json_bytes();
        let kind = MediaType::OciIndex.as_str().to_owned();
        return Ok(Answer::Text(200, vec![("Content-Type", kind)], none));
    }
    Ok(error(404, "UNSUPPORTED", "no such thing"))
}

fn manifest(document: Document) -> Answer {
    let headers = vec![
        (
            "Content-Type",
            document.descriptor.media_type.as_str().to_owned(),
        ),
        (
            "Docker-Content-Digest",
            document.descriptor.digest.to_string(),
        ),
    ];
    Answer::Text(200, headers, document.bytes)
}

/// The part of a sorted list that was asked for, and where the next one is.
fn page(names: Vec<String>, request: &Request) -> (Vec<String>, Vec<(&'static str, String)>) {
    let field = |name: &str| {
        let pair = request.query.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    };
    let after = field("last").unwrap_or_default();
    let mut left: Vec<String> = names
        .into_iter()
        .filter(|name| after.is_empty() || name.as_str() > after)
        .collect();
    let Some(count) = field("n").and_then(|n| n.parse::<usize>().ok()) else {
        return (left, Vec::new());
    };
    let has_more = left.len() > count;
    left.truncate(count);
    let link = left.last().filter(|_| has_more).map(|last| {
        let path = &request.path;
        (
            "Link",
            format!("<{path}?n={count}&last={last}>; rel=\"next\""),
        )
    });
    (left, link.into_iter().collect())
}

fn json(value: &serde_json::Value, mut headers: Vec<(&'static str, String)>) -> Answer {
    headers.push(("Content-Type", "application/json".to_owned()));
    Answer::Text(200, headers, value.to_string().into_bytes())
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let value = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    let headers = vec![("Content-Type", "application/json".to_owned())];
    Answer::Text(status, headers, value.to_string().into_bytes())
}

fn send(request: &Request, answer: Answer, out: &mut TcpStream) -> io::Result<()> {
    let has_body = request.method != "HEAD";
    match answer {
        Answer::Text(status, headers, body) => {
            let length = body.len() as u64;
            let head = Head {
                status,
                headers,
                length,
            };
            head.write(out, request.is_last)?;
            if has_body {
                out.write_all(&body)
            } else {
                Ok(())
            }
        }
        Answer::File(mut headers, mut file, size) => {
            let (start, end) = match request.range {
                None => (0, size),
                Some((first, last)) => {
                    let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                    (first, end)
                }
            };
            if request.range.is_some() && start >= end {
                headers.push(("Content-Range", format!("bytes */{size}")));
                let head = Head {
                    status: 416,
                    headers,
                    length: 0,
                };
                return head.write(out, request.is_last);
            }
            if request.range.is_some() {
                let range = format!("bytes {start}-{}/{size}", end - 1);
                headers.push(("Content-Range", range));
            }
            let head = Head {
                status: if request.range.is_some() { 206 } else { 200 },
                headers,
                length: end - start,
            };
            head.write(out, request.is_last)?;
            if !has_body {
                return Ok(());
            }
            file.seek(SeekFrom::Start(start))?;
            io::copy(&mut file.take(end - start), out).map(|_| ())
        }
    }
}
