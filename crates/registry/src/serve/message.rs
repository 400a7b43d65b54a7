//! HTTP/1.1 as far as a registry needs it: heads of requests in, heads of answers out.

use std::io::{self, BufRead, Read, Write};

const HEAD_MAX: u64 = 32 << 10;

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    /// The first byte that is wanted, and the last.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// How the bytes that follow are counted.
    pub(crate) framing: Framing,
    /// What those bytes are.
    pub(crate) content_type: Option<String>,
    /// Which part of an upload they are.
    pub(crate) content_range: Option<String>,
    /// Whether the client waits for a word before it sends them.
    pub(crate) awaits_continue: bool,
    /// Whether a page in a browser sends it.
    pub(crate) is_of_page: bool,
    /// Whether the client ends the connection.
    pub(crate) is_last: bool,
}

/// How the bytes after a head are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl Request {
    /// A field of the query.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// All values of a field that may stand in the query more than once.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.query.iter().filter(move |(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str())
    }
}

/// Reads a request; `None` where the connection ended or something else is spoken.
pub(crate) fn read(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = input.take(HEAD_MAX);
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0")) =
        (words.next(), words.next(), words.next())
    else {
        return Ok(None);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: decoded(path),
        query: pairs(query),
        range: None,
        framing: Framing::Length(0),
        content_type: None,
        content_range: None,
        awaits_continue: false,
        is_of_page: false,
        is_last: first.trim_end().ends_with("1.0"),
    };
    let mut length = None;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            // Two counts of one body are how a second request is hidden in the first.
            let is_double = length.is_some() && request.framing == Framing::Chunked;
            if let Some(length) = length {
                request.framing = Framing::Length(length);
            }
            return Ok((!is_double).then_some(request));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Ok(None);
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = range(value),
            "connection" => request.is_last |= value.eq_ignore_ascii_case("close"),
            "content-length" => match value.parse() {
                Ok(count) if length.is_none_or(|known| known == count) => length = Some(count),
                _ => return Ok(None),
            },
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                request.framing = Framing::Chunked;
            }
            "transfer-encoding" => return Ok(None),
            "content-type" => request.content_type = Some(value.to_owned()),
            "content-range" => request.content_range = Some(value.to_owned()),
            "expect" => request.awaits_continue = value.eq_ignore_ascii_case("100-continue"),
            "origin" => request.is_of_page = true,
            _ => {}
        }
    }
}

/// A path without its `%3A`s; one that is no text then stays as it is, and leads nowhere.
fn decoded(path: &str) -> String {
    if !path.contains('%') {
        return path.to_owned();
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let Some((&byte, rest)) = left.split_first() {
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match code.filter(|_| byte == b'%') {
            Some(code) => {
                bytes.push(code);
                left = &rest[2..];
            }
            None => {
                bytes.push(byte);
                left = rest;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).ok();
    let pairs = url.iter().flat_map(|url| url.query_pairs());
    pairs
        .map(|(n, v)| (n.into_owned(), v.into_owned()))
        .collect()
}

/// One range of bytes; several at once are answered with the whole.
fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let last = match last {
        "" => None,
        last => Some(last.parse().ok()?),
    };
    Some((first.parse().ok()?, last))
}

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// How many bytes follow; `None` where no answer of this status has any.
    pub(crate) length: Option<u64>,
}

impl Head {
    pub(crate) fn write(&self, out: &mut impl Write, is_last: bool) -> io::Result<()> {
        let status = reqwest::StatusCode::from_u16(self.status).ok();
        let reason = status.and_then(|status| status.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Error"));
        text.push_str("Docker-Distribution-Api-Version: registry/2.0\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = self.length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        if is_last {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Request> {
        read(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn heads_are_read() {
        let request = parsed(
            "GET /v2/a/tags/list?n=2&last=x%2By HTTP/1.1\r\nHost: h\r\nrange: bytes=5-9\r\n\r\n",
        );
        let expected = Request {
            method: "GET".into(),
            path: "/v2/a/tags/list".into(),
            query: vec![("n".into(), "2".into()), ("last".into(), "x+y".into())],
            range: Some((5, Some(9))),
            framing: Framing::Length(0),
            content_type: None,
            content_range: None,
            awaits_continue: false,
            is_of_page: false,
            is_last: false,
        };
        assert_eq!(request, Some(expected));
        assert!(parsed("GET / HTTP/1.0\r\n\r\n").unwrap().is_last);
        let odd = parsed("GET / HTTP/1.1\r\nRange: bytes=1-2,4-5\r\n\r\n").unwrap();
        assert_eq!(odd.range, None);
        let escaped = parsed("GET /a%3Ab%zz%ff HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(escaped.path, "/a%3Ab%zz%ff", "no text");
        let escaped = parsed("GET /a%3Ab%z HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(escaped.path, "/a:b%z");
    }

    #[test]
    fn bodies_are_told() {
        let framing = |headers: &str| {
            let request = parsed(&format!("PUT / HTTP/1.1\r\n{headers}\r\n"));
            request.map(|request| request.framing)
        };
        assert_eq!(framing("Content-Length: 3\r\n"), Some(Framing::Length(3)));
        assert_eq!(
            framing("Transfer-Encoding: chunked\r\n"),
            Some(Framing::Chunked)
        );
        for unclear in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: -3\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            assert_eq!(framing(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn nonsense_is_no_request() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        for text in [
            "",
            "GET",
            "\x16\x03\x01",
            "GET / HTTP/1.1\r\nnonsense\r\n\r\n",
            &long,
        ] {
            assert_eq!(parsed(text), None);
        }
    }
}
