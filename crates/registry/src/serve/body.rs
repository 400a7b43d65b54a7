//! The bytes after the head of a request: counted, or in chunks.

use std::io::{self, BufRead, Read, Write};

use super::message::{Framing, Request};

/// The longest line of a chunk's size or of a trailer.
const LINE_MAX: u64 = 4 << 10;
/// The most lines after the last chunk.
const TRAILERS_MAX: usize = 64;

/// A body that is read as far as it goes, and not a byte further.
pub(crate) struct Body<'a> {
    input: &'a mut dyn BufRead,
    /// Who is told to go on, where the client waits for that.
    waiting: Option<&'a mut dyn Write>,
    framing: Framing,
    /// Bytes of the body, or of the chunk, that are still to come.
    left: u64,
    is_begun: bool,
    is_whole: bool,
}

impl<'a> Body<'a> {
    pub(crate) fn new(
        request: &Request,
        input: &'a mut dyn BufRead,
        out: &'a mut dyn Write,
    ) -> Self {
        let left = match request.framing {
            Framing::Length(count) => count,
            Framing::Chunked => 0,
        };
        Self {
            input,
            waiting: request.awaits_continue.then_some(out),
            framing: request.framing,
            left,
            is_begun: false,
            is_whole: request.framing == Framing::Length(0),
        }
    }

    /// How many bytes it has, where that was said.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(count) => Some(count),
            Framing::Chunked => None,
        }
    }

    /// Whether all of it was read, so that the next request follows.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the client still waits for the word to send it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.is_some() && !self.is_whole
    }

    fn begin_chunk(&mut self) -> io::Result<()> {
        if self.is_begun {
            // The line's end after the chunk before.
            self.line()?;
        }
        self.is_begun = true;
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "no size of a chunk");
        self.left = u64::from_str_radix(digits, 16).map_err(wrong)?;
        if self.left == 0 {
            for _ in 0..TRAILERS_MAX {
                if self.line()?.is_empty() {
                    self.is_whole = true;
                    return Ok(());
                }
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no end"));
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.input.take(LINE_MAX).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(waiting) = self.waiting.take() {
            waiting.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if self.left == 0 && !self.is_whole && self.framing == Framing::Chunked {
            self.begin_chunk()?;
        }
        if self.is_whole || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.input.take(self.left).read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.is_whole = self.left == 0 && self.framing != Framing::Chunked;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::message;

    /// The body of a request, and what is left after it.
    fn read(headers: &str, rest: &str) -> (io::Result<Vec<u8>>, String, String) {
        let head = format!("PUT / HTTP/1.1\r\n{headers}\r\n\r\n");
        let request = message::read(&mut head.as_bytes()).unwrap().unwrap();
        let (mut input, mut out, mut bytes) = (rest.as_bytes(), Vec::new(), Vec::new());
        let read = Body::new(&request, &mut input, &mut out).read_to_end(&mut bytes);
        let said = String::from_utf8(out).unwrap();
        let left = String::from_utf8(input.to_vec()).unwrap();
        (read.map(|_| bytes), left, said)
    }

    #[test]
    fn a_body_ends_where_it_says() {
        let (bytes, left, said) = read("Content-Length: 3", "abcGET");
        assert_eq!((&bytes.unwrap()[..], &left[..]), (&b"abc"[..], "GET"));
        assert_eq!(said, "");
        let chunks = "3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\nGET";
        let (bytes, left, _) = read("Transfer-Encoding: chunked", chunks);
        assert_eq!((&bytes.unwrap()[..], &left[..]), (&b"abcd"[..], "GET"));
        let (bytes, _, said) = read("Content-Length: 1\r\nExpect: 100-continue", "a");
        assert_eq!(bytes.unwrap(), b"a");
        assert!(said.starts_with("HTTP/1.1 100"), "{said}");
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error() {
        assert!(read("Content-Length: 3", "ab").0.is_err());
        for chunks in ["3\r\nab", "3\r\nabc\r\n", "x\r\n", "", "0\r\n", "-1\r\n"] {
            let (bytes, ..) = read("Transfer-Encoding: chunked", chunks);
            assert!(bytes.is_err(), "{chunks}");
        }
    }
}
