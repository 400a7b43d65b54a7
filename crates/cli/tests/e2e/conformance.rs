//! The four workflows of the distribution spec's conformance programme, in its order: pull, push,
//! content discovery, content management; and what its next version adds.
//!
//! The programme itself wants Go and a network. What it sends and expects is told here anew, one
//! assertion for each of its cases; more of the protocol is in `serving`.

use std::io::Write;
use std::process::{Command, Stdio};

use cairn_oci::{Descriptor, Digest, Index, Manifest};
use serde_json::Value;

use crate::serving::{Answer, INDEX, MANIFEST, Serving, pushable};

const HERE: &str = "conformance/one";
const THERE: &str = "conformance/two";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const TYPE_A: &str = "application/vnd.nhl.peanut.butter.bagel";
const TYPE_B: &str = "application/vnd.nba.strawberry.jam.croissant";
/// Nothing has it.
const NOWHERE: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn blob(digest: &Digest) -> String {
    format!("/v2/{HERE}/blobs/{digest}")
}

fn manifest(name: impl std::fmt::Display) -> String {
    format!("/v2/{HERE}/manifests/{name}")
}

/// An image manifest whose config is told from others by a number.
fn image(serving: &Serving, number: u8) -> Vec<u8> {
    let config = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"{number}\"}}");
    serving.put_blob(HERE, config.as_bytes());
    serving.put_blob(HERE, b"layer");
    let config = Descriptor::of(CONFIG, config.as_bytes());
    Manifest::new(config, vec![Descriptor::of(LAYER, b"layer")]).to_json_bytes()
}

fn put(serving: &Serving, name: impl std::fmt::Display, kind: &str, bytes: &[u8]) -> Answer {
    let put = serving.put_manifest(&manifest(name), kind, bytes).is(201);
    assert!(!put.header("location").is_empty());
    assert_eq!(
        put.header("docker-content-digest"),
        Digest::sha256(bytes).as_str()
    );
    put
}

fn tags(serving: &Serving, query: &str) -> Vec<String> {
    let path = format!("/v2/{HERE}/tags/list{query}");
    let listed = serving.get(&path).is(200).json();
    let tags = listed["tags"].as_array().unwrap().iter();
    tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

#[test]
fn pull() {
    let (_workshop, serving) = pushable();
    let bytes = image(&serving, 0);
    let digest = Digest::sha256(&bytes);
    put(&serving, "tagtest0", MANIFEST, &bytes);
    let layer = Digest::sha256(b"layer");

    let absent = format!("/v2/{HERE}/blobs/{NOWHERE}");
    serving.ask("HEAD", &absent, &[], b"").is(404);
    serving.get(&absent).says(404, "BLOB_UNKNOWN");
    let head = serving.ask("HEAD", &blob(&layer), &[], b"").is(200);
    assert_eq!(head.header("docker-content-digest"), layer.as_str());
    assert_eq!(head.header("content-length"), "5");
    assert_eq!(serving.get(&blob(&layer)).is(200).body, b"layer");

    let absent = manifest("no-such-tag");
    serving.ask("HEAD", &absent, &[], b"").is(404);
    serving.get(&absent).says(404, "MANIFEST_UNKNOWN");
    serving.get(&manifest(NOWHERE)).is(404);
    serving.get(&manifest("sha256:baddigeststring")).is(404);
    let accept = [&*format!("Accept: {MANIFEST}")];
    for name in [digest.as_str(), "tagtest0"] {
        let head = serving.ask("HEAD", &manifest(name), &accept, b"").is(200);
        assert_eq!(head.header("docker-content-digest"), digest.as_str());
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        let got = serving.ask("GET", &manifest(name), &accept, b"").is(200);
        assert_eq!((got.header("content-type"), &got.body), (MANIFEST, &bytes));
    }

    // Errors are of the form that the spec gives them.
    let wrong = manifest("sha256:totallywrong");
    serving
        .put_manifest(&wrong, MANIFEST, b"blablabla")
        .says(400, "DIGEST_INVALID");
    let padded = [&bytes[..], b"  "].concat();
    serving
        .put_manifest(&manifest(&digest), MANIFEST, &padded)
        .says(400, "DIGEST_INVALID");
}

#[test]
fn push() {
    let (_workshop, serving) = pushable();
    let upload = format!("/v2/{HERE}/blobs/uploads/");

    // Streamed: a PATCH without a range, and a PUT without bytes.
    let place = serving.begin(HERE);
    let octets = "Content-Type: application/octet-stream";
    serving.ask("PATCH", &place, &[octets], b"blob a").is(202);
    let digest_a = Digest::sha256(b"blob a");
    let last = format!("{place}?digest={digest_a}");
    let put_last = serving.ask("PUT", &last, &[octets], b"").is(201);
    assert_eq!(put_last.header("location"), blob(&digest_a));

    // In one piece: by a POST alone, and by a POST and a PUT.
    let only = Digest::sha256(b"post only");
    serving.get(&blob(&only)).is(404);
    let path = format!("{upload}?digest={only}");
    let posted = serving.ask("POST", &path, &[octets], b"post only").is(201);
    assert_eq!(posted.header("location"), blob(&only));
    serving.get(&blob(&only)).is(200);
    let put_blob = serving.put_blob(HERE, b"post and put");
    serving.get(&blob(&put_blob)).is(200);

    // In pieces; the second first, and the first twice, are refused.
    let (first, second) = (b"Good morn".as_slice(), b"ing!".as_slice());
    let place = serving.begin(HERE);
    serving
        .ask("PATCH", &place, &["Content-Range: 9-12"], second)
        .is(416);
    let place = serving.begin(HERE);
    let patch = || serving.ask("PATCH", &place, &["Content-Range: 0-8"], first);
    assert_eq!(patch().is(202).header("range"), "0-8");
    patch().is(416);
    let status = serving.get(&place).is(204);
    assert_eq!(status.header("range"), "0-8");
    let next = status.header("location").to_owned();
    let patched = serving
        .ask("PATCH", &next, &["Content-Range: 9-12"], second)
        .is(202);
    let digest_b = Digest::sha256(b"Good morning!");
    let last = format!("{}?digest={digest_b}", patched.header("location"));
    serving.ask("PUT", &last, &[], b"").is(201);
    serving.get(&blob(&digest_b)).is(200);

    // An upload that is given up.
    let place = serving.begin(HERE);
    serving.ask("DELETE", &place, &[], b"").is(204);
    serving.get(&place).says(404, "BLOB_UPLOAD_UNKNOWN");

    // From another repository; without `from` it is an upload like any other.
    let mount = |query: String| {
        let path = format!("/v2/{THERE}/blobs/uploads/?mount={query}");
        serving.ask("POST", &path, &[], b"")
    };
    let begun = mount(NOWHERE.to_owned()).is(202);
    assert!(!begun.header("location").is_empty());
    let mounted = mount(format!("{digest_a}&from={HERE}")).is(201);
    let there = format!("/v2/{THERE}/blobs/{digest_a}");
    assert_eq!(mounted.header("location"), there);
    serving.get(&there).is(200);
    mount(digest_b.to_string()).is(202);
    mount(format!("{NOWHERE}&from={HERE}")).is(202);

    // Manifests: by four tags, without layers, and of almost four megabytes.
    serving.get(&manifest("nonexistent")).is(404);
    let bytes = image(&serving, 1);
    for number in 0..4 {
        put(&serving, format!("test{number}"), MANIFEST, &bytes);
    }
    serving.get(&manifest(Digest::sha256(&bytes))).is(200);
    let config = Descriptor::of(CONFIG, b"{}");
    serving.put_blob(HERE, b"{}");
    let none = Manifest::new(config.clone(), Vec::new()).to_json_bytes();
    put(&serving, "emptylayer", MANIFEST, &none);
    let mut large = Manifest::new(config, Vec::new());
    for number in 0..390 {
        let name = format!("large-annotation-{number}");
        large.annotations.insert(name, "A".repeat(10_000));
    }
    put(&serving, "large", MANIFEST, &large.to_json_bytes());

    // By digest with tags: what the next version of the spec has.
    let digest = Digest::sha256(&bytes);
    let path = format!("{}?tag=param-0&tag=param-1", manifest(&digest));
    let tagged = serving.put_manifest(&path, MANIFEST, &bytes).is(201);
    assert_eq!(tagged.header("oci-tag"), "param-0, param-1");
    for tag in ["param-0", "param-1"] {
        let head = serving.ask("HEAD", &manifest(tag), &[], b"").is(200);
        assert_eq!(head.header("docker-content-digest"), digest.as_str());
    }
    let path = format!("{}?tag=a/b", manifest(&digest));
    serving
        .put_manifest(&path, MANIFEST, &bytes)
        .says(400, "MANIFEST_INVALID");
}

/// A manifest that refers to something, with one annotation.
fn referrer(kind: Option<&str>, config: Descriptor, layer: Descriptor, subject: &Value) -> Vec<u8> {
    let mut manifest = Manifest::new(config, vec![layer]);
    manifest.artifact_type = kind.map(str::to_owned);
    let annotation = (
        "org.opencontainers.conformance.test".to_owned(),
        "x".to_owned(),
    );
    manifest.annotations.extend([annotation]);
    let mut value: Value = serde_json::from_slice(&manifest.to_json_bytes()).unwrap();
    value["subject"] = subject.clone();
    serde_json::to_vec(&value).unwrap()
}

#[test]
fn content_discovery() {
    let (_workshop, serving) = pushable();
    let plain = image(&serving, 2);
    for number in 0..4 {
        put(&serving, format!("test{number}"), MANIFEST, &plain);
    }

    // Tags: all, some, and those behind one.
    let all = tags(&serving, "");
    assert_eq!(all, ["test0", "test1", "test2", "test3"]);
    assert_eq!(tags(&serving, "?n=2"), all[..2]);
    assert_eq!(tags(&serving, "?n=2&last=test1"), all[2..]);
    assert_eq!(tags(&serving, "?last=test0"), all[1..]);
    assert!(tags(&serving, "?n=0").is_empty());

    // Referrers: some put before their subject is there.
    let subject_bytes = image(&serving, 4);
    let subject = Descriptor::of(MANIFEST, &subject_bytes);
    let shown = serde_json::to_value(&subject).unwrap();
    for bytes in [b"{}".as_slice(), b"ref a", b"ref b"] {
        serving.put_blob(HERE, bytes);
    }
    let (a, b) = (b"ref a".as_slice(), b"ref b".as_slice());
    let empty = || Descriptor::of(EMPTY, b"{}");
    let by_config =
        |kind: &str, bytes: &[u8]| referrer(None, Descriptor::of(kind, bytes), empty(), &shown);
    let by_type = |kind: &str, bytes: &[u8]| {
        referrer(Some(kind), empty(), Descriptor::of(kind, bytes), &shown)
    };
    let put_referrer = |kind: &str, bytes: &[u8], subject: &Digest| {
        let put = put(&serving, Digest::sha256(bytes), kind, bytes);
        assert_eq!(put.header("oci-subject"), subject.as_str());
    };
    let early = [by_config(TYPE_A, a), by_type(TYPE_A, a)];
    for bytes in &early {
        put_referrer(MANIFEST, bytes, &subject.digest);
    }
    let mut index = Index::new(vec![Descriptor::of(MANIFEST, &early[0])]);
    let annotation = (
        "org.opencontainers.conformance.test".to_owned(),
        "x".to_owned(),
    );
    index.annotations.extend([annotation]);
    let mut index: Value = serde_json::from_slice(&index.to_json_bytes()).unwrap();
    index["artifactType"] = "application/vnd.food.stand".into();
    index["subject"] = shown.clone();
    let index = serde_json::to_vec(&index).unwrap();
    put_referrer(INDEX, &index, &subject.digest);
    put(&serving, "tagtest0", MANIFEST, &subject_bytes);
    for bytes in [by_config(TYPE_B, b), by_type(TYPE_B, b)] {
        put_referrer(MANIFEST, &bytes, &subject.digest);
    }
    let missing = Descriptor::of(MANIFEST, b"a manifest that is nowhere");
    let to_missing = serde_json::to_value(&missing).unwrap();
    let orphan = referrer(
        Some(TYPE_B),
        empty(),
        Descriptor::of(TYPE_B, b),
        &to_missing,
    );
    put_referrer(MANIFEST, &orphan, &missing.digest);

    let ask = |digest: &str, query: &str| {
        let path = format!("/v2/{HERE}/referrers/{digest}{query}");
        let answer = serving.get(&path).is(200);
        assert_eq!(answer.header("content-type"), INDEX);
        let found = answer.json()["manifests"].as_array().unwrap().clone();
        (answer, found)
    };
    assert!(ask(NOWHERE, "").1.is_empty());
    let (_, found) = ask(subject.digest.as_str(), "");
    assert_eq!(found.len(), 5);
    for one in &found {
        assert_eq!(one["annotations"].as_object().unwrap().len(), 1, "{one}");
        assert!(one["artifactType"].is_string(), "{one}");
    }
    let query = format!("?artifactType={TYPE_A}");
    let (answer, found) = ask(subject.digest.as_str(), &query);
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    assert_eq!(found.len(), 2);
    let (_, found) = ask(missing.digest.as_str(), "");
    assert_eq!(found[0]["digest"], Digest::sha256(&orphan).as_str());
    assert_eq!(found.len(), 1);
}

#[test]
fn content_management() {
    let (_workshop, serving) = pushable();
    let bytes = image(&serving, 3);
    put(&serving, "tagtest0", MANIFEST, &bytes);
    put(&serving, "stays", MANIFEST, &image(&serving, 5));
    let delete = |path: &str| serving.ask("DELETE", path, &[], b"");

    delete(&manifest("tagtest0")).is(202);
    assert_eq!(tags(&serving, ""), ["stays"]);
    let by_digest = manifest(Digest::sha256(&bytes));
    serving.get(&by_digest).is(200);
    delete(&by_digest).is(202);
    serving.get(&by_digest).is(404);
    delete(&by_digest).is(404);
    assert_eq!(tags(&serving, ""), ["stays"]);

    let layer = blob(&Digest::sha256(b"layer"));
    delete(&layer).is(202);
    serving.get(&layer).is(404);
    delete(&layer).is(404);
}

/// A digest that the program itself makes of nothing but what it is asked for.
fn sha512(bytes: &[u8]) -> Digest {
    let mut tool = Command::new("sha512sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha512sum");
    tool.stdin.take().unwrap().write_all(bytes).unwrap();
    let told = tool.wait_with_output().unwrap().stdout;
    let hex = String::from_utf8(told[..128].to_vec()).unwrap();
    format!("sha512:{hex}").parse().unwrap()
}

/// What is pushed and read back to the byte, whatever it is: the kinds of data of the programme's next
/// version. The rows are name, kind, bytes; digests are of SHA-256 unless told.
#[test]
fn every_kind_of_data() {
    let (_workshop, serving) = pushable();
    // Before anything is in a repository.
    let path = format!("/v2/no/such/referrers/{NOWHERE}");
    let none = serving.get(&path).is(200);
    assert_eq!(none.header("content-type"), INDEX);
    assert_eq!(none.json()["manifests"], serde_json::json!([]));

    let plain = image(&serving, 7);
    put(&serving, Digest::sha256(&plain), MANIFEST, &plain);
    let of = |kind: &str, bytes: &[u8]| serde_json::to_value(Descriptor::of(kind, bytes)).unwrap();
    let listed = |manifests: &[Value], more: &[(&str, Value)]| {
        let mut index = serde_json::json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests,
        });
        for (name, value) in more {
            index[*name] = value.clone();
        }
        serde_json::to_vec(&index).unwrap()
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut manifest: Value = serde_json::from_slice(&plain).unwrap();
        change(&mut manifest);
        serde_json::to_vec(&manifest).unwrap()
    };
    let inner = listed(&[of(MANIFEST, &plain)], &[]);
    let absent = "https://store.example.com/blob";
    let rows: [(&str, &str, Vec<u8>); 9] = [
        ("index", INDEX, inner.clone()),
        (
            "nested",
            INDEX,
            listed(&[of(INDEX, &inner), of(INDEX, &inner)], &[]),
        ),
        (
            "empty-index",
            INDEX,
            listed(&[], &[("annotations", serde_json::json!({"a": "b"}))]),
        ),
        (
            "artifact-index",
            INDEX,
            listed(&[of(MANIFEST, &plain)], &[("artifactType", TYPE_A.into())]),
        ),
        (
            "index-with-subject",
            INDEX,
            listed(&[], &[("subject", of(INDEX, &inner))]),
        ),
        (
            "data-field",
            MANIFEST,
            changed(&|it| it["layers"][0]["data"] = "bGF5ZXI=".into()),
        ),
        (
            "elsewhere",
            MANIFEST,
            changed(&|it| {
                it["layers"][0]["mediaType"] =
                    "application/vnd.oci.image.layer.nondistributable.v1.tar".into();
                it["layers"][0]["digest"] = NOWHERE.into();
                it["layers"][0]["urls"] = serde_json::json!([absent]);
            }),
        ),
        (
            "custom-fields",
            MANIFEST,
            changed(&|it| {
                it["org.example.field"] = serde_json::json!({"deep": [1, null, "x"]});
            }),
        ),
        (
            "no-layers",
            MANIFEST,
            changed(&|it| it["layers"] = serde_json::json!([])),
        ),
    ];
    for (tag, kind, bytes) in &rows {
        put(&serving, tag, kind, bytes);
        for name in [(*tag).to_owned(), Digest::sha256(bytes).to_string()] {
            let got = serving.get(&manifest(&name)).is(200);
            assert_eq!(
                (got.header("content-type"), &got.body),
                (*kind, bytes),
                "{tag}"
            );
            let head = serving.ask("HEAD", &manifest(&name), &[], b"").is(200);
            assert_eq!(
                head.header("content-length"),
                bytes.len().to_string(),
                "{tag}"
            );
        }
    }
    let mut names: Vec<&str> = rows.iter().map(|(tag, ..)| *tag).collect();
    names.sort_unstable();
    assert_eq!(tags(&serving, ""), names);
    let path = format!("/v2/{HERE}/referrers/{}", Digest::sha256(&inner));
    let found = serving.get(&path).is(200).json();
    assert_eq!(
        found["manifests"][0]["digest"],
        Digest::sha256(&rows[4].2).as_str()
    );

    // By SHA-512, with a tag in the same request.
    let long = sha512(&inner);
    let path = format!("{}?tag=long", manifest(&long));
    let tagged = serving.put_manifest(&path, INDEX, &inner).is(201);
    assert_eq!(tagged.header("docker-content-digest"), long.as_str());
    for name in [long.to_string(), "long".to_owned()] {
        let got = serving.get(&manifest(&name)).is(200);
        assert_eq!(got.header("docker-content-digest"), long.as_str());
        assert_eq!(got.body, inner);
    }

    // Tags and names at their limits.
    let longest = "t".repeat(128);
    put(&serving, &longest, MANIFEST, &plain);
    serving.get(&manifest(&longest)).is(200);
    let too_long = manifest("t".repeat(129));
    serving.put_manifest(&too_long, MANIFEST, &plain).is(400);
    let deep = format!("{}/x", ["a"; 60].join("/"));
    let blob = serving.put_blob(&deep, b"deep");
    assert_eq!(
        serving
            .get(&format!("/v2/{deep}/blobs/{blob}"))
            .is(200)
            .body,
        b"deep"
    );

    // All of it goes as it came.
    for (tag, _, bytes) in &rows {
        let by_digest = manifest(Digest::sha256(bytes));
        serving.ask("DELETE", &by_digest, &[], b"").is(202);
        serving.get(&by_digest).is(404);
        serving.get(&manifest(tag)).is(404);
    }
}

/// What a blob is read in, as docker's programs read it.
#[test]
fn ranges_and_headers_of_blobs() {
    let (_workshop, serving) = pushable();
    let digest = serving.put_blob(HERE, b"0123456789");
    for (range, status, told, bytes) in [
        ("bytes=0-3", 206, "bytes 0-3/10", &b"0123"[..]),
        ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
        ("bytes=8-99", 206, "bytes 8-9/10", b"89"),
        ("bytes=10-", 416, "bytes */10", b""),
    ] {
        let header = format!("Range: {range}");
        let got = serving
            .ask("GET", &blob(&digest), &[&header], b"")
            .is(status);
        assert_eq!(got.header("content-range"), told, "{range}");
        if status == 206 {
            assert_eq!(got.body, bytes, "{range}");
            assert_eq!(got.header("content-length"), bytes.len().to_string());
        }
    }
    let head = serving.ask("HEAD", &blob(&digest), &[], b"").is(200);
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert_eq!(head.header("content-type"), "application/octet-stream");
    assert_eq!(head.header("docker-content-digest"), digest.as_str());
    let base = serving.get("/v2/").is(200);
    assert_eq!(
        base.header("docker-distribution-api-version"),
        "registry/2.0"
    );

    // Pages of repositories, each leading to the next.
    let empty = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    for repository in [HERE, THERE] {
        let path = format!("/v2/{repository}/manifests/1");
        let bytes = serde_json::to_vec(&empty).unwrap();
        serving.put_manifest(&path, INDEX, &bytes).is(201);
    }
    let first = serving.get("/v2/_catalog?n=1").is(200);
    assert_eq!(first.json()["repositories"], serde_json::json!([HERE]));
    let link = first.header("link").to_owned();
    let next = link
        .strip_prefix('<')
        .and_then(|it| it.split_once('>'))
        .unwrap()
        .0;
    let last = serving.get(next).is(200).json();
    assert_eq!(last["repositories"], serde_json::json!([THERE]));
}
