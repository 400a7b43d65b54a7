//! Locking and fetching against mirrors that are whole, damaged, forged, out of date or gone.
//!
//! The archive in `tests/archive` has three packages and is signed by the good key of
//! `tests/trust`; it is valid from February to November 2026.

use std::error::Error as _;

use cairn_debian::trust::Keyring;
use cairn_debian::{DebianError, Lock, Request, ResolveOptions, Sources, Variant, fetch, resolve};
use cairn_registry::{FetchOptions, Fetcher, RetryPolicy};
use cairn_sandbox::Cancel;
use cairn_store::{OpenOptions, Ownership, Store};

use crate::mirror::{Mirror, archive_file};

const MARCH: i64 = 1_772_500_000;
const DECEMBER: i64 = 1_796_200_000;
const INDEX: &str = "dists/sid/main/binary-amd64/Packages.xz";
const APP: &str = "pool/main/app_1.0-1_all.deb";
const APP_FORGED: &str = "pool/main/core_3_all.deb";

struct Home {
    _folder: tempfile::TempDir,
    store: Store,
}

fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(
        folder.path(),
        OpenOptions {
            ownership: Ownership::Native,
        },
    )
    .unwrap();
    Home {
        _folder: folder,
        store,
    }
}

fn fetcher() -> Fetcher {
    let retry = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    Fetcher::new(FetchOptions {
        retry,
        ..FetchOptions::default()
    })
}

fn request(mirrors: &[&Mirror]) -> Request {
    Request {
        suite: "sid".to_owned(),
        arch: "amd64".to_owned(),
        variant: Variant::Minbase,
        packages: vec!["app".to_owned()],
        components: vec!["main".to_owned()],
        mirrors: mirrors.iter().map(|mirror| mirror.url()).collect(),
    }
}

fn options(now: i64) -> ResolveOptions {
    let ring = Keyring::parse(include_bytes!("../trust/good.gpg")).unwrap();
    ResolveOptions {
        keyring: Some(ring),
        now,
        check_valid_until: true,
    }
}

fn lock_at(home: &Home, mirrors: &[&Mirror], now: i64) -> Result<Lock, DebianError> {
    resolve(
        &home.store,
        &fetcher(),
        &request(mirrors),
        &options(now),
        &Cancel::new(),
        &|_| {},
    )
}

fn lock(home: &Home, mirrors: &[&Mirror]) -> Result<Lock, DebianError> {
    lock_at(home, mirrors, MARCH)
}

fn fetch_all(
    home: &Home,
    lock: &Lock,
    mirrors: &[&Mirror],
    snapshot: Option<&Mirror>,
) -> Result<(), DebianError> {
    let urls: Vec<String> = mirrors.iter().map(|mirror| mirror.url()).collect();
    let snapshot = snapshot.map(Mirror::url);
    let fetcher = fetcher();
    let sources = Sources {
        fetcher: &fetcher,
        mirrors: &urls,
        snapshot: snapshot.as_deref(),
    };
    fetch(&home.store, lock, &sources, &Cancel::new(), &|_| {})
}

/// An error with its causes, as a user reads it.
fn told(error: &DebianError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn names(lock: &Lock) -> Vec<String> {
    let name = |p: &cairn_debian::LockedPackage| {
        format!(
            "{} {}{}",
            p.name,
            p.version,
            if p.auto { " auto" } else { "" }
        )
    };
    lock.packages.iter().map(name).collect()
}

#[test]
fn a_request_is_locked_from_verified_indexes() {
    let mirror = Mirror::start(&[]);
    let lock = lock(&home(), &[&mirror]).unwrap();
    assert_eq!(names(&lock), ["app 1.0-1", "core 3", "lib 2.1+b1 auto"]);
    assert_eq!(lock.indexes[0].mirror, mirror.url());
    assert_eq!(lock.indexes[0].date, "2026-02-01T00:00:00Z");
    assert_eq!(lock.staleness(&request(&[])), [""; 0]);
}

#[test]
fn indexes_are_asked_for_by_hash_and_only_once() {
    let mirror = Mirror::start(&[]);
    let home = home();
    lock(&home, &[&mirror]).unwrap();
    lock(&home, &[&mirror]).unwrap();
    let asked = mirror.asked();
    assert!(
        asked[1].starts_with("dists/sid/main/binary-amd64/by-hash/SHA256/"),
        "{asked:?}"
    );
    assert_eq!(asked[2..], [INDEX, "dists/sid/InRelease"]);
}

#[test]
fn an_archive_without_inrelease_is_believed_by_its_detached_signature() {
    let mirror = Mirror::start(&[("dists/sid/InRelease", None)]);
    lock(&home(), &[&mirror]).unwrap();
    let release = archive_file("dists/sid/Release");
    let forged = String::from_utf8(release)
        .unwrap()
        .replace("Example", "Exemple");
    let forger = Mirror::start(&[
        ("dists/sid/InRelease", None),
        ("dists/sid/Release", Some(forged.as_bytes())),
    ]);
    let message = told(&lock(&home(), &[&forger]).unwrap_err());
    assert!(
        message.contains("is not trusted: bad signature"),
        "{message}"
    );
}

#[test]
fn a_forged_release_is_refused_even_when_another_mirror_is_honest() {
    let release = String::from_utf8(archive_file("dists/sid/InRelease")).unwrap();
    let forged = release.replace(
        "main/binary-amd64/Packages.xz",
        "main/binary-amd64/Packages.gz",
    );
    let forger = Mirror::start(&[("dists/sid/InRelease", Some(forged.as_bytes()))]);
    let honest = Mirror::start(&[]);
    let message = told(&lock(&home(), &[&forger, &honest]).unwrap_err());
    assert!(
        message.starts_with("the Release of sid at http://127.0.0.1:"),
        "{message}"
    );
    assert!(
        message.contains("is not trusted: bad signature: the text is not what 3EB4"),
        "{message}"
    );
}

#[test]
fn a_mirror_without_the_suite_is_passed_over() {
    let (empty, whole) = (Mirror::only(&[]), Mirror::start(&[]));
    let lock = lock(&home(), &[&empty, &whole]).unwrap();
    assert_eq!(lock.indexes[0].mirror, whole.url());
    let message = told(&self::lock(&home(), &[&empty]).unwrap_err());
    assert!(
        message.starts_with("the suite sid cannot be fetched from http://127.0.0.1:"),
        "{message}"
    );
}

#[test]
fn a_damaged_index_is_refused_by_name() {
    let mut damaged = archive_file(INDEX);
    damaged[50] ^= 1;
    let mirror = Mirror::start(&[(INDEX, Some(&damaged))]);
    let message = told(&lock(&home(), &[&mirror]).unwrap_err());
    assert!(
        message.starts_with("the index main/binary-amd64/Packages.xz of sid cannot be fetched"),
        "{message}"
    );
    assert!(
        message.contains("the file has the digest sha256:"),
        "{message}"
    );
}

#[test]
fn a_release_whose_time_is_over_is_refused_unless_told_otherwise() {
    let mirror = Mirror::start(&[]);
    let home = home();
    let message = told(&lock_at(&home, &[&mirror], DECEMBER).unwrap_err());
    assert!(
        message.ends_with("is refused: it was valid until 2026-12-01T00:00:00Z only"),
        "{message}"
    );
    let lenient = ResolveOptions {
        check_valid_until: false,
        ..options(DECEMBER)
    };
    let request = request(&[&mirror]);
    resolve(
        &home.store,
        &fetcher(),
        &request,
        &lenient,
        &Cancel::new(),
        &|_| {},
    )
    .unwrap();
}

#[test]
fn a_component_or_architecture_that_is_not_there_is_named() {
    let mirror = Mirror::start(&[]);
    let request = Request {
        arch: "arm64".to_owned(),
        ..request(&[&mirror])
    };
    let home = home();
    let error = resolve(
        &home.store,
        &fetcher(),
        &request,
        &options(MARCH),
        &Cancel::new(),
        &|_| {},
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "the suite sid has no main for arm64"
    );
}

#[test]
fn packages_arrive_in_the_store_and_are_fetched_once() {
    let mirror = Mirror::start(&[]);
    let home = home();
    let lock = lock(&home, &[&mirror]).unwrap();
    let before = mirror.asked().len();
    fetch_all(&home, &lock, &[], None).unwrap();
    assert_eq!(mirror.asked().len(), before + 3);
    fetch_all(&home, &lock, &[], None).unwrap();
    assert_eq!(mirror.asked().len(), before + 3);
    assert!(
        mirror
            .asked()
            .contains(&"pool/main/lib_2.1+b1_all.deb".to_owned())
    );
}

#[test]
fn a_package_with_another_content_is_refused_by_name() {
    let forged = archive_file(APP_FORGED);
    let mirror = Mirror::start(&[(APP, Some(&forged))]);
    let home = home();
    let lock = lock(&home, &[&mirror]).unwrap();
    let message = told(&fetch_all(&home, &lock, &[], None).unwrap_err());
    assert!(
        message.starts_with("the package app cannot be fetched: GET http://"),
        "{message}"
    );
    assert!(
        message.contains("bytes instead of") || message.contains("has the digest"),
        "{message}"
    );
}

#[test]
fn a_package_that_the_mirror_dropped_is_found_elsewhere() {
    let dropped = Mirror::start(&[(APP, None)]);
    let home = home();
    let lock = lock(&home, &[&dropped]).unwrap();
    let gone = fetch_all(&home, &lock, &[], None).unwrap_err();
    assert_eq!(gone.to_string(), "no mirror has app 1.0-1");
    assert!(matches!(gone, DebianError::Gone { packages } if packages.len() == 1));

    let other = Mirror::start(&[]);
    fetch_all(&home, &lock, &[&other], None).unwrap();
    assert_eq!(other.asked(), [APP]);
}

/// Where nothing may be fetched, what lacks is named, all of it, and nobody is asked.
#[test]
fn offline_the_packages_that_lack_are_named() {
    let mirror = Mirror::start(&[]);
    let home = home();
    let lock = lock(&home, &[&mirror]).unwrap();
    let asked = mirror.asked().len();
    let fetcher = Fetcher::new(FetchOptions {
        offline: true,
        ..FetchOptions::default()
    });
    let sources = Sources {
        fetcher: &fetcher,
        mirrors: &[],
        snapshot: None,
    };
    let offline = || fetch(&home.store, &lock, &sources, &Cancel::new(), &|_| {});
    let error = offline().unwrap_err();
    assert!(
        matches!(&error, DebianError::Offline { packages } if packages.len() == lock.packages.len())
    );
    let text = error.to_string();
    assert!(
        text.contains("app 1.0-1") && text.contains("`--offline`"),
        "{text}"
    );
    assert_eq!(mirror.asked().len(), asked);
    fetch_all(&home, &lock, &[&mirror], None).unwrap();
    offline().unwrap();
}

#[test]
fn the_snapshot_archive_is_asked_by_time_and_then_by_hash() {
    let app = archive_file(APP);
    let by_time = "archive/debian/20260201T000000Z/pool/main/app_1.0-1_all.deb";
    let question = "mr/binary/app/1.0-1/binfiles";
    let answer = br#"{"package":"app","result":[{"architecture":"amd64","hash":"aa"},{"architecture":"all","hash":"bb"}]}"#;
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Files<'_>, &[&str]); 2] = [
        (&[(by_time, &app)], &[by_time]),
        (
            &[(question, answer), ("file/bb", &app)],
            &[by_time, question, "file/bb"],
        ),
    ];
    for (files, expected) in cases {
        let dropped = Mirror::start(&[(APP, None)]);
        let snapshot = Mirror::only(files);
        let home = home();
        let lock = lock(&home, &[&dropped]).unwrap();
        fetch_all(&home, &lock, &[], Some(&snapshot)).unwrap();
        assert_eq!(snapshot.asked(), expected);
    }
}

#[test]
fn a_snapshot_archive_out_of_reach_does_not_hide_that_a_package_is_gone() {
    let dropped = Mirror::start(&[(APP, None)]);
    let home = home();
    let lock = lock(&home, &[&dropped]).unwrap();
    let fetcher = fetcher();
    let sources = Sources {
        fetcher: &fetcher,
        mirrors: &[],
        snapshot: Some("http://127.0.0.1:1"),
    };
    let error = fetch(&home.store, &lock, &sources, &Cancel::new(), &|_| {}).unwrap_err();
    assert!(matches!(error, DebianError::Gone { .. }), "{error}");
}

#[test]
fn a_mirror_out_of_reach_is_told_as_such() {
    let mirror = Mirror::start(&[]);
    let home = home();
    let mut lock = lock(&home, &[&mirror]).unwrap();
    lock.indexes[0].mirror = "http://127.0.0.1:1".to_owned();
    let error = fetch_all(&home, &lock, &[], None).unwrap_err();
    assert!(matches!(error, DebianError::Fetch { .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_stopped_fetch_says_so() {
    let mirror = Mirror::start(&[]);
    let home = home();
    let lock = lock(&home, &[&mirror]).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let fetcher = fetcher();
    let sources = Sources {
        fetcher: &fetcher,
        mirrors: &[],
        snapshot: None,
    };
    let error = fetch(&home.store, &lock, &sources, &cancel, &|_| {}).unwrap_err();
    assert!(matches!(error, DebianError::Cancelled), "{error}");
}
