//! The store's side of the protocol, asked byte by byte.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_oci::{Descriptor, Digest, MediaType};
use cairn_registry::Document;
use cairn_registry::serve::{Server, Shelf, ShelfError};

struct Little {
    place: tempfile::TempDir,
}

const BLOB: &[u8] = b"0123456789";

impl Shelf for Little {
    fn repositories(&self) -> Result<Vec<String>, ShelfError> {
        Ok(vec!["a".into(), "b".into(), "lab/c".into()])
    }

    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, ShelfError> {
        Ok((repository == "lab/c").then(|| vec!["1".into(), "2".into(), "3".into()]))
    }

    fn by_tag(&self, repository: &str, tag: &str) -> Result<Option<Document>, ShelfError> {
        match (repository, tag) {
            ("lab/c", "1") => self.by_digest(repository, &Digest::sha256(b"{}")),
            ("lab/c", "broken") => Err("the disk is gone".into()),
            _ => Ok(None),
        }
    }

    fn by_digest(&self, _: &str, digest: &Digest) -> Result<Option<Document>, ShelfError> {
        let document = Document {
            descriptor: Descriptor::of(MediaType::OciManifest, b"{}"),
            bytes: b"{}".to_vec(),
        };
        Ok((document.descriptor.digest == *digest).then_some(document))
    }

    fn blob(&self, _: &str, digest: &Digest) -> Result<Option<(File, u64)>, ShelfError> {
        if *digest != Digest::sha256(BLOB) {
            return Ok(None);
        }
        let path = self.place.path().join("blob");
        std::fs::write(&path, BLOB)?;
        Ok(Some((File::open(path)?, BLOB.len() as u64)))
    }

    fn referrers(&self, _: &str, _: &Digest) -> Result<Vec<Descriptor>, ShelfError> {
        Ok(Vec::new())
    }
}

/// Sends requests over one connection and gives all that came back.
fn asked(requests: &[(&str, &str, &str)]) -> String {
    let shelf = Little {
        place: tempfile::tempdir().unwrap(),
    };
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| server.run(&shelf, None, &|| is_over.load(Ordering::SeqCst), &|_| {}));
        let mut stream = TcpStream::connect(server.address()).unwrap();
        for (method, path, header) in requests {
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: h\r\n{header}\r\n"
            )
            .unwrap();
        }
        write!(stream, "GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        is_over.store(true, Ordering::SeqCst);
        said
    })
}

#[track_caller]
fn check(method: &str, path: &str, header: &str, status: &str, parts: &[&str]) {
    let said = asked(&[(method, path, header)]);
    assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
    for part in parts {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
}

#[test]
fn what_is_there_is_given() {
    let manifest = Digest::sha256(b"{}");
    check(
        "GET",
        "/v2/_catalog",
        "",
        "200",
        &["{\"repositories\":[\"a\",\"b\",\"lab/c\"]}"],
    );
    check(
        "GET",
        "/v2/lab/c/tags/list",
        "",
        "200",
        &["[\"1\",\"2\",\"3\"]"],
    );
    check(
        "GET",
        "/v2/lab/c/tags/list?n=1&last=1",
        "",
        "200",
        &[
            "[\"2\"]",
            "Link: </v2/lab/c/tags/list?n=1&last=2>; rel=\"next\"",
        ],
    );
    let digest = format!("Docker-Content-Digest: {manifest}");
    let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
    for path in [
        "/v2/lab/c/manifests/1".to_owned(),
        format!("/v2/x/manifests/{manifest}"),
    ] {
        check("GET", &path, "", "200", &[&digest, kind, "\r\n\r\n{}"]);
        check(
            "HEAD",
            &path,
            "",
            "200",
            &[&digest, "Content-Length: 2\r\n\r\nHTTP"],
        );
    }
    let referrers = format!("/v2/lab/c/referrers/{manifest}");
    check("GET", &referrers, "", "200", &["\"manifests\":[]"]);
}

#[test]
fn blobs_are_given_whole_or_in_part() {
    let path = format!("/v2/a/blobs/{}", Digest::sha256(BLOB));
    check("GET", &path, "", "200", &["\r\n\r\n0123456789HTTP"]);
    let part = ["Content-Range: bytes 4-9/10", "\r\n\r\n456789HTTP"];
    check("GET", &path, "Range: bytes=4-\r\n", "206", &part);
    let inner = ["Content-Range: bytes 4-5/10", "\r\n\r\n45HTTP"];
    check("GET", &path, "Range: bytes=4-5\r\n", "206", &inner);
    check("GET", &path, "Range: bytes=10-\r\n", "416", &["bytes */10"]);
    check("HEAD", &path, "", "200", &["Content-Length: 10"]);
}

#[test]
fn what_is_not_there_or_not_allowed_says_so() {
    let absent = Digest::sha256(b"absent");
    check("GET", "/v2/none/tags/list", "", "404", &["NAME_UNKNOWN"]);
    check(
        "GET",
        "/v2/lab/c/manifests/9",
        "",
        "404",
        &["MANIFEST_UNKNOWN"],
    );
    check(
        "GET",
        &format!("/v2/a/blobs/{absent}"),
        "",
        "404",
        &["BLOB_UNKNOWN"],
    );
    check(
        "GET",
        "/v2/a/blobs/sha256:../../etc",
        "",
        "404",
        &["BLOB_UNKNOWN"],
    );
    check("GET", "/", "", "404", &[]);
    check("POST", "/v2/a/blobs/uploads/", "", "405", &["read-only"]);
    let said = asked(&[("GET", "/v2/lab/c/manifests/broken", "")]);
    assert!(
        said.starts_with("HTTP/1.1 500") && !said.contains("disk"),
        "{said}"
    );
}

#[test]
fn only_this_machine_is_served() {
    let error = Server::bind("0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("only addresses of this machine"));
}
