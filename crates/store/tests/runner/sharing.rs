//! Several threads and several handles (as several processes would have) on one home at once.

use std::fs;
use std::sync::Barrier;

use cairn_oci::{Compression, Descriptor, MediaType};
use cairn_store::{CacheRecord, KeyHasher, OpenOptions, Ownership, Store};
use cairn_testkit::{LayerTar, TempStore, gzip};

fn open(home: &std::path::Path) -> Store {
    let ownership = Ownership::Recorded;
    Store::open(home, OpenOptions { ownership }).unwrap()
}

#[test]
fn everybody_does_the_same_at_once() {
    const USERS: usize = 8;
    let home = tempfile::tempdir().unwrap();
    let barrier = Barrier::new(USERS);
    let tar = LayerTar::new()
        .file("f", vec![7; 300_000])
        .dir("d")
        .finish();
    let compressed = gzip(&tar);
    let layers: Vec<_> = std::thread::scope(|scope| {
        let users: Vec<_> = (0..USERS)
            .map(|user| {
                let (barrier, home, compressed) = (&barrier, home.path(), &compressed);
                scope.spawn(move || {
                    barrier.wait();
                    // Handles of their own: nothing is shared but the directory.
                    let store = open(home);
                    let digest = store.put_blob_bytes(compressed).unwrap();
                    let blob = Descriptor::new(
                        MediaType::OciLayer(Compression::Gzip),
                        digest,
                        compressed.len() as u64,
                    );
                    let (snapshot, _) = store
                        .import_layer(&compressed[..], None, Some(&blob))
                        .unwrap();
                    let content = store.snapshot_content(&snapshot).unwrap();
                    let key = KeyHasher::new("same").finish_key();
                    let record = CacheRecord {
                        key,
                        snapshot: Some(snapshot),
                        content,
                        created: user as i64,
                        cost_ms: 0,
                        description: String::new(),
                        inputs: vec![],
                    };
                    store.put_record(&record).unwrap();
                    store.publish(&[("same".into(), blob)]).unwrap();
                    let known = store.get_record(&key).unwrap();
                    assert_eq!(known.content, content);
                    let snapshot = known.snapshot.unwrap();
                    store.export_layer(&snapshot, 0, Compression::Zstd).unwrap()
                })
            })
            .collect();
        users.into_iter().map(|user| user.join().unwrap()).collect()
    });
    assert!(layers.iter().all(|layer| layer == &layers[0]));
    assert_eq!(open(home.path()).check(false).unwrap(), []);
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn threads_of_one_handle_do_it_once() {
    let store = TempStore::new();
    let snapshot = store.snapshot(&["f=1"]);
    let tar = LayerTar::new().file("f", vec![7; 100_000]).finish();
    let diff_id = cairn_oci::DiffId(cairn_oci::Digest::sha256(&tar));
    let imported: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (store, tar, diff_id) = (&store, &tar, &diff_id);
                scope.spawn(move || {
                    store.export_layer(&snapshot, 0, Compression::Gzip).unwrap();
                    store.snapshot_content(&snapshot).unwrap();
                    store.import_layer(&tar[..], Some(diff_id), None).unwrap().0
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(imported.iter().all(|one| one == &imported[0]));
    let snapshots = fs::read_dir(store.home().join("snapshots"))
        .unwrap()
        .count();
    assert_eq!(snapshots, 2, "the layer was unpacked once");
}
