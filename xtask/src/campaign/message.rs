//! HTTP messages as a proxy needs them: a first line, headers, a body that is read whole.

use std::io::{self, BufRead, Read, Write};

/// No body of a campaign is larger.
const BODY_MAX: u64 = 64 << 20;

/// A request or an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    /// The first line, without its end.
    pub(super) first: String,
    /// The headers as they came.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Reads the first line and the headers; `None` where there is no HTTP.
    pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        // What a TLS client says first has no lines.
        if !reader
            .fill_buf()?
            .first()
            .is_some_and(u8::is_ascii_uppercase)
        {
            return Ok(None);
        }
        let mut first = Vec::new();
        reader.take(8192).read_until(b'\n', &mut first)?;
        let Ok(first) = String::from_utf8(first) else {
            return Ok(None);
        };
        if !first.contains("HTTP/1.") {
            return Ok(None);
        }
        let mut message = Self {
            first: first.trim_end().to_owned(),
            ..Self::default()
        };
        loop {
            let mut line = String::new();
            reader.take(65536).read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Some(message));
            };
            let pair = (name.trim().to_owned(), value.trim().to_owned());
            message.headers.push(pair);
        }
    }

    /// Reads the body. `ends_with_connection` says what holds where nothing tells a length.
    pub(super) fn read_body(
        &mut self,
        reader: &mut impl BufRead,
        ends_with_connection: bool,
    ) -> io::Result<()> {
        if let Some(length) = self.header("content-length") {
            let length = length.parse::<u64>().unwrap_or(0).min(BODY_MAX);
            reader.take(length).read_to_end(&mut self.body)?;
            return match self.body.len() as u64 == length {
                true => Ok(()),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let is_chunked = self.header("transfer-encoding") == Some("chunked");
        match (is_chunked, ends_with_connection) {
            (true, _) => self.read_chunks(reader),
            (false, true) => reader
                .take(BODY_MAX)
                .read_to_end(&mut self.body)
                .map(|_| ()),
            (false, false) => Ok(()),
        }
    }

    fn read_chunks(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        loop {
            let mut line = String::new();
            reader.take(256).read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16);
            let length = length.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            reader
                .take(length.min(BODY_MAX))
                .read_to_end(&mut self.body)?;
            let mut end = String::new();
            reader.take(256).read_line(&mut end)?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// A header, by its name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Method and path of a request.
    pub(super) fn target(&self) -> (&str, &str) {
        let mut words = self.first.split(' ');
        (words.next().unwrap_or(""), words.next().unwrap_or(""))
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> u16 {
        let status = self.first.split(' ').nth(1);
        status.and_then(|it| it.parse().ok()).unwrap_or(0)
    }

    /// Writes it for a connection that ends with it; `told` is the length that is said.
    pub(super) fn write(&self, out: &mut impl Write, told: Option<usize>) -> io::Result<u64> {
        let mut head = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            let is_ours = ["connection", "transfer-encoding"].contains(&lower.as_str())
                || (told.is_some() && lower == "content-length");
            if !is_ours {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        if let Some(told) = told {
            head.push_str(&format!("Content-Length: {told}\r\n"));
        }
        head.push_str("Connection: close\r\n\r\n");
        out.write_all(head.as_bytes())?;
        out.write_all(&self.body)?;
        out.flush()?;
        Ok((head.len() + self.body.len()) as u64)
    }
}
