//! Answers on their way out, and the words for what is refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::message::{Head, Request};

pub(crate) type Headers = Vec<(&'static str, String)>;

/// An answer on its way.
pub(crate) enum Answer {
    Text(u16, Headers, Vec<u8>),
    File(Headers, File, u64),
}

/// The codes of errors that the distribution spec has, and docker's for what it leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    UploadInvalid,
    UploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Denied,
    Unsupported,
    TooManyRequests,
    PageInvalid,
    Unknown,
}

impl Code {
    /// Its name and the status that goes with it.
    fn told(self) -> (&'static str, u16) {
        match self {
            Self::BlobUnknown => ("BLOB_UNKNOWN", 404),
            Self::UploadInvalid => ("BLOB_UPLOAD_INVALID", 416),
            Self::UploadUnknown => ("BLOB_UPLOAD_UNKNOWN", 404),
            Self::DigestInvalid => ("DIGEST_INVALID", 400),
            Self::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", 404),
            Self::ManifestInvalid => ("MANIFEST_INVALID", 400),
            Self::ManifestUnknown => ("MANIFEST_UNKNOWN", 404),
            Self::NameInvalid => ("NAME_INVALID", 400),
            Self::NameUnknown => ("NAME_UNKNOWN", 404),
            Self::SizeInvalid => ("SIZE_INVALID", 413),
            Self::Denied => ("DENIED", 403),
            Self::Unsupported => ("UNSUPPORTED", 405),
            Self::TooManyRequests => ("TOOMANYREQUESTS", 429),
            Self::PageInvalid => ("PAGINATION_NUMBER_INVALID", 400),
            Self::Unknown => ("UNKNOWN", 500),
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: u16, headers: Headers) -> Answer {
    Answer::Text(status, headers, Vec::new())
}

pub(crate) fn json(value: &serde_json::Value, mut headers: Headers) -> Answer {
    headers.push(("Content-Type", "application/json".to_owned()));
    Answer::Text(200, headers, value.to_string().into_bytes())
}

pub(crate) fn error(code: Code, message: &str) -> Answer {
    error_with(code, message, Vec::new())
}

pub(crate) fn error_with(code: Code, message: &str, mut headers: Headers) -> Answer {
    let (name, status) = code.told();
    let value = serde_json::json!({ "errors": [{ "code": name, "message": message }] });
    headers.push(("Content-Type", "application/json".to_owned()));
    Answer::Text(status, headers, value.to_string().into_bytes())
}

pub(crate) fn send(
    request: &Request,
    answer: Answer,
    is_last: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let has_body = request.method != "HEAD";
    match answer {
        Answer::Text(status, headers, body) => {
            let head = Head {
                status,
                headers,
                length: (status != 204).then_some(body.len() as u64),
            };
            head.write(out, is_last)?;
            if has_body {
                out.write_all(&body)
            } else {
                Ok(())
            }
        }
        Answer::File(headers, file, size) => send_file(request, headers, file, size, is_last, out),
    }
}

fn send_file(
    request: &Request,
    mut headers: Headers,
    mut file: File,
    size: u64,
    is_last: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let (start, end) = match request.range {
        None => (0, size),
        Some((first, last)) => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            (first, end)
        }
    };
    let mut head = Head {
        status: 200,
        headers: Vec::new(),
        length: Some(end.saturating_sub(start)),
    };
    if request.range.is_some() && start >= end {
        headers.push(("Content-Range", format!("bytes */{size}")));
        head.status = 416;
        head.length = Some(0);
        head.headers = headers;
        return head.write(out, is_last);
    }
    if request.range.is_some() {
        headers.push(("Content-Range", format!("bytes {start}-{}/{size}", end - 1)));
        head.status = 206;
    }
    head.headers = headers;
    head.write(out, is_last)?;
    if request.method == "HEAD" {
        return Ok(());
    }
    file.seek(SeekFrom::Start(start))?;
    io::copy(&mut file.take(end - start), out).map(|_| ())
}
