//! Layers of images: tar archives of any content.
//!
//! The input is not the archive: a random change to one breaks a checksum and is refused at once.
//! It is a row of entries (`cairn_fuzz::archive`), of which an archive with true checksums is made; an input that
//! begins with `=` is an archive as it stands.
//!
//! It wants to read and write what nobody may, as Cairn does: run it as root, or better as nobody in
//! particular with `unshare -r`.
//!
//! - nothing panics;
//! - nothing is made outside the snapshot: the folders around the store hold what they held;
//! - what was unpacked, exported and unpacked again is the same change.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use cairn_fuzz::archive;
use cairn_store::{Compression, OpenOptions, Ownership, Store};
use libfuzzer_sys::fuzz_target;

/// What an epoch may not cut off: layers keep the times that they came with.
const EPOCH: i64 = 1 << 33;
/// After so many layers the store is made anew, before it fills the disk.
const LAYERS_PER_STORE: usize = 500;

fuzz_target!(|data: &[u8]| {
    let archive = match data.strip_prefix(b"=") {
        Some(raw) => raw.to_vec(),
        None => archive(data),
    };
    WORKSHOP.with_borrow_mut(|workshop| workshop.check(&archive));
});

thread_local! {
    static WORKSHOP: RefCell<Workshop> = RefCell::new(Workshop::new());
}

/// A store some folders down, so that what climbs out of it is seen.
struct Workshop {
    top: tempfile::TempDir,
    store: Option<Store>,
    layers: usize,
}

impl Workshop {
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a folder for the store");
        fs::create_dir_all(top.path().join("a/b")).expect("folders around the store");
        Self {
            top,
            store: None,
            layers: 0,
        }
    }

    fn check(&mut self, archive: &[u8]) {
        if self.layers.is_multiple_of(LAYERS_PER_STORE) {
            self.renew();
        }
        self.layers += 1;
        let store = self.store.as_ref().expect("it was just made");
        if let Ok(snapshot) = store.unpack_layer(archive) {
            let content = store.snapshot_content(&snapshot).expect("a whole snapshot");
            let layer = store
                .export_layer(&snapshot, EPOCH, Compression::None)
                .expect("a snapshot that can be written");
            let blob = store.open_blob(&layer.descriptor.digest).expect("its blob");
            let again = store.unpack_layer(blob).expect("a layer that was written");
            assert_eq!(
                store.snapshot_content(&again).expect("a whole snapshot"),
                content,
                "written and read, it is another change"
            );
            for snapshot in [snapshot, again] {
                store.discard_snapshot(&snapshot).expect("no use for it");
            }
        }
        self.assert_contained();
    }

    fn renew(&mut self) {
        self.store = None;
        let home = self.top.path().join("a/b/store");
        if home.exists() {
            fs::remove_dir_all(&home).expect("an old store");
        }
        let ownership = Ownership::Recorded;
        self.store = Some(Store::open(&home, OpenOptions { ownership }).expect("a store"));
    }

    fn assert_contained(&self) {
        let top = self.top.path();
        for (folder, holds) in [("", "a"), ("a", "b"), ("a/b", "store")] {
            assert_eq!(
                names(&top.join(folder)),
                [holds],
                "something left the store"
            );
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder around the store");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    };
    entries.map(name).collect()
}
