//! Killed at any moment, building or collecting: the store opens, is true, and keeps what was
//! committed (requirement: `kill -9` at random moments).
//!
//! The victim is this very test binary, started again for one test with a variable set.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cairn_oci::{Compression, Descriptor};
use cairn_store::{
    CacheKey, CacheRecord, GcOptions, KeyHasher, OpenOptions, Ownership, Severity, Store, collect,
};

const HOME: &str = "CAIRN_TEST_CRASH_HOME";
const ROUNDS: u64 = 40;

fn open(home: &Path) -> Store {
    let ownership = Ownership::Recorded;
    Store::open(home, OpenOptions { ownership }).unwrap()
}

fn key(number: u64) -> CacheKey {
    KeyHasher::new("crash").number("step", number).finish_key()
}

/// One step of a build: what the record says must be so whenever the record is there.
fn build_step(store: &Store, number: u64) {
    let active = store.begin_snapshot().unwrap();
    for file in 0..20 {
        fs::write(
            active.upper().join(format!("{file}")),
            number.to_string().repeat(500),
        )
        .unwrap();
    }
    let snapshot = active.commit().unwrap();
    let content = store.snapshot_content(&snapshot).unwrap();
    let record = CacheRecord {
        key: key(number),
        snapshot: Some(snapshot),
        content,
        created: number as i64,
        cost_ms: 0,
        description: format!("step {number}"),
        inputs: vec![],
    };
    store.put_record(&record).unwrap();
    // Announced only now: whoever reads the log may count on the record.
    let log = store.home().join("logs/done");
    let mut done = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .unwrap();
    std::io::Write::write_all(&mut done, format!("{number}\n").as_bytes()).unwrap();
    let layer = store.export_layer(&snapshot, 0, Compression::Gzip).unwrap();
    let document = format!(
        "{{\"s\":\"{snapshot}\",\"l\":\"{}\"}}",
        layer.descriptor.digest
    );
    let digest = store.put_blob_bytes(document.as_bytes()).unwrap();
    let target = Descriptor::new("application/vnd.test+json", digest, document.len() as u64);
    store.publish(&[("image".into(), target)]).unwrap();
}

/// The victim. As a test of its own it has nothing to do.
#[test]
fn victim() {
    let Some(home) = std::env::var_os(HOME) else {
        return;
    };
    let home = Path::new(&home);
    for number in 0.. {
        let store = open(home);
        build_step(&store, number % 7);
        drop(store);
        if number % 3 == 2 {
            let options = GcOptions {
                cache_mounts_bytes: None,
                cache_mounts_age: None,
                budget_bytes: Some(200 << 10),
                keep_within: Duration::ZERO,
                dry_run: false,
                wait: true,
            };
            collect(home, &options).unwrap();
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let home = tempfile::tempdir().unwrap();
    let mut survived = 0;
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::victim", "--nocapture"])
            .env(HOME, home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over start-up, steps and collections, the same on every run.
        std::thread::sleep(Duration::from_millis(20 + round * 7919 % 230));
        assert!(
            victim.try_wait().unwrap().is_none(),
            "it only ends when it is killed"
        );
        victim.kill().unwrap();
        victim.wait().unwrap();
        survived += assert_true(home.path());
    }
    assert!(
        survived > ROUNDS,
        "the test saw hardly any record: {survived}"
    );
}

/// Looks at everything the store says; gives how many records it had.
fn assert_true(home: &Path) -> u64 {
    let store = open(home);
    let lost = |finding: &cairn_store::Finding| finding.severity > Severity::Note;
    let findings = store.check(false).unwrap();
    assert!(!findings.iter().any(lost), "{findings:#?}");
    let mut records = 0;
    for number in 0..7 {
        let Some(record) = store.get_record(&key(number)) else {
            continue;
        };
        records += 1;
        assert_eq!(record.created, number as i64);
        let directory = store.snapshot_dir(&record.snapshot.unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 20);
        for file in 0..20 {
            let text = fs::read_to_string(directory.join(format!("{file}"))).unwrap();
            assert_eq!(text, number.to_string().repeat(500));
        }
    }
    if let Some(target) = store.get_ref("image").unwrap() {
        let document = store.read_blob(&target.digest).unwrap();
        let document = String::from_utf8(document).unwrap();
        let fields: Vec<&str> = document.split('"').collect();
        assert!(
            store.snapshot_exists(&fields[3].parse().unwrap()),
            "{document}"
        );
        assert!(store.has_blob(&fields[7].parse().unwrap()), "{document}");
    }
    if home.join("logs/done").exists() {
        assert!(fs::read_dir(home.join("snapshots")).unwrap().count() > 0);
    }
    records
}
