//! Layers out and in: deterministic, once, and the same content on the other side.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_oci::{Compression, Descriptor, DiffId, Digest, MediaType};
use cairn_store::{
    DeviceKind, EntryKind, Layer, LayeredView, Ownership, SnapshotId, Store, StoreError, write_tree,
};
use cairn_testkit::{LayerTar, TempStore, gzip, needs_root};

const EPOCH: i64 = 1_700_000_000;

/// Names of a tar's entries, in order.
fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let name = |entry: tar::Entry<'_, _>| String::from_utf8(entry.path_bytes().into()).unwrap();
    archive
        .entries()
        .unwrap()
        .map(|entry| name(entry.unwrap()))
        .collect()
}

fn plain_tar(store: &Store, snapshot: &SnapshotId) -> Vec<u8> {
    let layer = store
        .export_layer(snapshot, EPOCH, Compression::None)
        .unwrap();
    let bytes = store.read_blob(&layer.descriptor.digest).unwrap();
    assert_eq!(layer.diff_id.0, layer.descriptor.digest);
    bytes
}

fn import(store: &Store, tar: &[u8]) -> SnapshotId {
    store.import_layer(tar, None, None).unwrap().0
}

/// A change with everything in it that a layer can hold.
fn rich_snapshot(store: &TempStore) -> SnapshotId {
    let active = store.begin_snapshot().unwrap();
    let long = "n".repeat(120);
    let deep = format!("{}/{}/file", "a".repeat(130), "b".repeat(130));
    cairn_testkit::tree(
        active.upper(),
        &[
            "etc/passwd=root",
            "bin/sh=#!",
            "lib>usr/lib",
            "-gone",
            "etc/-x=not a whiteout",
            "-etc/removed",
            "!opaque/",
            "opaque/new=1",
            &format!("{long}=long name"),
            &format!("{deep}=deep"),
            &format!("link>{long}/{long}"),
            "empty/",
            "größe=utf-8",
        ],
    );
    let upper = active.upper();
    fs::hard_link(upper.join("bin/sh"), upper.join("bin/bash")).unwrap();
    fs::set_permissions(upper.join("bin/sh"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(upper.join("empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(upper.join("etc/passwd"), "user.note", b"\0binary\n", flags).unwrap();
    active
        .make_device(Path::new("pipe"), DeviceKind::Fifo, 0, 0, 0o600)
        .unwrap();
    active
        .make_device(Path::new("null"), DeviceKind::Char, 1, 3, 0o666)
        .unwrap();
    for path in ["etc/passwd", "lib", "empty", "null"] {
        active.set_owner(Path::new(path), 1000, 3_000_000).unwrap();
    }
    active.commit().unwrap()
}

#[test]
fn content_survives_export_and_import() {
    for ownership in [Ownership::Native, Ownership::Recorded] {
        if ownership == Ownership::Native && !needs_root() {
            continue;
        }
        let from = TempStore::with_ownership(ownership);
        let original = rich_snapshot(&from);
        let content = from.snapshot_content(&original).unwrap();
        for compression in Compression::ALL {
            let layer = from.export_layer(&original, EPOCH, compression).unwrap();
            for ownership in [ownership, Ownership::Recorded] {
                let to = TempStore::with_ownership(ownership);
                let blob = from.open_blob(&layer.descriptor.digest).unwrap();
                let imported = to.import_layer(blob, Some(&layer.diff_id), None).unwrap().0;
                assert_eq!(to.snapshot_content(&imported).unwrap(), content);
                // And the tar of it is the very tar: nothing got lost or reordered.
                assert_eq!(plain_tar(&to, &imported), plain_tar(&from, &original));
            }
        }
    }
}

/// Built early or late, with a clock that is right or not: the epoch may be after the step ran.
#[test]
fn when_a_step_ran_does_not_show() {
    let store = TempStore::new();
    let active = store.begin_snapshot().unwrap();
    let paths = ["chosen", "made"].map(|name| active.upper().join(name));
    for path in &paths {
        fs::write(path, "").unwrap();
    }
    let file = fs::File::open(&paths[0]).unwrap();
    let chosen = UNIX_EPOCH + Duration::from_secs(1_000);
    file.set_modified(chosen).unwrap();
    let snapshot = active.commit().unwrap();
    let times = |tar: &[u8]| -> Vec<u64> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| entry.unwrap().header().mtime().unwrap())
            .collect()
    };
    let late = 4_000_000_000;
    let layer = store
        .export_layer(&snapshot, late, Compression::None)
        .unwrap();
    let bytes = store.read_blob(&layer.descriptor.digest).unwrap();
    assert_eq!(times(&bytes), [1_000, late as u64]);
    let view = LayeredView::new(&store, &[snapshot]).unwrap();
    let tree = write_tree(&view, Some(late), Vec::new()).unwrap();
    assert_eq!(times(&tree), [1_000, late as u64]);
}

/// A step that finds files of the far future is told so by `make`, and cannot zip them.
#[test]
fn files_that_a_layer_calls_new_are_as_new_as_its_unpacking() {
    let store = TempStore::new();
    let active = store.begin_snapshot().unwrap();
    fs::write(active.upper().join("made"), "").unwrap();
    let made = active.commit().unwrap();
    let layer = store
        .export_layer(&made, i64::MAX, Compression::Zstd)
        .unwrap();
    let bytes = store.open_blob(&layer.descriptor.digest).unwrap();
    let unpacked = store.unpack_layer(bytes).unwrap();
    let file = fs::metadata(store.snapshot_dir(&unpacked).join("made")).unwrap();
    assert!(file.modified().unwrap() <= SystemTime::now());
    let late = 4_000_000_000;
    let again = store.export_layer(&unpacked, late, Compression::None);
    let told = store.export_layer(&made, late, Compression::None).unwrap();
    assert_eq!(again.unwrap().descriptor, told.descriptor);
}

#[test]
fn equal_content_gives_equal_bytes_whatever_the_times() {
    let (one, other) = (TempStore::new(), TempStore::new());
    let layers = [&one, &other].map(|store| {
        let snapshot = rich_snapshot(store);
        std::thread::sleep(Duration::from_millis(20));
        Compression::ALL.map(|form| store.export_layer(&snapshot, EPOCH, form).unwrap())
    });
    assert_eq!(layers[0], layers[1]);
    let media_types = layers[0]
        .each_ref()
        .map(|layer| layer.descriptor.media_type.clone());
    assert_eq!(media_types, Compression::ALL.map(MediaType::OciLayer));
}

#[test]
fn old_times_are_kept_and_new_ones_clamped() {
    let store = TempStore::new();
    let active = store.begin_snapshot().unwrap();
    let times = [("old", 1_000_000_000), ("new", 1_800_000_000)];
    for (name, seconds) in times {
        let file = fs::File::create(active.upper().join(name)).unwrap();
        let time = UNIX_EPOCH + Duration::new(seconds, 999_999_999);
        file.set_modified(time).unwrap();
    }
    let tar = plain_tar(&store, &active.commit().unwrap());
    let mut archive = tar::Archive::new(&tar[..]);
    let mtimes: Vec<u64> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().header().mtime().unwrap())
        .collect();
    assert_eq!(mtimes, [EPOCH as u64, 1_000_000_000]);
}

#[test]
fn whiteouts_stand_where_their_name_would() {
    let store = TempStore::new();
    let snapshot = store.snapshot(&["b=1", "-a", "!d/", "d/z=1", "-d/y", "c>b"]);
    let expected = [".wh.a", "b", "c", "d/", "d/.wh..wh..opq", "d/.wh.y", "d/z"];
    assert_eq!(names(&plain_tar(&store, &snapshot)), expected);
}

#[test]
fn names_that_would_be_removals_are_refused() {
    let store = TempStore::new();
    let snapshot = store.snapshot(&["d/.wh.x=1"]);
    let error = store
        .export_layer(&snapshot, EPOCH, Compression::None)
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Unrepresentable { path, .. } if path == Path::new("/d/.wh.x"))
    );
}

#[test]
fn an_unusual_root_is_written() {
    let store = TempStore::new();
    let active = store.begin_snapshot().unwrap();
    fs::set_permissions(active.upper(), fs::Permissions::from_mode(0o711)).unwrap();
    let snapshot = active.commit().unwrap();
    let tar = plain_tar(&store, &snapshot);
    assert_eq!(names(&tar), ["./"]);
    let again = import(&TempStore::new(), &tar);
    assert_ne!(again, snapshot);
    let other = TempStore::new();
    let imported = import(&other, &tar);
    assert_eq!(
        other.snapshot_content(&imported).unwrap(),
        store.snapshot_content(&snapshot).unwrap()
    );
}

#[test]
fn nothing_is_exported_or_imported_twice() {
    let mut store = TempStore::new();
    let snapshot = store.snapshot(&["f=1"]);
    let first = store
        .export_layer(&snapshot, EPOCH, Compression::Gzip)
        .unwrap();
    let written = |store: &Store, layer: &Layer| {
        fs::metadata(store.blob_path(&layer.descriptor.digest))
            .unwrap()
            .ino()
    };
    let inode = written(&store, &first);
    store.reopen();
    let second = store
        .export_layer(&snapshot, EPOCH, Compression::Gzip)
        .unwrap();
    assert_eq!((first, inode), (second.clone(), written(&store, &second)));
    let other_epoch = store.export_layer(&snapshot, 5, Compression::Gzip).unwrap();
    assert_ne!(other_epoch, second);

    struct Unread;
    impl Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("a known layer is not read")
        }
    }
    let tar = LayerTar::new().file("f", "1").finish();
    let (imported, diff_id) = store.import_layer(&tar[..], None, None).unwrap();
    assert_eq!(diff_id, DiffId(Digest::sha256(&tar)));
    assert_eq!(
        store.import_layer(Unread, Some(&diff_id), None).unwrap().0,
        imported
    );
    assert_eq!(
        store.import_layer(&tar[..], None, None).unwrap().0,
        imported
    );
    assert_eq!(store.imported_layer(&diff_id), Some(imported));
}

#[test]
fn an_imported_layer_goes_out_as_it_came() {
    let mut store = TempStore::new();
    let tar = LayerTar::new()
        .mtime(2_000_000_000)
        .file("z", "1")
        .file("a", "2")
        .finish();
    let compressed = gzip(&tar);
    let diff_id = DiffId(Digest::sha256(&tar));
    let digest = store.put_blob_bytes(&compressed).unwrap();
    let docker_type = MediaType::DockerLayer(Compression::Gzip);
    let blob = Descriptor::new(docker_type, digest.clone(), compressed.len() as u64);
    let (snapshot, _) = store
        .import_layer(&compressed[..], Some(&diff_id), Some(&blob))
        .unwrap();

    store.reopen();
    let gzip = store
        .export_layer(&snapshot, EPOCH, Compression::Gzip)
        .unwrap();
    assert_eq!(
        (&gzip.descriptor.digest, &gzip.diff_id),
        (&digest, &diff_id)
    );
    assert_eq!(
        gzip.descriptor.media_type,
        MediaType::OciLayer(Compression::Gzip)
    );

    // Another form holds the very tar, whatever order and times it has.
    let plain = store
        .export_layer(&snapshot, EPOCH, Compression::None)
        .unwrap();
    assert_eq!(plain.descriptor.digest, diff_id.0);
    let zstd = store
        .export_layer(&snapshot, EPOCH, Compression::Zstd)
        .unwrap();
    assert_eq!(zstd.diff_id, diff_id);
    let again = store
        .export_layer(&snapshot, EPOCH, Compression::Zstd)
        .unwrap();
    assert_eq!(again, zstd);
}

#[test]
fn a_second_blob_of_a_known_layer_is_remembered() {
    let store = TempStore::new();
    let tar = LayerTar::new().file("f", "1").finish();
    let (snapshot, diff_id) = store.import_layer(&tar[..], None, None).unwrap();
    let compressed = gzip(&tar);
    let digest = store.put_blob_bytes(&compressed).unwrap();
    let blob = Descriptor::of(MediaType::OciLayer(Compression::Gzip), &compressed);
    store
        .import_layer(&compressed[..], Some(&diff_id), Some(&blob))
        .unwrap();
    let layer = store
        .export_layer(&snapshot, EPOCH, Compression::Gzip)
        .unwrap();
    assert_eq!(layer.descriptor.digest, digest);
}

#[test]
fn another_tar_than_promised_is_refused() {
    let store = TempStore::new();
    let promised = DiffId(Digest::sha256(b"something else"));
    let tar = LayerTar::new().file("f", "1").finish();
    let error = store
        .import_layer(&tar[..], Some(&promised), None)
        .unwrap_err();
    assert!(matches!(error, StoreError::DiffIdMismatch { .. }));
    assert_eq!(store.imported_layer(&DiffId(Digest::sha256(&tar))), None);
}

#[test]
fn bytes_behind_the_end_of_the_archive_count() {
    let store = TempStore::new();
    let mut tar = LayerTar::new().file("f", "1").finish();
    tar.resize(tar.len() + 10_240, 0);
    let diff_id = DiffId(Digest::sha256(&tar));
    store
        .import_layer(&gzip(&tar)[..], Some(&diff_id), None)
        .unwrap();
}

#[test]
fn imported_files_are_as_the_tar_says() {
    let store = TempStore::with_ownership(Ownership::Recorded);
    let tar = LayerTar::new()
        .mtime(77)
        .owner(1000, 1001)
        .mode(0o4711)
        .file("implicit/parent/f", "x")
        .mode(0)
        .dir("d")
        .file("d/inside", "later")
        .symlink("l", "d")
        .finish();
    let view = LayeredView::new(&store, &[import(&store, &tar)]).unwrap();
    let find = |path: &str| view.lookup(Path::new(path)).unwrap().unwrap();
    let file = find("implicit/parent/f");
    assert_eq!(
        (file.mode, file.uid, file.gid, file.mtime),
        (0o4711, 1000, 1001, (77, 0))
    );
    let parent = find("implicit/parent");
    assert_eq!(
        (parent.mode, parent.uid, parent.gid, parent.mtime),
        (0o755, 0, 0, (0, 0))
    );
    let directory = find("d");
    assert_eq!(
        (directory.uid, directory.mtime),
        (1000, (77, 0)),
        "kept though a file went in"
    );
    let link = find("l");
    assert_eq!(
        (link.kind, link.uid, link.mtime),
        (EntryKind::Symlink, 1000, (77, 0))
    );
}

#[test]
fn attributes_come_and_go_but_not_the_machinery() {
    let store = TempStore::new();
    let records: [(&str, &[u8]); 6] = [
        ("SCHILY.xattr.user.keep", b"1"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.cairn.owner", b"0:0"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.selinux", b"x"),
        ("mtime", b"12.5"),
    ];
    let tar = LayerTar::new()
        .pax(&records)
        .dir("d")
        .pax(&records)
        .file("f", "x")
        .finish();
    let snapshot = import(&store, &tar);
    let view = LayeredView::new(&store, &[snapshot]).unwrap();
    for path in ["d", "f"] {
        let entry = view.lookup(Path::new(path)).unwrap().unwrap();
        let attributes = view.xattrs(&entry).unwrap();
        assert_eq!(attributes, [("user.keep".into(), b"1".to_vec())]);
        assert_eq!(entry.mtime, (12, 500_000_000));
        let mut value = [0; 8];
        let opaque = rustix::fs::lgetxattr(&entry.host_path, "user.overlay.opaque", &mut value);
        assert!(opaque.is_err());
    }
}

#[test]
fn capabilities_are_kept() {
    if !needs_root() {
        return;
    }
    // cap_net_raw=ep, version 2.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let store = TempStore::with_ownership(Ownership::Native);
    let tar = LayerTar::new()
        .owner(1000, 1000)
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("ping", "x")
        .finish();
    let snapshot = import(&store, &tar);
    let view = LayeredView::new(&store, &[snapshot]).unwrap();
    let entry = view.lookup(Path::new("ping")).unwrap().unwrap();
    let expected = [("security.capability".into(), capability.to_vec())];
    assert_eq!(view.xattrs(&entry).unwrap(), expected);
}

#[test]
fn a_whole_tree_becomes_one_tar() {
    let store = TempStore::new();
    let layers = [
        store.snapshot(&["etc/a=1", "etc/b=1", "bin>usr/bin", "old=1"]),
        store.snapshot(&["etc/b=2", "-old", "usr/bin/sh=x"]),
    ];
    let view = LayeredView::new(&store, &layers).unwrap();
    let tar = write_tree(&view, Some(EPOCH), Vec::new()).unwrap();
    let expected = [
        "bin",
        "etc/",
        "etc/a",
        "etc/b",
        "usr/",
        "usr/bin/",
        "usr/bin/sh",
    ];
    assert_eq!(names(&tar), expected);
    let flat = import(&store, &tar);
    let texts = |layers: &[SnapshotId]| {
        let view = LayeredView::new(&store, layers).unwrap();
        let read = |path: &str| {
            let mut text = String::new();
            let entry = view.find(Path::new(path), true).unwrap().unwrap();
            view.open(&entry)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            (path.to_owned(), text)
        };
        ["etc/a", "etc/b", "bin/sh"]
            .map(read)
            .into_iter()
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(texts(&layers), texts(&[flat]));
}

#[test]
fn now_is_not_in_a_layer() {
    let store = TempStore::new();
    let tar = plain_tar(&store, &rich_snapshot(&store));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let recent = |entry: tar::Entry<'_, _>| entry.header().mtime().unwrap() > now - 86_400;
    let mut archive = tar::Archive::new(&tar[..]);
    assert!(
        !archive
            .entries()
            .unwrap()
            .any(|entry| recent(entry.unwrap()))
    );
}
