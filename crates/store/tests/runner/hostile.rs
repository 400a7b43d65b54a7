//! Layers that mean harm: nothing they contain reaches a file outside their snapshot.

use std::fs;
use std::path::Path;

use cairn_store::{EntryKind, LayeredView, Ownership, Store, StoreError};
use cairn_testkit::{LayerTar, TempStore};
use proptest::prelude::*;
use tar::EntryType;

/// A store, with a directory beside it that must stay as it is.
struct Fixture {
    store: TempStore,
    outside: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("victim"), "untouched").unwrap();
        Self {
            store: TempStore::with_ownership(Ownership::Recorded),
            outside,
        }
    }

    fn path(&self) -> String {
        self.outside.path().to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.outside.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["victim"]);
        let victim = self.outside.path().join("victim");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        let modified = fs::metadata(&victim).unwrap().modified().unwrap();
        assert!(
            modified.elapsed().unwrap().as_secs() < 600,
            "its time was not set either"
        );
    }
}

fn import(store: &Store, tar: &[u8]) -> Result<LayeredView, StoreError> {
    let (snapshot, _) = store.import_layer(tar, None, None)?;
    LayeredView::new(store, &[snapshot])
}

#[track_caller]
fn refused(tar: LayerTar, reason: &str) {
    let fixture = Fixture::new();
    let error = import(&fixture.store, &tar.finish()).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    fixture.assert_untouched();
    let snapshots = fixture.store.home().join("snapshots");
    assert_eq!(fs::read_dir(snapshots).unwrap().count(), 0);
}

#[track_caller]
fn contained(make: impl FnOnce(LayerTar, &str) -> LayerTar, expected: &[(&str, EntryKind)]) {
    let fixture = Fixture::new();
    let tar = make(LayerTar::new(), &fixture.path()).finish();
    let view = import(&fixture.store, &tar).unwrap();
    for (path, kind) in expected {
        let path = path.replace("OUTSIDE", fixture.path().trim_start_matches('/'));
        let entry = view.lookup(Path::new(&path)).unwrap();
        let entry = entry.unwrap_or_else(|| panic!("{path} is there"));
        assert_eq!(entry.kind, *kind, "{path}");
    }
    fixture.assert_untouched();
}

#[test]
fn dot_dot_is_refused() {
    for path in ["../x", "a/../../x", "..", "a/.."] {
        refused(LayerTar::new().file(path, "x"), "leads out");
        refused(LayerTar::new().dir(path), "leads out");
    }
    refused(
        LayerTar::new().file("a", "").hard_link("b", "../../victim"),
        "leads out",
    );
}

#[test]
fn absolute_paths_are_taken_from_the_root() {
    contained(
        |tar, outside| {
            tar.file(&format!("{outside}/planted"), "x")
                .file("//etc///f", "x")
        },
        &[
            ("OUTSIDE/planted", EntryKind::File),
            ("etc/f", EntryKind::File),
        ],
    );
}

#[test]
fn links_in_a_path_lead_nowhere_outside() {
    contained(
        |tar, outside| tar.symlink("out", outside).file("out/planted", "x"),
        &[
            ("out", EntryKind::Symlink),
            ("OUTSIDE/planted", EntryKind::File),
        ],
    );
    contained(
        |tar, _| tar.symlink("up", "../../../..").file("up/planted", "x"),
        &[("planted", EntryKind::File)],
    );
    contained(
        |tar, outside| {
            tar.symlink("a", "b")
                .symlink("b", outside)
                .dir("a/d")
                .whiteout("a/w")
        },
        &[("OUTSIDE/d", EntryKind::Directory)],
    );
    refused(
        LayerTar::new()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", ""),
        "too many symbolic links",
    );
}

#[test]
fn links_at_the_end_of_a_path_are_replaced() {
    contained(
        |tar, outside| {
            tar.symlink("f", &format!("{outside}/victim"))
                .file("f", "overwritten")
        },
        &[("f", EntryKind::File)],
    );
    contained(
        |tar, outside| tar.symlink("d", outside).dir("d").file("d/planted", "x"),
        &[("d", EntryKind::Directory), ("d/planted", EntryKind::File)],
    );
    // The time of a directory that became a link is not set through the link.
    contained(
        |tar, outside| tar.dir("d").symlink("d", outside).mtime(5).dir("other"),
        &[("d", EntryKind::Symlink)],
    );
    contained(
        |tar, outside| tar.file("d/e/f", "x").dir("d/e").symlink("d", outside),
        &[("d", EntryKind::Symlink)],
    );
}

#[test]
fn hard_links_stay_inside() {
    let fixture = Fixture::new();
    let victim = format!("{}/victim", fixture.path());
    let tar = LayerTar::new().hard_link("h", &victim).finish();
    let error = import(&fixture.store, &tar).unwrap_err();
    assert!(matches!(error, StoreError::Layer { .. }), "{error}");
    let tar = LayerTar::new()
        .symlink("out", &fixture.path())
        .hard_link("h", "out/victim")
        .finish();
    let error = import(&fixture.store, &tar).unwrap_err();
    assert!(matches!(error, StoreError::Layer { .. }), "{error}");
    // A hard link to a symbolic link is that link, not what it points to.
    let tar = LayerTar::new()
        .symlink("l", &victim)
        .hard_link("h", "l")
        .file("h", "overwritten")
        .finish();
    import(&fixture.store, &tar).unwrap();
    fixture.assert_untouched();
    refused(LayerTar::new().dir("d").hard_link("h", "d"), "directory");
    refused(
        LayerTar::new().whiteout("w").hard_link("h", "w"),
        "nothing in this layer",
    );
}

#[test]
fn removals_name_one_name() {
    for name in [".wh.", ".wh..", ".wh..."] {
        refused(LayerTar::new().file(name, ""), "removes no name");
        refused(
            LayerTar::new().file(&format!("d/{name}"), ""),
            "removes no name",
        );
    }
    contained(
        |tar, _| {
            tar.file(".wh..wh.plnk", "")
                .file("d/.wh..wh.aufs", "")
                .dir(".wh..wh.orph")
                .file(".wh..wh.orph/g", "")
                .file("f", "")
        },
        &[("f", EntryKind::File), ("d", EntryKind::Directory)],
    );
    let through = "a directory of its path has a name that means a removal";
    refused(LayerTar::new().file(".wh.d/f", ""), through);
    refused(
        LayerTar::new().symlink("l", ".wh.d").file("l/f", ""),
        through,
    );
}

#[test]
fn a_device_is_no_whiteout() {
    let fixture = Fixture::new();
    let below = fixture.store.snapshot(&["f=kept"]);
    let tar = LayerTar::new().char_device("f", 0, 0).finish();
    let (above, _) = fixture.store.import_layer(&tar[..], None, None).unwrap();
    let view = LayeredView::new(&fixture.store, &[below, above]).unwrap();
    let entry = view.lookup(Path::new("f")).unwrap().unwrap();
    assert_eq!((entry.kind, entry.rdev), (EntryKind::CharDevice, (0, 0)));
}

#[test]
fn what_a_layer_adds_and_removes_at_once_is_new() {
    let fixture = Fixture::new();
    let below = fixture
        .store
        .snapshot(&["d/old=1", "f=1", "w/old=1", "p/old=1"]);
    let orders: [fn(LayerTar) -> LayerTar; 2] = [
        |tar| {
            tar.dir("d")
                .file("d/new", "")
                .file("f", "2")
                .whiteout("d")
                .whiteout("f")
        },
        |tar| {
            tar.whiteout("d")
                .whiteout("f")
                .file("d/new", "")
                .file("f", "2")
        },
    ];
    for order in orders {
        let tar = order(LayerTar::new()).finish();
        let (above, _) = fixture.store.import_layer(&tar[..], None, None).unwrap();
        let view = LayeredView::new(&fixture.store, &[below, above]).unwrap();
        let names: Vec<_> = view.read_dir(Path::new("d")).unwrap();
        let names: Vec<_> = names
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert_eq!(names, ["new"]);
        assert_eq!(view.lookup(Path::new("f")).unwrap().unwrap().size, 1);
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    contained(
        |tar, _| {
            tar.file("p/a", "")
                .file("p", "file")
                .dir("q")
                .file("q", "")
                .dir("q")
        },
        &[("p", EntryKind::File), ("q", EntryKind::Directory)],
    );
    refused(
        LayerTar::new().file("f", "").file("f/below", ""),
        "no directory",
    );
}

#[test]
fn unknown_kinds_and_roots_are_refused() {
    refused(
        LayerTar::new().entry("x", EntryType::new(b'V'), "", b"", 0o644),
        "unknown type",
    );
    refused(LayerTar::new().symlink("./", "/etc"), "root");
    refused(LayerTar::new().symlink("l", ""), "l");
}

#[derive(Debug, Clone)]
enum Step {
    File(usize),
    Dir(usize),
    Symlink(usize, usize),
    HardLink(usize, usize),
    Whiteout(usize),
    Opaque(usize),
    Device(usize),
}

const PATHS: [&str; 10] = [
    "a", "b", "a/b", "b/a", "a/b/c", "c", "c/a", "b/b", "a/a", "c/b/a",
];

fn step() -> impl Strategy<Value = Step> {
    let path = || 0..PATHS.len();
    prop_oneof![
        path().prop_map(Step::File),
        path().prop_map(Step::Dir),
        (path(), 0..PATHS.len() + 4).prop_map(|(path, target)| Step::Symlink(path, target)),
        (path(), path()).prop_map(|(path, target)| Step::HardLink(path, target)),
        path().prop_map(Step::Whiteout),
        path().prop_map(Step::Opaque),
        path().prop_map(Step::Device),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    /// Whatever entries come in whatever order, nothing outside is touched, and what was accepted
    /// can be read, digested and exported.
    #[test]
    fn any_sequence_is_contained(steps in prop::collection::vec(step(), 1..25)) {
        let fixture = Fixture::new();
        let outside = fixture.path();
        let targets = [outside.as_str(), "..", "../..", "/"];
        let target = |index: usize| PATHS.get(index).copied().unwrap_or_else(|| targets[index - PATHS.len()]);
        let tar = steps.iter().fold(LayerTar::new(), |tar, step| match *step {
            Step::File(path) => tar.file(PATHS[path], "x"),
            Step::Dir(path) => tar.dir(PATHS[path]),
            Step::Symlink(path, to) => tar.symlink(PATHS[path], target(to)),
            Step::HardLink(path, to) => tar.hard_link(PATHS[path], PATHS[to]),
            Step::Whiteout(path) => tar.whiteout(PATHS[path]),
            Step::Opaque(path) => tar.opaque(PATHS[path]),
            Step::Device(path) => tar.char_device(PATHS[path], 1, 3),
        });
        let imported = fixture.store.import_layer(&tar.finish()[..], None, None);
        fixture.assert_untouched();
        if let Ok((snapshot, _)) = imported {
            let content = fixture.store.snapshot_content(&snapshot).unwrap();
            let layer = fixture.store.export_layer(&snapshot, 0, cairn_oci::Compression::Gzip).unwrap();
            let other = TempStore::with_ownership(Ownership::Recorded);
            let blob = fixture.store.open_blob(&layer.descriptor.digest).unwrap();
            let (again, _) = other.import_layer(blob, Some(&layer.diff_id), None).unwrap();
            prop_assert_eq!(other.snapshot_content(&again).unwrap(), content);
        } else {
            let error = imported.unwrap_err();
            let is_refusal = matches!(error, StoreError::Layer { .. });
            prop_assert!(is_refusal, "{}", error);
        }
    }
}
