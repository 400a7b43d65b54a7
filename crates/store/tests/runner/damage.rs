//! `check`: true findings, no false ones, and repairs that leave a sound store.

use std::fs;

use cairn_oci::{Compression, Descriptor, MediaType};
use cairn_store::{CacheRecord, Finding, KeyHasher, Severity};
use cairn_testkit::{LayerTar, TempStore};

fn filled() -> TempStore {
    let store = TempStore::new();
    let snapshot = store.snapshot(&["f=1", "d/"]);
    let content = store.snapshot_content(&snapshot).unwrap();
    let key = KeyHasher::new("test").finish_key();
    let record = CacheRecord {
        key,
        snapshot: Some(snapshot),
        content,
        created: 0,
        cost_ms: 1,
        description: "RUN true".into(),
        inputs: vec![],
    };
    store.put_record(&record).unwrap();
    store.put_equal(&content, &content, &snapshot).unwrap();
    store.export_layer(&snapshot, 0, Compression::Gzip).unwrap();
    let tar = LayerTar::new().file("imported", "2").finish();
    store.import_layer(&tar[..], None, None).unwrap();
    let document = store.put_blob_bytes(b"{}").unwrap();
    store
        .set_ref(
            "image",
            &Descriptor::new(MediaType::OciManifest, document, 2),
        )
        .unwrap();
    drop(store.history().unwrap());
    store
}

/// Damages a store; the check must find this and nothing else, and be content after a repair.
#[track_caller]
fn found(damage: impl FnOnce(&TempStore), severity: Severity, problem: &str) -> Vec<Finding> {
    let mut store = filled();
    damage(&store);
    store.reopen();
    let looked = store.check(false).unwrap();
    let is_it =
        |finding: &Finding| finding.severity == severity && finding.problem.contains(problem);
    assert!(looked.iter().any(is_it), "{looked:#?}");
    assert!(looked.iter().all(|finding| !finding.is_repaired));
    let repaired = store.check(true).unwrap();
    assert!(repaired.iter().all(|finding| finding.is_repaired));
    store.reopen();
    // What a repair takes away may have been named by a record: that is all that is left to say.
    store.check(true).unwrap();
    assert_eq!(store.check(false).unwrap(), []);
    looked
}

#[test]
fn a_sound_store_has_no_findings() {
    let mut store = filled();
    assert_eq!(store.check(false).unwrap(), []);
    store.reopen();
    assert_eq!(store.check(true).unwrap(), []);
}

#[test]
fn damaged_blobs() {
    let damage = |store: &TempStore| {
        let digest = cairn_oci::Digest::sha256(b"{}");
        fs::write(store.blob_path(&digest), "[]").unwrap();
    };
    let findings = found(damage, Severity::Error, "its bytes have the digest");
    assert!(
        findings
            .iter()
            .any(|finding| finding.subject == "reference image")
            || findings.len() == 1
    );
}

#[test]
fn lost_blobs_of_references() {
    let damage = |store: &TempStore| {
        fs::remove_file(store.blob_path(&cairn_oci::Digest::sha256(b"{}"))).unwrap();
    };
    found(damage, Severity::Error, "which is not there");
}

#[test]
fn changed_snapshots() {
    let damage = |store: &TempStore| {
        let record = store
            .get_record(&KeyHasher::new("test").finish_key())
            .unwrap();
        let directory = store.snapshot_dir(&record.snapshot.unwrap());
        fs::write(directory.join("f"), "changed").unwrap();
    };
    found(damage, Severity::Error, "not those that were committed");
}

#[test]
fn snapshots_of_a_lost_boot() {
    let damage = |store: &TempStore| {
        let record = store
            .get_record(&KeyHasher::new("test").finish_key())
            .unwrap();
        let snapshot = store
            .home()
            .join("snapshots")
            .join(record.snapshot.unwrap().hex());
        fs::write(snapshot.join("snapshot"), "").unwrap();
    };
    let findings = found(damage, Severity::Warning, "may be incomplete");
    let leads = findings
        .iter()
        .filter(|finding| finding.problem.contains("leads to snapshot"));
    assert_eq!(leads.count(), 3, "cache, equal and export records");
}

#[test]
fn torn_records_and_references() {
    let tear = |folder: &'static str| {
        move |store: &TempStore| {
            let mut path = store.home().join(folder);
            while path.is_dir() {
                path = fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
            }
            fs::write(path, "").unwrap();
        }
    };
    for folder in ["cache", "equal", "layers"] {
        found(tear(folder), Severity::Note, "not a whole record");
    }
    found(tear("refs"), Severity::Error, "not a whole reference");
}

#[test]
fn a_broken_history() {
    let damage = |store: &TempStore| {
        for name in ["history.db-wal", "history.db-shm"] {
            let _ = fs::remove_file(store.home().join(name));
        }
        fs::write(store.home().join("history.db"), "no database".repeat(1000)).unwrap();
    };
    found(damage, Severity::Error, "");
}

#[test]
fn leftovers() {
    let damage = |store: &TempStore| {
        let tmp = store.home().join("tmp");
        fs::create_dir_all(tmp.join("dead/1/fs")).unwrap();
        fs::write(tmp.join("dead.lock"), "").unwrap();
    };
    found(damage, Severity::Note, "left over");
}

#[test]
fn strangers_are_left_alone() {
    let store = filled();
    let stranger = store.home().join("blobs/sha256/notes.txt");
    fs::write(&stranger, "mine").unwrap();
    let findings = store.check(true).unwrap();
    assert_eq!(findings.len(), 1);
    assert!(!findings[0].is_repaired && stranger.exists());
}
