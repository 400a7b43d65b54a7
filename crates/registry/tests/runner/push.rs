//! Pushes to registries that have things, mount, break off, lose answers and take small pieces.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cairn_oci::{Compression, Descriptor, Digest, Manifest, MediaType, Reference};
use cairn_registry::{Document, Places, RegistryError, Sent, Watch};
use cairn_testkit::TempStore;

use crate::answering::{Answering, Asked, Reply, client};

/// What a registry holds, by repository.
#[derive(Default)]
struct Held {
    blobs: BTreeMap<(String, String), Vec<u8>>,
    manifests: BTreeMap<(String, String), Vec<u8>>,
    uploads: BTreeMap<String, Vec<u8>>,
    /// How many uploads there were.
    begun: usize,
}

/// A registry that takes uploads as the spec says.
#[derive(Clone, Default)]
struct Taking {
    held: Arc<Mutex<Held>>,
    /// Answers to a PATCH with 201, as one large registry does.
    says_created: bool,
    /// Gives whole addresses instead of paths.
    is_absolute: bool,
    /// Bodies above this are too large.
    limit: Option<usize>,
}

impl Taking {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut held = self.held.lock().unwrap();
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if path == "/v2/" {
            return Reply::status(200);
        }
        if self.limit.is_some_and(|limit| asked.body.len() > limit) {
            return Reply::status(413);
        }
        let field = |name: &str| {
            let start = format!("{name}=");
            let value = query.split('&').find_map(|pair| pair.strip_prefix(&start));
            value.map(|value| value.replace("%3A", ":").replace("%2F", "/"))
        };
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            let repository = repository.trim_start_matches("/v2/").to_owned();
            return self.upload(&mut held, asked, &repository, id, &field);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            let repository = repository.trim_start_matches("/v2/");
            return match held.blobs.get(&(repository.to_owned(), digest.to_owned())) {
                Some(bytes) => Reply::status(200).body(bytes.clone()),
                None => Reply::status(404),
            };
        }
        let (repository, name) = path.split_once("/manifests/").unwrap();
        let key = (
            repository.trim_start_matches("/v2/").to_owned(),
            name.to_owned(),
        );
        if asked.method == "PUT" {
            let digest = Digest::sha256(&asked.body).to_string();
            held.manifests
                .insert((key.0.clone(), digest.clone()), asked.body.clone());
            held.manifests.insert(key, asked.body.clone());
            return Reply::status(201).with("Docker-Content-Digest", digest);
        }
        match held.manifests.get(&key) {
            Some(bytes) => Reply::status(200)
                .with("Content-Type", MediaType::OciManifest.as_str())
                .with("Docker-Content-Digest", Digest::sha256(bytes).to_string())
                .body(bytes.clone()),
            None => Reply::status(404),
        }
    }

    fn upload(
        &self,
        held: &mut Held,
        asked: &Asked,
        repository: &str,
        id: &str,
        field: &dyn Fn(&str) -> Option<String>,
    ) -> Reply {
        let place = |id: &str| {
            let path = format!("/v2/{repository}/blobs/uploads/{id}?state=x");
            match self.is_absolute {
                true => format!("http://{}{path}", asked.header("host")),
                false => path,
            }
        };
        match asked.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from)) = (field("mount"), field("from"))
                    && let Some(bytes) = held.blobs.get(&(from, digest.clone())).cloned()
                {
                    held.blobs.insert((repository.to_owned(), digest), bytes);
                    return Reply::status(201);
                }
                let id = format!("u{}", held.begun);
                held.begun += 1;
                held.uploads.insert(id.clone(), Vec::new());
                Reply::status(202).with("Location", place(&id))
            }
            "GET" => match held.uploads.get(id) {
                Some(bytes) => Reply::status(204)
                    .with("Location", place(id))
                    .with("Range", format!("0-{}", bytes.len().saturating_sub(1))),
                None => Reply::status(404),
            },
            method => {
                let Some(bytes) = held.uploads.get_mut(id) else {
                    return Reply::status(404);
                };
                if let Some((start, _)) = asked.header("content-range").split_once('-')
                    && start.parse() != Ok(bytes.len())
                {
                    return Reply::status(416);
                }
                bytes.extend_from_slice(&asked.body);
                if method == "PATCH" {
                    let status = if self.says_created { 201 } else { 202 };
                    return Reply::status(status).with("Location", place(id));
                }
                let digest = field("digest").unwrap();
                let bytes = held.uploads.remove(id).unwrap();
                if Digest::sha256(&bytes).to_string() != digest {
                    return Reply::status(400).body("{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}");
                }
                held.blobs.insert((repository.to_owned(), digest), bytes);
                Reply::status(201)
            }
        }
    }

    fn has(&self, repository: &str, blob: &Descriptor) -> bool {
        let key = (repository.to_owned(), blob.digest.to_string());
        self.held.lock().unwrap().blobs.contains_key(&key)
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32 / 4)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn blob(store: &TempStore, count: usize) -> Descriptor {
    let bytes = bytes(count);
    store.put_blob_bytes(&bytes).unwrap();
    Descriptor::of(MediaType::OciLayer(Compression::Gzip), &bytes)
}

fn push(server: &Answering, store: &TempStore, blob: &Descriptor) -> Result<Sent, RegistryError> {
    let reference: Reference = format!("{}/lab/app:1", server.address).parse().unwrap();
    client().push_blob(store, &reference, blob, &[], Watch::NONE)
}

const SMALL: usize = 100_000;
const LARGE: usize = 6_000_000;

#[test]
fn small_blobs_go_in_one_request_and_large_ones_in_a_stream() {
    for (says_created, is_absolute) in [(false, false), (true, true)] {
        let taking = Taking {
            says_created,
            is_absolute,
            ..Taking::default()
        };
        let answering = taking.clone();
        let server = Answering::start(move |asked| answering.answer(asked));
        let store = TempStore::new();
        for (count, methods) in [(SMALL, "HEAD POST PUT"), (LARGE, "HEAD POST PATCH PUT")] {
            let blob = blob(&store, count);
            let before = server.lines().len();
            assert_eq!(push(&server, &store, &blob).unwrap(), Sent::Uploaded);
            assert!(taking.has("lab/app", &blob));
            let lines = server.lines()[before..].to_vec();
            let used: Vec<&str> = lines.iter().map(|l| l.split(' ').next().unwrap()).collect();
            assert_eq!(used.join(" "), methods);
            assert_eq!(push(&server, &store, &blob).unwrap(), Sent::There);
        }
    }
}

#[test]
fn an_upload_that_breaks_goes_on_where_it_broke() {
    let taking = Taking::default();
    let answering = taking.clone();
    let (patches, cuts) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let cut = move |asked: &Asked| {
        let is_cut = asked.method == "PATCH" && cuts.fetch_add(1, Ordering::SeqCst) < 2;
        is_cut.then_some(2_000_000)
    };
    let counted = patches.clone();
    let answer = move |asked: &Asked| {
        let reply = answering.answer(asked);
        let is_cut = asked.method == "PATCH" && counted.fetch_add(1, Ordering::SeqCst) < 2;
        Reply {
            is_silent: is_cut,
            ..reply
        }
    };
    let server = Answering::start_cutting(answer, cut);
    let store = TempStore::new();
    let blob = blob(&store, LARGE);
    assert_eq!(push(&server, &store, &blob).unwrap(), Sent::Uploaded);
    assert!(taking.has("lab/app", &blob));
    let asked = server.asked();
    let ranges: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.method == "PATCH")
        .map(|asked| asked.header("content-range"))
        .collect();
    assert_eq!(ranges, ["", "2000000-5999999", "4000000-5999999"]);
}

#[test]
fn a_lost_answer_is_no_second_upload() {
    let taking = Taking::default();
    let answering = taking.clone();
    let puts = AtomicUsize::new(0);
    let server = Answering::start(move |asked| {
        let reply = answering.answer(asked);
        let is_lost = asked.method == "PUT" && puts.fetch_add(1, Ordering::SeqCst) == 0;
        Reply {
            is_silent: is_lost,
            ..reply
        }
    });
    let store = TempStore::new();
    let blob = blob(&store, SMALL);
    assert_eq!(push(&server, &store, &blob).unwrap(), Sent::Uploaded);
    let puts = server
        .lines()
        .iter()
        .filter(|l| l.starts_with("PUT"))
        .count();
    assert_eq!(puts, 1, "{:?}", server.lines());
}

#[test]
fn an_upload_that_the_registry_forgot_begins_anew() {
    let taking = Taking::default();
    let answering = taking.clone();
    let turns = AtomicUsize::new(0);
    let server = Answering::start(move |asked| {
        if asked.method == "PATCH" && turns.fetch_add(1, Ordering::SeqCst) == 0 {
            answering.held.lock().unwrap().uploads.clear();
            return Reply::status(500);
        }
        answering.answer(asked)
    });
    let store = TempStore::new();
    let blob = blob(&store, LARGE);
    push(&server, &store, &blob).unwrap();
    assert!(taking.has("lab/app", &blob));
}

#[test]
fn pieces_shrink_until_they_are_taken() {
    let taking = Taking {
        limit: Some(2_000_000),
        ..Taking::default()
    };
    let answering = taking.clone();
    let server = Answering::start(move |asked| answering.answer(asked));
    let store = TempStore::new();
    let blob = blob(&store, LARGE);
    push(&server, &store, &blob).unwrap();
    assert!(taking.has("lab/app", &blob));
    let asked = server.asked();
    let taken = asked
        .iter()
        .filter(|a| a.method == "PATCH" && a.body.len() <= 2_000_000);
    assert!(taken.count() >= 3, "{:?}", server.lines());
}

#[test]
fn a_refusal_is_told_at_once() {
    let server = Answering::start(|asked| match asked.line().as_str() {
        "GET /v2/" => Reply::status(200),
        line if line.starts_with("HEAD") => Reply::status(404),
        _ => Reply::status(403)
            .body("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"read only\"}]}"),
    });
    let store = TempStore::new();
    let error = push(&server, &store, &blob(&store, SMALL)).unwrap_err();
    assert!(
        error.to_string().ends_with("403: read only (DENIED)"),
        "{error}"
    );
    assert_eq!(server.lines().len(), 2);
}

/// An image of two layers, and the blobs it consists of.
fn image(store: &TempStore) -> (Document, Vec<Descriptor>) {
    let layers = vec![blob(store, SMALL), blob(store, LARGE)];
    let config = b"{}".to_vec();
    store.put_blob_bytes(&config).unwrap();
    let config = Descriptor::of(MediaType::OciConfig, &config);
    let bytes = Manifest::new(config.clone(), layers.clone()).to_json_bytes();
    let document = Document {
        descriptor: Descriptor::of(MediaType::OciManifest, &bytes),
        bytes,
    };
    let blobs = [&[config][..], &layers, &layers[..1]].concat();
    (document, blobs)
}

#[test]
fn an_image_is_mounted_where_it_can_be_and_sent_once() {
    let taking = Taking::default();
    let answering = taking.clone();
    let server = Answering::start(move |asked| answering.answer(asked));
    let store = TempStore::new();
    let (manifest, blobs) = image(&store);
    let name = |text: &str| -> Reference { format!("{}/{text}", server.address).parse().unwrap() };
    let client = client();
    let base = name("lab/base:1");
    client
        .push_blob(&store, &base, &blobs[2], &[], Watch::NONE)
        .unwrap();
    let mut places = Places::new();
    places.add(&blobs[2].digest, "lab/none");
    places.add(&blobs[2].digest, "lab/base");
    let app = name("lab/app:1");
    let push = || client.push_image(&store, &app, &manifest, &blobs, &places, Watch::NONE);
    let first = push().unwrap();
    assert_eq!(
        (first.mounted, first.sent, first.there),
        (1, 3, 0),
        "{first:?}"
    );
    assert!(
        first.bytes > SMALL as u64 && first.bytes < LARGE as u64,
        "{first:?}"
    );
    client.put_manifest(&app, &manifest, Watch::NONE).unwrap();
    let before = server.lines().len();
    let second = push().unwrap();
    assert_eq!((second.sent, second.bytes), (0, 0));
    let lines = server.lines()[before..].to_vec();
    assert_eq!(
        lines,
        [format!(
            "HEAD /v2/lab/app/manifests/{}",
            manifest.descriptor.digest
        )]
    );
    let found = client.look_up(&app, Watch::NONE).unwrap().unwrap();
    assert_eq!(found.digest, manifest.descriptor.digest);
}

/// Some token services give no token at all where they would not give all of it.
const MISSES: &str = r#"{"errors":[{"code":"DIGEST_INVALID"},{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;

/// Pushes an image to a registry that misses parts of the manifest the first `times` times, and
/// loses its blobs then where `forgets`: the result, and the numbers of blob uploads and of
/// manifests sent.
fn pushed_to_doubting(times: usize, forgets: bool) -> (Result<u64, RegistryError>, usize, usize) {
    let taking = Taking::default();
    let answering = taking.clone();
    let puts = AtomicUsize::new(0);
    let server = Answering::start(move |asked| {
        let is_manifest = asked.method == "PUT" && asked.path.contains("/manifests/");
        if is_manifest && puts.fetch_add(1, Ordering::SeqCst) < times {
            if forgets {
                answering.held.lock().unwrap().blobs.clear();
            }
            return Reply::status(400).body(MISSES);
        }
        answering.answer(asked)
    });
    let store = TempStore::new();
    let (manifest, blobs) = image(&store);
    let app: Reference = format!("{}/lab/app:1", server.address).parse().unwrap();
    let places = Places::new();
    let pushed = client().push_image(&store, &app, &manifest, &blobs, &places, Watch::NONE);
    let lines = server.lines();
    let count = |start: &str, part: &str| {
        let is_one = |line: &&String| line.starts_with(start) && line.contains(part);
        lines.iter().filter(is_one).count()
    };
    (
        pushed.map(|pushed| pushed.sent),
        count("POST", "/blobs/uploads/"),
        count("PUT", "/manifests/"),
    )
}

#[test]
fn a_registry_that_misses_parts_for_a_moment_is_asked_again() {
    let (sent, uploads, manifests) = pushed_to_doubting(2, false);
    assert_eq!((sent.unwrap(), uploads, manifests), (4, 3, 3));
}

#[test]
fn blobs_that_a_registry_lost_before_the_manifest_came_are_sent_again() {
    let (sent, uploads, manifests) = pushed_to_doubting(4, true);
    assert_eq!((sent.unwrap(), uploads, manifests), (7, 6, 5));
}

#[test]
fn a_registry_that_goes_on_missing_parts_is_believed() {
    let (sent, uploads, manifests) = pushed_to_doubting(usize::MAX, false);
    let error = sent.unwrap_err().to_string();
    assert!(
        error.contains("400: DIGEST_INVALID; MANIFEST_BLOB_UNKNOWN"),
        "{error}"
    );
    assert_eq!((uploads, manifests), (3, 8));
}

#[test]
fn a_place_that_may_not_be_read_is_passed_over() {
    let taking = Taking::default();
    let answering = taking.clone();
    let server = Answering::start(move |asked| {
        if asked.path.starts_with("/token?") {
            return match asked.path.contains("lab%2Fbase") {
                true => Reply::status(403),
                false => Reply::status(200).body("{\"token\":\"t\"}"),
            };
        }
        if asked.header("authorization") != "Bearer t" {
            let host = asked.header("host");
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            return Reply::status(401).with("WWW-Authenticate", challenge);
        }
        answering.answer(asked)
    });
    let store = TempStore::new();
    let blob = blob(&store, SMALL);
    let app: Reference = format!("{}/lab/app:1", server.address).parse().unwrap();
    let places = ["lab/base".to_owned()];
    let sent = client().push_blob(&store, &app, &blob, &places, Watch::NONE);
    assert_eq!(sent.unwrap(), Sent::Uploaded);
    assert!(taking.has("lab/app", &blob));
}

#[test]
fn an_upload_can_be_stopped_in_the_wait() {
    let taking = Taking::default();
    let server = Answering::start(move |asked| match asked.method.as_str() {
        "PATCH" => Reply::status(503),
        _ => taking.answer(asked),
    });
    let store = TempStore::new();
    let blob = blob(&store, LARGE);
    let moved = Mutex::new(0);
    let watch = Watch {
        is_stopped: &|| *moved.lock().unwrap() > 0,
        moved: &|bytes| *moved.lock().unwrap() += bytes,
    };
    let reference: Reference = format!("{}/a:1", server.address).parse().unwrap();
    let error = client().push_blob(&store, &reference, &blob, &[], watch);
    assert!(error.unwrap_err().is_cancelled());
}
