//! Pulls from registries that want tokens, break off, limit, lie, redirect and have mirrors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_oci::{Digest, Platform, Reference};
use cairn_registry::{
    FetchProblem, Mirror, Pulled, RegistryClient, RegistryError, RegistryOptions, Watch,
};
use cairn_testkit::TempStore;

use crate::answering::{Answering, Asked, Reply, Shelf, client, options};

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

fn shelf() -> Shelf {
    let mut shelf = Shelf::default();
    shelf.image("1", &amd64(), "one");
    shelf
}

fn reference(server: &Answering, rest: &str) -> Reference {
    format!("{}/{rest}", server.address).parse().unwrap()
}

fn pull_with(
    client: &RegistryClient,
    store: &TempStore,
    reference: &Reference,
) -> Result<Pulled, RegistryError> {
    client.pull(store, reference, &amd64(), false, Watch::NONE)
}

fn pull(server: &Answering, rest: &str) -> Result<Pulled, RegistryError> {
    pull_with(&client(), &TempStore::new(), &reference(server, rest))
}

/// The text of the file that tells images apart.
fn word(store: &TempStore, pulled: &Pulled) -> String {
    let snapshot = &pulled.layers[0];
    std::fs::read_to_string(store.snapshot_dir(snapshot).join("word")).unwrap()
}

fn problem(error: &RegistryError) -> &FetchProblem {
    match error {
        RegistryError::Request { failure, .. } => &failure.problem,
        other => panic!("no request failed: {other}"),
    }
}

#[test]
fn an_image_is_unpacked_and_its_blobs_are_kept() {
    let shelf = shelf();
    let held = shelf.clone();
    let server = Answering::start(move |asked| shelf.answer(asked));
    let store = TempStore::new();
    let name = reference(&server, "lab/app:1");
    let pulled = pull_with(&client(), &store, &name).unwrap();
    assert_eq!(word(&store, &pulled), "one");
    assert_eq!(pulled.image.top, pulled.image.manifest);
    for digest in held.blobs.keys() {
        assert!(store.has_blob(&digest.parse().unwrap()), "{digest}");
    }
    assert!(store.has_blob(&pulled.image.manifest.digest));
    let again = pull_with(&client(), &store, &name).unwrap();
    assert_eq!(again.layers, pulled.layers);
    let blobs = server
        .lines()
        .iter()
        .filter(|l| l.contains("/blobs/"))
        .count();
    assert_eq!(blobs, 2, "nothing is fetched twice: {:?}", server.lines());
}

#[test]
fn an_index_gives_the_image_of_the_platform_and_no_attestation() {
    let mut shelf = Shelf::default();
    let arm = shelf.image("arm", &Platform::new("linux", "arm64"), "arm");
    let mut note = shelf.image("note", &Platform::new("unknown", "unknown"), "note");
    note.annotations.insert(
        "vnd.docker.reference.type".into(),
        "attestation-manifest".into(),
    );
    let amd = shelf.image("amd", &amd64(), "amd");
    let index = shelf.index("all", vec![note, arm.clone(), amd.clone()]);
    shelf.index("nested", vec![index.clone()]);
    shelf.index("arms", vec![arm]);
    let server = Answering::start(move |asked| shelf.answer(asked));
    let store = TempStore::new();
    for tag in ["all", "nested"] {
        let name = reference(&server, &format!("a:{tag}"));
        let pulled = pull_with(&client(), &store, &name).unwrap();
        assert_eq!(word(&store, &pulled), "amd");
        assert_eq!(pulled.image.manifest.digest, amd.digest);
        assert!(store.has_blob(&pulled.image.top.digest) && pulled.image.top.media_type.is_index());
    }
    let error = pull(&server, "a:arms").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has no image for linux/amd64; it has linux/arm64"),
        "{error}"
    );
}

#[test]
fn a_broken_layer_goes_on_where_it_broke() {
    let shelf = shelf();
    let breaks = AtomicUsize::new(0);
    let server = Answering::start(move |asked| {
        let mut reply = shelf.answer(asked);
        if reply.body.len() > 100_000 && breaks.fetch_add(1, Ordering::SeqCst) < 3 {
            reply.breaks_after = Some(50_000);
        }
        reply
    });
    let store = TempStore::new();
    let pulled = pull_with(&client(), &store, &reference(&server, "a:1")).unwrap();
    assert_eq!(word(&store, &pulled), "one");
    let ranges: Vec<String> = server
        .asked()
        .iter()
        .map(|asked| asked.header("range").to_owned())
        .filter(|range| !range.is_empty())
        .collect();
    assert_eq!(ranges, ["bytes=50000-", "bytes=100000-", "bytes=150000-"]);
}

#[test]
fn a_busy_registry_is_asked_again_and_a_denying_one_is_not() {
    let shelf = shelf();
    let turns = AtomicUsize::new(0);
    let server = Answering::start(move |asked| {
        if asked.path == "/v2/" {
            return Reply::status(200);
        }
        match turns.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(429).with("Retry-After", "0"),
            1 => Reply::status(503),
            2 => Reply {
                is_silent: true,
                ..Reply::default()
            },
            _ => shelf.answer(asked),
        }
    });
    pull(&server, "a:1").unwrap();
    let denying = Answering::start(|asked| match asked.path.as_str() {
        "/v2/" => Reply::status(200),
        _ => Reply::status(403).body(r#"{"errors":[{"code":"DENIED","message":"not you"}]}"#),
    });
    let error = pull(&denying, "a:1").unwrap_err();
    assert_eq!(denying.lines(), ["GET /v2/a/manifests/1"]);
    let told = format!(
        "GET http://{}/v2/a/manifests/1: the server answered 403: not you (DENIED)",
        denying.address
    );
    assert_eq!(error.to_string(), told);
    assert!(error.hints()[0].starts_with("there is no login for 127.0.0.1"));
}

#[test]
fn other_bytes_are_refused_whoever_sends_them() {
    let right = shelf();
    let mut wrong = right.clone();
    for bytes in wrong.blobs.values_mut() {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    }
    let server = Answering::start(move |asked| wrong.answer(asked));
    let store = TempStore::new();
    let error = pull_with(&client(), &store, &reference(&server, "a:1")).unwrap_err();
    let is_told = matches!(problem(&error), FetchProblem::WrongDigest { .. });
    assert!(is_told, "{error}");
    let lying = Answering::start(move |asked| {
        let mut reply = right.answer(asked);
        if asked.path.contains("/manifests/") {
            reply.body.push(b' ');
        }
        reply
    });
    let error = pull(&lying, "a:1").unwrap_err();
    let is_told = matches!(problem(&error), FetchProblem::Damaged { .. });
    assert!(is_told, "{error}");
}

#[test]
fn a_missing_image_is_told_at_once() {
    let server = Answering::start(|asked| Shelf::default().answer(asked));
    let error = pull(&server, "a:1").unwrap_err();
    assert!(error.is_missing());
    assert!(
        error
            .to_string()
            .ends_with("404: not known here (MANIFEST_UNKNOWN)"),
        "{error}"
    );
    let gone = "127.0.0.1:1/a:1".parse().unwrap();
    let error = pull_with(&client(), &TempStore::new(), &gone).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

/// A registry that gives a token to `joe` with `hunter2`, each good for some requests.
fn guarded(shelf: Shelf, uses: usize) -> Answering {
    let (given, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Answering::start(move |asked: &Asked| {
        if asked.path.starts_with("/token?") {
            let is_joe = asked.header("authorization") == "Basic am9lOmh1bnRlcjI=";
            left.store(uses, Ordering::SeqCst);
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return match is_joe {
                true => Reply::status(200).body(format!("{{\"token\":\"t{number}\"}}")),
                false => Reply::status(401).body("who are you"),
            };
        }
        let now = format!("Bearer t{}", given.load(Ordering::SeqCst));
        let is_let_in = asked.header("authorization") == now
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        if is_let_in {
            return shelf.answer(asked);
        }
        let host = asked.header("host");
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        Reply::status(401).with("WWW-Authenticate", challenge)
    })
}

fn logged_in(server: &Answering, entry: &str) -> (tempfile::TempDir, RegistryOptions) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("auth.json");
    let text = format!("{{\"auths\":{{\"{}\":{entry}}}}}", server.address);
    std::fs::write(&path, text).unwrap();
    let mut options = options();
    options.credentials.files = vec![path];
    (place, options)
}

#[test]
fn a_token_is_asked_for_once_and_anew_when_it_ends() {
    for (uses, tokens) in [(100, 1), (2, 2)] {
        let server = guarded(shelf(), uses);
        let (_place, options) = logged_in(&server, r#"{"auth":"am9lOmh1bnRlcjI="}"#);
        let client = RegistryClient::new(options);
        let store = TempStore::new();
        pull_with(&client, &store, &reference(&server, "lab/app:1")).unwrap();
        let lines = server.lines();
        let asked: Vec<&String> = lines.iter().filter(|l| l.contains("/token")).collect();
        assert_eq!(asked.len(), tokens, "{lines:?}");
        let first =
            "GET /token?service=s&scope=repository%3Alab%2Fapp%3Apull&account=joe&client_id=cairn";
        assert_eq!(asked[0], first);
    }
}

#[test]
fn a_login_that_is_not_enough_is_told_without_its_password() {
    let server = guarded(shelf(), 9);
    let (_place, options) = logged_in(&server, r#"{"username":"joe","password":"s3cret"}"#);
    let client = RegistryClient::new(options);
    let error = pull_with(&client, &TempStore::new(), &reference(&server, "a:1")).unwrap_err();
    let mut told = format!("{error} {error:?} {:?}", error.hints());
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        told.push_str(&inner.to_string());
        cause = inner.source();
    }
    assert!(told.contains("401: who are you"), "{told}");
    assert!(told.contains("the login for 127.0.0.1"), "{told}");
    for secret in ["s3cret", "am9l"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn identity_tokens_are_changed_for_tokens_by_post() {
    let shelf = shelf();
    let server = Answering::start(move |asked| {
        if asked.line() == "POST /token" {
            let body = String::from_utf8_lossy(&asked.body);
            let is_right = body
                .contains("grant_type=refresh_token&client_id=cairn&refresh_token=r%2Bt")
                && body.contains("scope=repository%3Aa%3Apull");
            return match is_right {
                true => Reply::status(200).body(r#"{"access_token":"t"}"#),
                false => Reply::status(400),
            };
        }
        if asked.header("authorization") == "Bearer t" {
            return shelf.answer(asked);
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", asked.header("host"));
        Reply::status(401).with("WWW-Authenticate", challenge)
    });
    let (_place, options) = logged_in(&server, r#"{"identitytoken":"r+t"}"#);
    let client = RegistryClient::new(options);
    pull_with(&client, &TempStore::new(), &reference(&server, "a:1")).unwrap();
}

#[test]
fn a_refresh_token_goes_to_no_other_host() {
    let thief = Answering::start(|_| Reply::status(200).body(r#"{"access_token":"t"}"#));
    let elsewhere = thief.address;
    let server = Answering::start(move |asked| {
        if asked.path == "/token" {
            let place = format!("http://{elsewhere}/token");
            return Reply::status(307).with("Location", place);
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", asked.header("host"));
        Reply::status(401).with("WWW-Authenticate", challenge)
    });
    let (_place, options) = logged_in(&server, r#"{"identitytoken":"s3cret"}"#);
    let client = RegistryClient::new(options);
    let error = pull_with(&client, &TempStore::new(), &reference(&server, "a:1")).unwrap_err();
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn a_password_goes_to_no_other_host() {
    let shelf = shelf();
    let held = shelf.clone();
    let storage = Answering::start(move |asked| held.answer(asked));
    let elsewhere = storage.address;
    let server = Answering::start(move |asked| {
        if asked.header("authorization") != "Basic am9lOmh1bnRlcjI=" {
            return Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match asked.path.contains("/blobs/") {
            true => {
                Reply::status(307).with("Location", format!("http://{elsewhere}{}", asked.path))
            }
            false => shelf.answer(asked),
        }
    });
    let (_place, options) = logged_in(&server, r#"{"auth":"am9lOmh1bnRlcjI="}"#);
    let client = RegistryClient::new(options);
    pull_with(&client, &TempStore::new(), &reference(&server, "a:1")).unwrap();
    assert_eq!(storage.asked().len(), 2);
    assert!(
        storage
            .asked()
            .iter()
            .all(|asked| asked.header("authorization").is_empty())
    );
}

#[test]
fn mirrors_are_asked_first_and_the_registry_where_they_fail() {
    let good = shelf();
    let mut damaged = good.clone();
    for bytes in damaged.blobs.values_mut() {
        bytes.push(0);
        bytes.remove(0);
    }
    let mut empty = good.clone();
    empty.blobs.clear();
    let mut half = good.clone();
    half.manifests.clear();
    // (what the mirror has, how many requests the registry itself gets)
    for (mirrored, expected) in [(good.clone(), 0), (damaged, 1), (empty, 2), (half, 1)] {
        let mirror = Answering::start(move |asked| mirrored.answer(asked));
        let held = good.clone();
        let server = Answering::start(move |asked| held.answer(asked));
        let mut options = options();
        let address = server.address.to_string();
        options.mirrors = vec![
            Mirror::parse(&format!("{address}={}/cache", mirror.address)).unwrap(),
            Mirror::parse("other.io=127.0.0.1:1").unwrap(),
        ];
        let store = TempStore::new();
        let client = RegistryClient::new(options);
        let name = reference(&server, "lab/app:1");
        let pulled = pull_with(&client, &store, &name).unwrap();
        assert_eq!(word(&store, &pulled), "one");
        let lines = mirror.lines();
        assert!(lines[0] == "GET /v2/cache/lab/app/manifests/1", "{lines:?}");
        assert!(server.lines().len() >= expected, "{:?}", server.lines());
        assert_eq!(
            server.lines().is_empty(),
            expected == 0,
            "{:?}",
            server.lines()
        );
    }
}

#[test]
fn a_mirror_where_nobody_answers_is_named_and_left_alone() {
    let held = shelf();
    let server = Answering::start(move |asked| held.answer(asked));
    let address = server.address.to_string();
    let with_dead_mirror = |registry: &str| {
        let mut options = options();
        options.mirrors = vec![Mirror::parse(&format!("{registry}=127.0.0.1:1/cache")).unwrap()];
        RegistryClient::new(options)
    };
    let client = with_dead_mirror(&address);
    let store = TempStore::new();
    let name = reference(&server, "lab/app:1");
    let pulled = pull_with(&client, &store, &name).unwrap();
    assert_eq!(word(&store, &pulled), "one");
    let told = client.mirror_troubles();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("the mirror 127.0.0.1:1 failed: GET 127.0.0.1:1/v2/cache/lab/app/"),
        "{told:?}"
    );
    assert!(client.mirror_troubles().is_empty(), "told once");

    // Where the registry has nothing either, its error says both.
    let client = with_dead_mirror(&address);
    let name = reference(&server, "lab/app:none");
    let error = pull_with(&client, &store, &name).unwrap_err();
    assert!(error.is_missing(), "{error}");
    assert_eq!(error.hints().last(), Some(&client.mirror_troubles()[0]));
}

#[test]
fn http_is_for_this_machine_or_on_demand() {
    let mut options = options();
    options.http.retry.connect_attempts = 1;
    options.http.proxies.https = Some("http://127.0.0.1:1".to_owned());
    let name: Reference = "registry.invalid/a:1".parse().unwrap();
    let asked = |options: &RegistryOptions| {
        let client = RegistryClient::new(options.clone());
        pull_with(&client, &TempStore::new(), &name)
            .unwrap_err()
            .to_string()
    };
    assert!(
        asked(&options).starts_with("GET https://registry.invalid/"),
        "{}",
        asked(&options)
    );
    // A proxy stands for the registry that nobody can resolve.
    let server = Answering::start(|_| Reply::status(404));
    options.http.proxies.http = Some(server.address.to_string());
    asked(&options);
    assert!(server.asked().is_empty());
    options.insecure = vec!["registry.invalid".to_owned()];
    assert!(
        asked(&options).starts_with("GET http://registry.invalid/"),
        "{}",
        asked(&options)
    );
    assert!(!server.asked().is_empty());
}

#[test]
fn a_tag_is_looked_up_without_its_manifest() {
    let mut shelf = shelf();
    let index = shelf.index("all", vec![]);
    let server = Answering::start(move |asked| shelf.answer(asked));
    let client = client();
    let found = client
        .look_up(&reference(&server, "a:all"), Watch::NONE)
        .unwrap();
    assert_eq!(found.map(|found| found.digest), Some(index.digest));
    let none = client
        .look_up(&reference(&server, "a:none"), Watch::NONE)
        .unwrap();
    assert_eq!(none, None);
    assert!(server.lines().iter().all(|line| line.starts_with("HEAD ")));
}

#[test]
fn a_pull_can_be_stopped() {
    let shelf = shelf();
    let server = Answering::start(move |asked| shelf.answer(asked));
    let moved = Mutex::new(0);
    let watch = Watch {
        is_stopped: &|| *moved.lock().unwrap() > 1000,
        moved: &|bytes| *moved.lock().unwrap() += bytes,
    };
    let store = TempStore::new();
    let name = reference(&server, "a:1");
    let error = client()
        .pull(&store, &name, &amd64(), false, watch)
        .unwrap_err();
    assert!(error.is_cancelled(), "{error}");
}

#[test]
fn documents_that_are_no_images_are_refused() {
    let mut shelf = Shelf::default();
    let mut no_layers = Shelf::default();
    let image = no_layers.image("x", &amd64(), "x");
    let (_, bytes) = &no_layers.manifests[image.digest.as_str()];
    let text = String::from_utf8(bytes.clone()).unwrap();
    shelf.blobs = no_layers.blobs.clone();
    let config_only = text.split_once(",\"layers\"").unwrap().0.to_owned() + ",\"layers\":[]}";
    shelf.manifest(
        "short",
        cairn_oci::MediaType::OciManifest,
        config_only.as_bytes(),
    );
    let artifact = text.replace("image.config.v1+json", "other.v1+json");
    shelf.manifest(
        "artifact",
        cairn_oci::MediaType::OciManifest,
        artifact.as_bytes(),
    );
    shelf.manifest("html", cairn_oci::MediaType::OciManifest, b"<html>");
    shelf.manifest(
        "v1",
        cairn_oci::MediaType::OciManifest,
        b"{\"schemaVersion\":1}",
    );
    let server = Answering::start(move |asked| shelf.answer(asked));
    for (tag, words) in [
        ("short", "its config speaks of 1 layers, its manifest of 0"),
        ("artifact", "it holds no image but"),
        ("html", "neither a manifest nor an index"),
        ("v1", "neither a manifest nor an index"),
    ] {
        let error = pull(&server, &format!("a:{tag}")).unwrap_err();
        assert!(error.to_string().contains(words), "{tag}: {error}");
    }
    let absent = Digest::sha256(b"absent");
    let error = pull(&server, &format!("a@{absent}")).unwrap_err();
    assert!(error.is_missing(), "{error}");
}

/// A proxy that damages what goes through it now and then is no reason to give up.
#[test]
fn a_document_that_came_damaged_is_asked_for_again() {
    let bytes = br#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{}}"#;
    let digest = Digest::sha256(bytes);
    for name in ["r:tag".to_owned(), format!("r@{digest}")] {
        let (told, times) = (digest.to_string(), AtomicUsize::new(0));
        let server = Answering::start(move |asked| {
            let reply = Reply::status(200);
            let is_named = asked.path.contains("sha256:");
            if asked.path == "/v2/" {
                return reply;
            }
            match (times.fetch_add(1, Ordering::Relaxed), is_named) {
                (0, false) => reply.with("Docker-Content-Digest", &told).body(b"{}"),
                (0, true) => reply.body(b"{}"),
                // Without a word of its digest.
                (1, _) => reply.body(&bytes[..20]),
                _ => reply.body(bytes),
            }
        });
        let reference = reference(&server, &name);
        let found = client().current_document(&reference, Watch::NONE).unwrap();
        assert_eq!(found.bytes, bytes, "{name}");
        assert_eq!(server.lines().len(), 3, "{name}");
    }
}
