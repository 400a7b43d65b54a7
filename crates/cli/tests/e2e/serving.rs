//! `cairn serve --registry --allow-push`: what the distribution spec asks of a registry.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Child;

use cairn_oci::{Descriptor, Digest, Index, Manifest};
use cairn_testkit::needs;

use crate::registries::skopeo;
use crate::workshop::Workshop;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A server of a store, ended with the test.
pub(crate) struct Serving {
    process: Child,
    host: String,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Serving {
    pub(crate) fn start(workshop: &Workshop, more: &[&str]) -> Self {
        let arguments = ["serve", "--registry", "--address", "127.0.0.1:0"];
        let mut process = workshop
            .command(&[&arguments, more].concat())
            .spawn()
            .unwrap();
        let mut host = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut host).unwrap();
        Self {
            process,
            host: host.trim().to_owned(),
        }
    }

    /// Where it listens.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        let is_counted = !headers.iter().any(|header| header.contains("chunked"));
        if is_counted && (!body.is_empty() || method != "GET") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        stream.write_all(body).unwrap();
        answer(stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// Begins an upload; gives its place.
    pub(crate) fn begin(&self, repository: &str) -> String {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.ask("POST", &path, &[], b"").is(202);
        begun.header("location").to_owned()
    }

    /// Uploads a blob in one piece.
    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let place = format!("{}?digest={digest}", self.begin(repository));
        let put = self.ask("PUT", &place, &[], bytes).is(201);
        assert_eq!(
            put.header("location"),
            format!("/v2/{repository}/blobs/{digest}")
        );
        digest
    }

    pub(crate) fn put_manifest(&self, path: &str, kind: &str, bytes: &[u8]) -> Answer {
        let kind = format!("Content-Type: {kind}");
        self.ask("PUT", path, &[&kind], bytes)
    }

    pub(crate) fn stop(mut self) {
        let id = self.process.id().to_string();
        let told = std::process::Command::new("kill").arg(&id).status();
        assert!(told.unwrap().success());
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(stream: TcpStream) -> Answer {
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_default().parse();
    let status = status.unwrap_or_else(|_| panic!("no answer: `{line}`"));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    input.read_to_end(&mut body).unwrap();
    Answer {
        status,
        headers,
        body,
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{:?} {body}", self.headers);
        self
    }

    /// An error of the spec's form.
    #[track_caller]
    pub(crate) fn says(self, status: u16, code: &str) {
        let answer = self.is(status);
        let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(value["errors"][0]["code"], code, "{value}");
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.unwrap_or_else(|| panic!("no {name}: {:?}", self.headers))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) fn pushable() -> (Workshop, Serving) {
    let workshop = Workshop::empty();
    let serving = Serving::start(&workshop, &["--allow-push"]);
    (workshop, serving)
}

/// An image manifest over blobs, printed as nobody prints them.
fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let config = Descriptor::of("application/vnd.oci.image.config.v1+json", config);
    let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", layer);
    let manifest = Manifest::new(config, vec![layer]);
    let value: serde_json::Value = serde_json::from_slice(&manifest.to_json_bytes()).unwrap();
    serde_json::to_vec_pretty(&value).unwrap()
}

/// Puts a small image and gives its manifest.
fn image(serving: &Serving, repository: &str, tags: &[&str]) -> Vec<u8> {
    serving.put_blob(repository, b"{}");
    serving.put_blob(repository, b"layer");
    let bytes = manifest(b"{}", b"layer");
    for tag in tags {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let put = serving.put_manifest(&path, MANIFEST, &bytes).is(201);
        let digest = Digest::sha256(&bytes);
        assert_eq!(put.header("docker-content-digest"), digest.as_str());
        assert_eq!(
            put.header("location"),
            format!("/v2/{repository}/manifests/{digest}")
        );
    }
    bytes
}

#[test]
fn blobs_are_uploaded_in_every_way() {
    let (_workshop, serving) = pushable();
    let (bytes, digest) = (b"0123456789", Digest::sha256(b"0123456789"));
    let blob = format!("/v2/lab/a/blobs/{digest}");
    serving.get(&blob).says(404, "BLOB_UNKNOWN");
    serving.ask("HEAD", &blob, &[], b"").is(404);

    // Streamed, in chunks of HTTP, closed by a PUT without bytes.
    let place = serving.begin("lab/a");
    let chunks = b"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n";
    let patched = serving.ask("PATCH", &place, &["Transfer-Encoding: chunked"], chunks);
    assert_eq!(patched.is(202).header("range"), "0-9");
    serving
        .ask("PUT", &format!("{place}?digest={digest}"), &[], b"")
        .is(201);
    let got = serving.get(&blob).is(200);
    assert_eq!(got.body, bytes);
    assert_eq!(got.header("docker-content-digest"), digest.as_str());
    let got = serving
        .ask("GET", &blob, &["Range: bytes=2-4"], b"")
        .is(206);
    assert_eq!(
        (&got.body[..], got.header("content-range")),
        (&b"234"[..], "bytes 2-4/10")
    );
    let got = serving.ask("HEAD", &blob, &[], b"").is(200);
    assert_eq!((got.header("content-length"), got.body.len()), ("10", 0));

    // In one POST, and by SHA-512.
    let path = format!("/v2/lab/a/blobs/uploads/?digest={}", Digest::sha256(b"x"));
    serving.ask("POST", &path, &[], b"x").is(201);
    let long = "a4abd4448c49562d828115d13a1fccea927f52b4d5459297f8b43e42da89238bc13626e43dcb38ddb082488927ec904fb42057443983e88585179d50551afe62";
    let path = format!("/v2/lab/a/blobs/uploads/?digest=sha512:{long}");
    serving.ask("POST", &path, &[], b"x").is(201);
    let got = serving
        .get(&format!("/v2/lab/a/blobs/sha512:{long}"))
        .is(200);
    assert_eq!(got.body, b"x");
    let path = "/v2/lab/a/blobs/uploads/?digest=md5:d41d8cd98f00b204e9800998ecf8427e";
    serving
        .ask("POST", path, &[], b"x")
        .says(400, "DIGEST_INVALID");

    // In pieces; one out of order, and one sent twice, are refused, and it goes on.
    let place = serving.begin("lab/a");
    let late = serving.ask("PATCH", &place, &["Content-Range: 3-9"], &bytes[3..]);
    late.says(416, "BLOB_UPLOAD_INVALID");
    let patch = || serving.ask("PATCH", &place, &["Content-Range: 0-2"], &bytes[..3]);
    assert_eq!(patch().is(202).header("range"), "0-2");
    assert_eq!(patch().is(416).header("range"), "0-2");
    let status = serving.get(&place).is(204);
    assert_eq!(
        (status.header("range"), status.header("location")),
        ("0-2", &place[..])
    );
    serving
        .ask("PATCH", &place, &["Content-Range: 3-5"], &bytes[3..6])
        .is(202);
    let last = format!("{place}?digest={digest}");
    let put = serving.ask("PUT", &last, &["Content-Range: 5-9"], &bytes[5..]);
    put.says(416, "BLOB_UPLOAD_INVALID");
    serving
        .ask("PUT", &last, &["Content-Range: 6-9"], &bytes[6..])
        .is(201);
    serving
        .ask("PUT", &last, &[], b"")
        .says(404, "BLOB_UPLOAD_UNKNOWN");

    // Wrong bytes are nobody's; a cancelled upload is gone.
    let place = serving.begin("lab/a");
    let wrong = format!("{place}?digest={}", Digest::sha256(b"right"));
    serving
        .ask("PUT", &wrong, &[], b"wrong")
        .says(400, "DIGEST_INVALID");
    let blob = format!("/v2/lab/a/blobs/{}", Digest::sha256(b"wrong"));
    serving.get(&blob).is(404);
    let place = serving.begin("lab/a");
    serving
        .ask("PUT", &place, &[], b"x")
        .says(400, "DIGEST_INVALID");
    serving.get(&place.replace("lab/a", "lab/b")).is(404);
    serving.ask("DELETE", &place, &[], b"").is(204);
    serving.get(&place).says(404, "BLOB_UPLOAD_UNKNOWN");
    serving
        .ask("POST", "/v2/Lab/blobs/uploads/", &[], b"")
        .says(400, "NAME_INVALID");
}

#[test]
fn an_upload_that_broke_off_goes_on() {
    let (_workshop, serving) = pushable();
    let place = serving.begin("a");
    let mut stream = TcpStream::connect(&serving.host).unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nContent-Length: 10\r\n\r\n01234");
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    // The server notices the end on its own time.
    while serving.get(&place).is(204).header("range") != "0-4" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let digest = Digest::sha256(b"0123456789");
    let last = format!("{place}?digest={digest}");
    serving
        .ask("PUT", &last, &["Content-Range: 5-9"], b"56789")
        .is(201);
    let got = serving.get(&format!("/v2/a/blobs/{digest}"));
    assert_eq!(got.is(200).body, b"0123456789");

    // A client that waits for a word gets it, or the refusal.
    let place = serving.begin("a");
    let mut stream = TcpStream::connect(&serving.host).unwrap();
    let head =
        format!("PATCH {place} HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"x").unwrap();
    assert_eq!(answer_and_close(stream).is(202).header("range"), "0-0");
    let gone = place.replace("/uploads/", "/uploads/0");
    let awaiting = ["Expect: 100-continue"];
    serving.ask("PATCH", &gone, &awaiting, b"").is(404);
}

/// The answer of a connection that would stay open.
fn answer_and_close(stream: TcpStream) -> Answer {
    stream.shutdown(Shutdown::Write).unwrap();
    answer(stream)
}

#[test]
fn blobs_are_mounted_from_other_repositories() {
    let (_workshop, serving) = pushable();
    let digest = serving.put_blob("a", b"shared");
    let mount = |query: &str| {
        let path = format!("/v2/b/blobs/uploads/?mount={query}");
        serving.ask("POST", &path, &[], b"")
    };
    let absent = Digest::sha256(b"absent");
    for query in [
        format!("{digest}"),
        format!("{digest}&from=c"),
        format!("{absent}&from=a"),
    ] {
        let begun = mount(&query).is(202);
        assert!(begun.header("location").starts_with("/v2/b/blobs/uploads/"));
    }
    serving.get(&format!("/v2/b/blobs/{digest}")).is(404);
    let mounted = mount(&format!("{digest}&from=a")).is(201);
    let place = mounted.header("location").to_owned();
    assert_eq!(place, format!("/v2/b/blobs/{digest}"));
    assert_eq!(serving.get(&place).is(200).body, b"shared");
    serving
        .ask("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"")
        .is(202);
    serving.get(&format!("/v2/a/blobs/{digest}")).is(404);
    serving.get(&place).is(200);
}

#[test]
fn manifests_are_put_listed_and_deleted() {
    let (workshop, serving) = pushable();
    serving
        .get("/v2/lab/a/manifests/.INVALID")
        .says(404, "NAME_UNKNOWN");
    serving.get("/v2/lab/a/tags/list").says(404, "NAME_UNKNOWN");
    let bytes = manifest(b"{}", b"layer");
    let put = |name: &str, kind: &str, bytes: &[u8]| {
        serving.put_manifest(&format!("/v2/lab/a/manifests/{name}"), kind, bytes)
    };
    put("1", MANIFEST, &bytes).says(404, "MANIFEST_BLOB_UNKNOWN");
    put("sha256:totallywrong", MANIFEST, b"blablabla").says(400, "DIGEST_INVALID");
    put("1", MANIFEST, b"blablabla").says(400, "MANIFEST_INVALID");
    put("1", INDEX, &bytes).says(400, "MANIFEST_INVALID");
    put(".1", MANIFEST, &bytes).says(400, "MANIFEST_INVALID");
    put("1", MANIFEST, &vec![b' '; (4 << 20) + 1]).says(413, "SIZE_INVALID");

    let bytes = image(&serving, "lab/a", &["test3", "test0", "test2", "test1"]);
    let digest = Digest::sha256(&bytes);
    put(Digest::sha256(b"other").as_str(), MANIFEST, &bytes).says(400, "DIGEST_INVALID");
    for name in ["test0", digest.as_str()] {
        let got = serving.get(&format!("/v2/lab/a/manifests/{name}")).is(200);
        assert_eq!(got.body, bytes, "the very bytes");
        assert_eq!(got.header("content-type"), MANIFEST);
        assert_eq!(got.header("docker-content-digest"), digest.as_str());
    }
    serving
        .get("/v2/lab/a/manifests/.INVALID")
        .says(404, "MANIFEST_UNKNOWN");
    serving
        .get(&format!("/v2/lab/b/manifests/{digest}"))
        .is(404);
    put("odd", "application/vnd.lab.odd+json", b"{}").is(201);
    let odd = serving.get("/v2/lab/a/manifests/odd").is(200);
    assert_eq!(odd.header("content-type"), "application/vnd.lab.odd+json");
    let parts = vec![Descriptor::new(
        MANIFEST,
        digest.clone(),
        bytes.len() as u64,
    )];
    put("many", INDEX, &Index::new(parts).to_json_bytes()).is(201);
    let parts = vec![Descriptor::of(MANIFEST, b"nowhere")];
    put("many", INDEX, &Index::new(parts).to_json_bytes()).says(404, "MANIFEST_BLOB_UNKNOWN");

    let tags = |query: &str| serving.get(&format!("/v2/lab/a/tags/list{query}")).is(200);
    let all = ["many", "odd", "test0", "test1", "test2", "test3"];
    assert_eq!(
        tags("").json(),
        serde_json::json!({"name": "lab/a", "tags": all})
    );
    let two = tags("?n=2");
    assert_eq!(two.json()["tags"], serde_json::json!(all[..2]));
    assert_eq!(
        two.header("link"),
        "</v2/lab/a/tags/list?n=2&last=odd>; rel=\"next\""
    );
    let last = tags("?n=2&last=test1");
    assert_eq!(last.json()["tags"], serde_json::json!(all[4..]));
    assert!(!last.headers.contains_key("link"));
    assert_eq!(tags("?n=0").json()["tags"], serde_json::json!([]));
    serving.get("/v2/lab/a/tags/list?n=many").is(400);

    // What was pushed outlives the server.
    serving.stop();
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let delete = |path: &str| serving.ask("DELETE", &format!("/v2/lab/a/{path}"), &[], b"");
    delete("manifests/test0").is(202);
    delete("manifests/test0").says(404, "MANIFEST_UNKNOWN");
    serving
        .get(&format!("/v2/lab/a/manifests/{digest}"))
        .is(200);
    delete(&format!("manifests/{digest}")).is(202);
    delete(&format!("manifests/{digest}")).says(404, "MANIFEST_UNKNOWN");
    serving.get("/v2/lab/a/manifests/test1").is(404);
    let left = serving.get("/v2/lab/a/tags/list").is(200).json();
    assert_eq!(left["tags"], serde_json::json!(["many", "odd"]));
    let blob = format!("blobs/{}", Digest::sha256(b"layer"));
    delete(&blob).is(202);
    delete(&blob).says(404, "BLOB_UNKNOWN");
    serving.get(&format!("/v2/lab/a/{blob}")).is(404);
    delete("tags/list").says(405, "UNSUPPORTED");
}

#[test]
fn what_refers_to_a_manifest_is_told() {
    let (_workshop, serving) = pushable();
    let bytes = image(&serving, "a", &["1"]);
    let subject = Descriptor::of(MANIFEST, &bytes);
    let path = format!("/v2/a/referrers/{}", subject.digest);
    let none = serving.get(&path).is(200);
    assert_eq!(none.header("content-type"), INDEX);
    assert_eq!(none.json()["manifests"], serde_json::json!([]));
    serving
        .get("/v2/a/referrers/nonsense")
        .says(400, "DIGEST_INVALID");

    let put = |kind: &str, bytes: &[u8]| {
        let path = format!("/v2/a/manifests/{}", Digest::sha256(bytes));
        let put = serving.put_manifest(&path, kind, bytes).is(201);
        assert_eq!(put.header("oci-subject"), subject.digest.as_str());
    };
    // Of a kind by its config, by its own word, and an index.
    let mut by_config = Manifest::new(Descriptor::of("lab/report", b"{}"), vec![]);
    by_config.subject = Some(subject.clone());
    by_config.annotations.insert("k".into(), "v".into());
    put(MANIFEST, &by_config.to_json_bytes());
    let mut by_word = Manifest::new(
        Descriptor::of("application/vnd.oci.empty.v1+json", b"{}"),
        vec![],
    );
    by_word.subject = Some(subject.clone());
    by_word.artifact_type = Some("lab/signature".into());
    put(MANIFEST, &by_word.to_json_bytes());
    let mut index = Index::new(vec![]);
    index.subject = Some(subject.clone());
    index.artifact_type = Some("lab/report".into());
    put(INDEX, &index.to_json_bytes());

    let all = serving.get(&path).is(200);
    let all = Index::from_json_bytes(&all.body).unwrap().manifests;
    assert_eq!(all.len(), 3);
    assert!(
        all.iter()
            .any(|one| one.annotations.get("k").is_some_and(|v| v == "v"))
    );
    let some = serving
        .get(&format!("{path}?artifactType=lab/report"))
        .is(200);
    assert_eq!(some.header("oci-filters-applied"), "artifactType");
    let some = Index::from_json_bytes(&some.body).unwrap().manifests;
    assert_eq!(some.len(), 2);

    // What refers to something that is not there is found all the same.
    let absent = Descriptor::of(MANIFEST, b"absent");
    let mut early = Manifest::new(Descriptor::of("lab/report", b"{}"), vec![]);
    early.subject = Some(absent.clone());
    let early = early.to_json_bytes();
    serving
        .put_manifest("/v2/a/manifests/early", MANIFEST, &early)
        .is(201);
    let found = serving
        .get(&format!("/v2/a/referrers/{}", absent.digest))
        .is(200);
    let found = Index::from_json_bytes(&found.body).unwrap().manifests;
    assert_eq!(found[0].digest, Digest::sha256(&early));
}

#[test]
fn images_of_the_store_are_read_and_not_written() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let got = serving.get("/v2/base/manifests/latest").is(200);
    let digest = got.header("docker-content-digest").to_owned();
    let put = serving.put_manifest("/v2/base/manifests/latest", MANIFEST, &got.body);
    put.says(403, "DENIED");
    let layer = Manifest::from_json_bytes(&got.body)
        .unwrap()
        .layers
        .remove(0)
        .digest;
    for path in [
        "manifests/latest",
        &format!("manifests/{digest}"),
        &format!("blobs/{layer}"),
    ] {
        let gone = serving.ask("DELETE", &format!("/v2/base/{path}"), &[], b"");
        gone.says(405, "UNSUPPORTED");
    }
    // What lies in an image need not be sent again.
    let path = format!("/v2/lab/x/blobs/uploads/?mount={layer}&from=base");
    serving.ask("POST", &path, &[], b"").is(201);
    let page = ["Origin: http://evil.example"];
    serving
        .ask("POST", "/v2/lab/x/blobs/uploads/", &page, b"")
        .says(403, "DENIED");
    serving.stop();

    let serving = Serving::start(&workshop, &[]);
    let refused = serving.ask("POST", "/v2/lab/x/blobs/uploads/", &[], b"");
    refused.says(405, "UNSUPPORTED");
    // Far more than anybody reads: the client hears why all the same.
    let much = vec![0; 3 << 20];
    let refused = serving.ask("PUT", "/v2/lab/x/manifests/1", &[], &much);
    refused.says(405, "UNSUPPORTED");
    serving.get(&format!("/v2/lab/x/blobs/{layer}")).is(200);
}

#[test]
fn names_with_a_port_are_served_under_names_that_can_be_asked_for() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop
        .cairn(&["tag", "base", "127.0.0.1:5000/lab/app:1"])
        .success();
    let serving = Serving::start(&workshop, &["--allow-push"]);
    let listed = serving.get("/v2/_catalog").is(200).json();
    let name = "127.0.0.1_5000/lab/app";
    assert_eq!(listed["repositories"], serde_json::json!([name, "base"]));
    let found = serving.get(&format!("/v2/{name}/manifests/1")).is(200);
    let path = format!("/v2/{name}/manifests/{}", Digest::sha256(&found.body));
    assert_eq!(serving.get(&path).is(200).body, found.body);
    let layer = &found.json()["layers"][0]["digest"];
    let path = format!("/v2/{name}/blobs/{}", layer.as_str().unwrap());
    serving.get(&path).is(200);
    let tags = serving.get(&format!("/v2/{name}/tags/list")).is(200).json();
    assert_eq!(tags["tags"], serde_json::json!(["1"]));
    // It is an image of the store: nobody moves its tag.
    let put = serving.put_manifest(&format!("/v2/{name}/manifests/1"), MANIFEST, &found.body);
    assert!((400..500).contains(&put.status), "{put:?}");

    // Who begins with TLS is told in words that docker's programs understand.
    let mut stream = TcpStream::connect(serving.host()).unwrap();
    stream.write_all(b"\x16\x03\x01\x00\x05hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    answer(stream).is(400);
}

#[test]
fn other_programs_push_and_pull() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    if !needs("skopeo", skopeo().arg("-v").output().is_ok()) {
        return;
    }
    let serving = Serving::start(&workshop, &["--allow-push"]);
    workshop
        .cairn(&["export", "base", "base.oci.tar"])
        .success();
    let copy = |from: &str, to: &str| {
        let ran = skopeo()
            .args(["--insecure-policy", "copy", "-q", "--src-tls-verify=false"])
            .args(["--dest-tls-verify=false", from, to])
            .current_dir(workshop.path())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    let there = format!("docker://{}/lab/base", serving.host);
    copy("oci-archive:base.oci.tar", &format!("{there}:1"));
    copy(&format!("{there}:1"), &format!("{there}-again:2"));
    copy(&format!("{there}-again:2"), "dir:back");
    // And Cairn itself, both ways.
    let name = format!("{}/mine/base:3", serving.host);
    workshop.cairn(&["push", "base", &name]).success();
    workshop.cairn(&["pull", &name]).success();
    let tags = serving.get("/v2/mine/base/tags/list").is(200);
    assert_eq!(tags.json()["tags"], serde_json::json!(["3"]));
}

#[test]
fn a_repository_is_looked_at_and_cleared() {
    let (workshop, serving) = pushable();
    let bytes = image(&serving, "lab/a", &["1", "2"]);
    let digest = Digest::sha256(&bytes);
    let mut report = Manifest::new(Descriptor::of("lab/report", b"{}"), vec![]);
    report.subject = Some(Descriptor::of(MANIFEST, &bytes));
    let report = report.to_json_bytes();
    let path = format!("/v2/lab/a/manifests/{}", Digest::sha256(&report));
    serving.put_manifest(&path, MANIFEST, &report).is(201);

    let name = format!("{}/lab/a", serving.host());
    let ask = |arguments: &[&str]| workshop.cairn(&[&["registry"], arguments].concat());
    assert_eq!(ask(&["tags", &name]).success().out, "1\n2\n");
    let referrers = ask(&["referrers", &format!("{name}:1")]).success().out;
    let expected = Digest::sha256(&report);
    assert!(
        referrers.contains("lab/report") && referrers.contains(expected.as_str()),
        "{referrers}"
    );
    let other = [
        "referrers",
        &format!("{name}@{digest}"),
        "--artifact-type",
        "lab/x",
    ];
    ask(&other).success().err_has("nothing refers to");
    ask(&["rm", &name])
        .code(2)
        .err_has("neither tag nor digest");
    let (one, none) = (format!("{name}:1"), format!("{name}:9"));
    ask(&["rm", &one, &none])
        .code(2)
        .err_has("the registry has no");
    assert_eq!(ask(&["tags", &name]).success().out, "1\n2\n");
    assert_eq!(ask(&["rm", &one]).success().out, format!("{one}\n"));
    assert_eq!(ask(&["tags", &name]).success().out, "2\n");
    ask(&["rm", &format!("{name}@{digest}")]).success();
    ask(&["tags", &name, "--json"]).success();
    ask(&["referrers", &format!("{name}:2")])
        .code(2)
        .err_has("has no");
    let reading = Serving::start(&workshop, &[]);
    let there = format!("{}/lab/a@{expected}", reading.host());
    ask(&["rm", &there])
        .code(3)
        .err_has("this registry is read-only");
}
