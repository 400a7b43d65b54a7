//! HTTP/1.1 as far as a read-only registry needs it: heads of requests in, heads of answers out.

use std::io::{self, BufRead, Read, Write};

const HEAD_MAX: u64 = 32 << 10;

/// A request without a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    /// The first byte that is wanted, and the last.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// Whether the client ends the connection, or sends what is not read.
    pub(crate) is_last: bool,
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
        path: path.to_owned(),
        query: pairs(query),
        range: None,
        is_last: first.trim_end().ends_with("1.0"),
    };
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Ok(None);
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = range(value),
            "connection" => request.is_last |= value.eq_ignore_ascii_case("close"),
            "content-length" => request.is_last |= value != "0",
            "transfer-encoding" => request.is_last = true,
            _ => {}
        }
    }
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
    pub(crate) length: u64,
}

impl Head {
    pub(crate) fn write(&self, out: &mut impl Write, is_last: bool) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            206 => "Partial Content",
            404 => "Not Found",
            405 => "Method Not Allowed",
            416 => "Range Not Satisfiable",
            _ => "Error",
        };
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        text.push_str("Docker-Distribution-Api-Version: registry/2.0\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n", self.length));
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
            is_last: false,
        };
        assert_eq!(request, Some(expected));
        assert!(parsed("GET / HTTP/1.0\r\n\r\n").unwrap().is_last);
        assert!(
            parsed("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
                .unwrap()
                .is_last
        );
        let odd = parsed("GET / HTTP/1.1\r\nRange: bytes=1-2,4-5\r\n\r\n").unwrap();
        assert_eq!(odd.range, None);
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
