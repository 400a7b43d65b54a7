//! The merged view against the kernel: the same tree as a real overlay mount shows, over layers
//! that real overlay mounts made.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cairn_oci::Compression;
use cairn_store::{ActiveSnapshot, EntryKind, LayeredView, Ownership, SnapshotId, Store};
use cairn_testkit::{TempStore, needs_overlay};
use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags};

/// An overlay mount, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts layers, bottom first, under an active upper.
    fn new(store: &Store, layers: &[SnapshotId], upper: &ActiveSnapshot) -> Self {
        let point = tempfile::tempdir().unwrap();
        let empty = upper.work().with_file_name("empty");
        fs::create_dir_all(&empty).unwrap();
        let lowers: Vec<String> = layers
            .iter()
            .rev()
            .map(|layer| store.snapshot_dir(layer).display().to_string())
            .chain([empty.display().to_string()])
            .collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr,index=off,metacopy=off,xino=off,volatile",
            lowers.join(":"),
            upper.upper().display(),
            upper.work().display()
        );
        let options = CString::new(options).unwrap();
        let flags = MountFlags::empty();
        rustix::mount::mount("overlay", point.path(), "overlay", flags, Some(&*options)).unwrap();
        Self(point)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, u8),
    MakeDir(usize),
    Remove(usize),
    Rename(usize, usize),
    Symlink(usize, usize),
    HardLink(usize, usize),
    Mode(usize, u32),
    /// Commits what was done so far and goes on in a new layer.
    Commit,
}

const PATHS: [&str; 11] = [
    "a", "b", "c", "a/x", "a/y", "b/x", "a/x/1", "a/x/2", "b/x/1", "c/x", "c/x/1",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || 0..PATHS.len();
    let step = prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, text)| Step::Write(path, text)),
        4 => path().prop_map(Step::MakeDir),
        3 => path().prop_map(Step::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (path(), path()).prop_map(|(path, to)| Step::Symlink(path, to)),
        1 => (path(), path()).prop_map(|(path, to)| Step::HardLink(path, to)),
        1 => (path(), prop_oneof![Just(0o700), Just(0o1777), Just(0o4755)]).prop_map(|(path, mode)| Step::Mode(path, mode)),
        3 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..50)
}

/// Does one step in a mounted tree. What is impossible there is not done: any tree will do.
fn apply(root: &Path, step: &Step) {
    let at = |index: usize| root.join(PATHS[index]);
    let _ = match *step {
        Step::Write(path, text) => fs::write(at(path), [text]),
        Step::MakeDir(path) => fs::create_dir(at(path)),
        Step::Remove(path) => match fs::symlink_metadata(at(path)) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(at(path)),
            _ => fs::remove_file(at(path)),
        },
        Step::Rename(from, to) => fs::rename(at(from), at(to)),
        Step::Symlink(path, to) => symlink(PATHS[to], at(path)),
        Step::HardLink(path, to) => fs::hard_link(at(to), at(path)),
        Step::Mode(path, mode) => match fs::symlink_metadata(at(path)) {
            Ok(found) if !found.is_symlink() => {
                fs::set_permissions(at(path), fs::Permissions::from_mode(mode))
            }
            _ => Ok(()),
        },
        Step::Commit => Ok(()),
    };
}

/// A file as both sides can describe it.
fn describe(kind: char, mode: u32, text: &[u8]) -> String {
    format!(
        "{kind} {mode:o} {}",
        String::from_utf8_lossy(text).escape_debug()
    )
}

fn mounted_tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let mode = found.mode() & 0o7777;
            let line = if found.is_dir() {
                waiting.push(path.clone());
                describe('d', mode, b"")
            } else if found.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                describe('l', mode, target.as_os_str().as_encoded_bytes())
            } else {
                describe('f', mode, &fs::read(&path).unwrap())
            };
            tree.insert(Path::new("/").join(path.strip_prefix(root).unwrap()), line);
        }
    }
    tree
}

fn viewed_tree(view: &LayeredView) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut waiting = vec![PathBuf::from("/")];
    while let Some(directory) = waiting.pop() {
        for (name, entry) in view.read_dir(&directory).unwrap() {
            assert_eq!(entry.path, directory.join(name));
            assert_eq!(view.lookup(&entry.path).unwrap().as_ref(), Some(&entry));
            let line = match entry.kind {
                EntryKind::Directory => {
                    waiting.push(entry.path.clone());
                    describe('d', entry.mode, b"")
                }
                EntryKind::Symlink => {
                    let target = view.read_link(&entry).unwrap();
                    describe('l', entry.mode, target.as_os_str().as_encoded_bytes())
                }
                _ => {
                    let mut text = Vec::new();
                    let mut file = view.open(&entry).unwrap();
                    std::io::Read::read_to_end(&mut file, &mut text).unwrap();
                    describe('f', entry.mode, &text)
                }
            };
            tree.insert(entry.path, line);
        }
    }
    tree
}

fn check(steps: &[Step]) {
    let store = TempStore::with_ownership(Ownership::Native);
    let mut layers: Vec<SnapshotId> = Vec::new();
    let mut active = store.begin_snapshot().unwrap();
    let mut mounted = Mounted::new(&store, &layers, &active);
    for step in steps.iter().chain([&Step::Commit]) {
        apply(mounted.path(), step);
        if !matches!(step, Step::Commit) {
            continue;
        }
        let expected = mounted_tree(mounted.path());
        drop(mounted);
        let with_upper = LayeredView::new(&store, &layers)
            .unwrap()
            .with_upper(&active);
        assert_eq!(viewed_tree(&with_upper), expected);
        layers.push(active.commit().unwrap());
        let view = LayeredView::new(&store, &layers).unwrap();
        assert_eq!(viewed_tree(&view), expected);
        active = store.begin_snapshot().unwrap();
        mounted = Mounted::new(&store, &layers, &active);
    }
    drop(mounted);
    let expected = viewed_tree(&LayeredView::new(&store, &layers).unwrap());
    assert_eq!(through_layers(&store, &layers), expected);
}

/// The tree after all layers were exported and imported elsewhere.
fn through_layers(store: &Store, layers: &[SnapshotId]) -> BTreeMap<PathBuf, String> {
    let other = TempStore::with_ownership(Ownership::Recorded);
    let imported: Vec<_> = layers
        .iter()
        .map(|snapshot| {
            let layer = store.export_layer(snapshot, 0, Compression::Gzip).unwrap();
            let blob = store.open_blob(&layer.descriptor.digest).unwrap();
            let (copy, _) = other
                .import_layer(blob, Some(&layer.diff_id), None)
                .unwrap();
            assert_eq!(
                other.snapshot_content(&copy).unwrap(),
                store.snapshot_content(snapshot).unwrap()
            );
            copy
        })
        .collect();
    viewed_tree(&LayeredView::new(&other, &imported).unwrap())
}

#[test]
fn the_view_is_what_the_kernel_shows() {
    let probe = tempfile::tempdir().unwrap();
    if !needs_overlay(probe.path()) {
        return;
    }
    let config = ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in steps())| check(&steps));
}
