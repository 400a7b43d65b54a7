//! Collection: rubbish goes, what references lead to stays, the longest unused makes room.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cairn_oci::{Compression, Descriptor, MediaType};
use cairn_store::{
    CacheKey, CacheMountClaims, CacheMountSharing, CacheMountStart, CacheRecord, GcKind, GcOptions,
    GcReason, GcReport, KeyHasher, SnapshotId, Store, StoreError, collect,
};
use cairn_testkit::{LayerTar, TempStore, gzip};

const ALL: GcOptions = GcOptions {
    cache_mounts_bytes: None,
    cache_mounts_age: None,
    budget_bytes: None,
    keep_within: Duration::ZERO,
    dry_run: false,
    wait: false,
};

fn gc(store: &mut TempStore, options: &GcOptions) -> GcReport {
    store.while_closed(|home| collect(home, options).unwrap())
}

fn snapshot_of(store: &TempStore, kib: usize) -> SnapshotId {
    store.snapshot(&[&format!("f={}", "x".repeat(kib << 10))])
}

fn record(store: &Store, name: &str, snapshot: SnapshotId) -> CacheKey {
    let key = KeyHasher::new("test").field("name", name).finish_key();
    let record = CacheRecord {
        key,
        snapshot: Some(snapshot),
        content: store.snapshot_content(&snapshot).unwrap(),
        created: 0,
        cost_ms: 1,
        description: format!("RUN {name}"),
        inputs: vec![],
    };
    store.put_record(&record).unwrap();
    key
}

fn record_path(home: &Path, key: &CacheKey) -> PathBuf {
    home.join("cache").join(&key.hex()[..2]).join(key.hex())
}

fn used_days_ago(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

/// An image document that names snapshots, as any crate above may write one.
fn image(store: &Store, name: &str, snapshots: &[SnapshotId]) -> Descriptor {
    let names: Vec<String> = snapshots
        .iter()
        .map(|one| format!("{{\"s\":\"{one}\"}}"))
        .collect();
    let document = format!("{{\"layers\":[{}]}}", names.join(","));
    let digest = store.put_blob_bytes(document.as_bytes()).unwrap();
    let target = Descriptor::new("application/vnd.test+json", digest, document.len() as u64);
    store.set_ref(name, &target).unwrap();
    target
}

#[test]
fn unnamed_snapshots_go_and_named_ones_stay() {
    let mut store = TempStore::new();
    let unnamed = snapshot_of(&store, 100);
    let recorded = snapshot_of(&store, 100);
    let in_image = snapshot_of(&store, 100);
    let key = record(&store, "cached", recorded);
    image(&store, "docker.io/library/app:latest", &[in_image]);
    store.snapshot_content(&unnamed).unwrap();

    let dry = GcOptions {
        dry_run: true,
        ..ALL
    };
    let announced = gc(&mut store, &dry);
    assert!(store.snapshot_exists(&unnamed));
    let report = gc(&mut store, &ALL);
    assert_eq!(report.removed, announced.removed);
    assert_eq!(report.removed.len(), 1);
    assert_eq!(report.removed[0].kind, GcKind::Snapshot);
    assert!(report.freed_bytes >= 100 << 10 && report.kept_bytes >= 200 << 10);
    assert!(!store.snapshot_exists(&unnamed));
    assert!(store.snapshot_exists(&in_image) && store.get_record(&key).is_some());
    assert!(gc(&mut store, &ALL).removed.is_empty());
}

#[test]
fn over_the_budget_the_longest_unused_goes() {
    let mut store = TempStore::new();
    let keys: Vec<CacheKey> = [30, 10, 20]
        .iter()
        .map(|days| {
            let snapshot = snapshot_of(&store, 100);
            let key = record(&store, &format!("{days} days"), snapshot);
            used_days_ago(&record_path(store.home(), &key), *days);
            key
        })
        .collect();
    let pinned = snapshot_of(&store, 100);
    image(&store, "pinned", &[pinned]);
    let pinned_key = record(&store, "pinned", pinned);
    used_days_ago(&record_path(store.home(), &pinned_key), 99);

    let budget = |kib: u64| GcOptions {
        budget_bytes: Some(kib << 10),
        ..ALL
    };
    assert!(
        gc(&mut store, &budget(600)).removed.is_empty(),
        "there is room"
    );
    let report = gc(&mut store, &budget(350));
    let names: Vec<_> = report
        .removed
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    assert_eq!(names, ["RUN 30 days"]);
    assert_eq!(report.removed[0].reason, GcReason::OverBudget);
    assert!(store.get_record(&keys[0]).is_none() && store.get_record(&keys[1]).is_some());

    let recent = GcOptions {
        keep_within: Duration::from_secs(15 * 86_400),
        ..budget(0)
    };
    used_days_ago(&record_path(store.home(), &keys[1]), 10);
    let names: Vec<_> = gc(&mut store, &recent).removed;
    let names: Vec<_> = names.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["RUN 20 days"]);
    gc(&mut store, &budget(0));
    assert!(keys.iter().all(|key| store.get_record(key).is_none()));
    assert!(
        store.get_record(&pinned_key).is_some(),
        "never what a reference leads to"
    );
}

#[test]
fn exports_can_go_and_imports_stay_with_their_image() {
    let mut store = TempStore::new();
    let tar = LayerTar::new().file("imported", "1").finish();
    let compressed = gzip(&tar);
    let blob = Descriptor::of(MediaType::OciLayer(Compression::Gzip), &compressed);
    store.put_blob_bytes(&compressed).unwrap();
    let (imported, _) = store
        .import_layer(&compressed[..], None, Some(&blob))
        .unwrap();
    let built = snapshot_of(&store, 10);
    let exported = store.export_layer(&built, 0, Compression::Gzip).unwrap();
    let orphan = store.put_blob_bytes(b"a package for later").unwrap();
    let target = image(&store, "app", &[imported, built]);

    gc(&mut store, &ALL);
    assert!(store.has_blob(&orphan) && store.has_blob(&exported.descriptor.digest));
    let nothing = GcOptions {
        budget_bytes: Some(0),
        ..ALL
    };
    gc(&mut store, &nothing);
    assert!(!store.has_blob(&orphan) && !store.has_blob(&exported.descriptor.digest));
    assert!(
        store.has_blob(&blob.digest),
        "the image goes out as it came"
    );
    assert!(store.has_blob(&target.digest));
    assert_eq!(
        store.export_layer(&built, 0, Compression::Gzip).unwrap(),
        exported
    );
    assert!(store.check(false).unwrap().is_empty());
}

#[test]
fn documents_lead_to_documents() {
    let mut store = TempStore::new();
    let layer = store.put_blob_bytes(b"layer").unwrap();
    let manifest = format!("{{\"layers\":[{{\"digest\":\"{layer}\"}}]}}");
    let manifest = store.put_blob_bytes(manifest.as_bytes()).unwrap();
    let index = format!("{{\"manifests\":[\"{manifest}\"],\"itself\":\"{layer}\"}}");
    let index = store.put_blob_bytes(index.as_bytes()).unwrap();
    store
        .set_ref("i", &Descriptor::new(MediaType::OciIndex, index, 1))
        .unwrap();
    let nothing = GcOptions {
        budget_bytes: Some(0),
        ..ALL
    };
    assert!(gc(&mut store, &nothing).removed.is_empty());
    assert!(store.has_blob(&layer));
    store.remove_ref("i").unwrap();
    assert_eq!(gc(&mut store, &nothing).removed.len(), 3);
}

#[test]
fn leftovers_and_records_that_lead_nowhere_go() {
    let mut store = TempStore::new();
    let snapshot = snapshot_of(&store, 1);
    let key = record(&store, "lost", snapshot);
    let home = store.home().to_owned();
    store.while_closed(|home| {
        fs::remove_dir_all(home.join("snapshots").join(snapshot.hex())).unwrap();
        let session = home.join("tmp/0123");
        fs::create_dir_all(session.join("5/fs")).unwrap();
        fs::write(session.join("5/fs/big"), vec![1; 50_000]).unwrap();
        File::create(home.join("tmp/0123.lock")).unwrap();
    });
    let report = gc(&mut store, &ALL);
    let kinds: Vec<_> = report.removed.iter().map(|item| item.kind).collect();
    assert_eq!(kinds, [GcKind::Leftover, GcKind::Record]);
    assert!(report.freed_bytes >= 50_000);
    assert!(!record_path(&home, &key).exists());
    assert!(!home.join("tmp/0123").exists() && !home.join("tmp/0123.lock").exists());
}

#[test]
fn records_without_a_snapshot_are_forgotten_after_a_while() {
    let mut store = TempStore::new();
    let put = |days: u64| {
        let key = KeyHasher::new("verdict").number("days", days).finish_key();
        let record = CacheRecord {
            key,
            snapshot: None,
            content: cairn_store::ContentDigest::of(b""),
            created: 0,
            cost_ms: 0,
            description: String::new(),
            inputs: vec![],
        };
        store.put_record(&record).unwrap();
        used_days_ago(&record_path(store.home(), &key), days);
        key
    };
    let (new, old) = (put(50), put(70));
    assert_eq!(gc(&mut store, &ALL).removed.len(), 1);
    assert!(store.get_record(&new).is_some() && store.get_record(&old).is_none());
}

#[test]
fn nothing_is_collected_while_somebody_builds() {
    let store = TempStore::new();
    let error = collect(store.home(), &ALL).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }));
    let dry = GcOptions {
        dry_run: true,
        ..ALL
    };
    collect(store.home(), &dry).unwrap();

    let home = store.home().to_owned();
    let snapshot = snapshot_of(&store, 1);
    let waiting = std::thread::spawn(move || {
        let options = GcOptions { wait: true, ..ALL };
        (
            collect(&home, &options).unwrap(),
            fs::metadata(home).is_ok(),
        )
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(store.snapshot_exists(&snapshot) && !waiting.is_finished());
    let key = record(&store, "just in time", snapshot);
    let mut store = store;
    store.while_closed(|_| waiting.join().unwrap().0);
    assert!(store.get_record(&key).is_some());
}

#[test]
fn cache_mounts_go_by_size_and_age() {
    let mut store = TempStore::new();
    let take = |store: &Store, name: &str, age: u64| {
        let start = CacheMountStart {
            name: name.into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            content: None,
        };
        let claims = CacheMountClaims::default();
        let sharing = CacheMountSharing::Shared;
        let taken = store.take_cache_mount(&start, sharing, false, &claims, &mut || true);
        let mut cache = taken.unwrap().unwrap();
        let write = |path: &Path| {
            fs::write(path.join("file"), vec![1; 100_000]).unwrap();
            Ok::<_, StoreError>(())
        };
        cache.fill(write).unwrap();
        let used = cache.files().with_file_name("use");
        let time = SystemTime::now() - Duration::from_secs(age);
        let file = fs::File::options().write(true).open(used).unwrap();
        file.set_modified(time).unwrap();
    };
    take(&store, "new", 10);
    take(&store, "old", 1000);
    take(&store, "older", 2000);
    let mut names = |options: &GcOptions| -> Vec<(String, GcReason)> {
        let removed = gc(&mut store, options).removed.into_iter();
        let mounts = removed.filter(|item| item.kind == GcKind::CacheMount);
        mounts.map(|item| (item.name, item.reason)).collect()
    };
    let limits = |cache_mounts_bytes, cache_mounts_age| GcOptions {
        cache_mounts_bytes,
        cache_mounts_age,
        dry_run: true,
        ..ALL
    };
    let over = |name: &str| (name.to_owned(), GcReason::OverBudget);
    assert_eq!(names(&limits(None, None)), []);
    assert_eq!(names(&limits(Some(300_000), None)), [over("older")]);
    assert_eq!(
        names(&limits(None, Some(Duration::from_secs(1500)))),
        [("older".to_owned(), GcReason::Old)]
    );
    let all = names(&GcOptions {
        budget_bytes: Some(0),
        ..ALL
    });
    assert_eq!(all, [over("older"), over("old"), over("new")]);
}

#[test]
fn a_file_of_many_names_counts_once() {
    let mut store = TempStore::new();
    let active = store.begin_snapshot().unwrap();
    let file = active.upper().join("f");
    fs::write(&file, "x".repeat(1 << 20)).unwrap();
    for number in 0..50 {
        fs::hard_link(&file, active.upper().join(format!("f{number}"))).unwrap();
    }
    let snapshot = active.commit().unwrap();
    record(&store, "links", snapshot);
    let told = gc(
        &mut store,
        &GcOptions {
            dry_run: true,
            ..ALL
        },
    );
    let bytes = told.freed_bytes + told.kept_bytes;
    assert!((1 << 20..2 << 20).contains(&bytes), "{told:?}");
}
