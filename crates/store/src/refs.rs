//! References: names that point to a manifest, an index or an image record.

use std::fs::{self, File};
use std::path::PathBuf;

use cairn_oci::Descriptor;
use serde::{Deserialize, Serialize};

use crate::error::{At, StoreError};
use crate::home::{read_if_there, remove_if_there};
use crate::record_file;
use crate::session::rename_into;
use crate::store::Store;

const KIND: &str = "ref/1";
const READABLE_LENGTH_MAX: usize = 200;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RefRecord {
    name: String,
    target: Descriptor,
}

/// What the file of a name begins with that is too long to be readable; it stands in no other.
const HASHED: &str = "+";

impl Store {
    /// Makes a name point to something, durably. A name that points there already is left alone.
    ///
    /// This is [`publish`](Self::publish) of one name, but it makes only the name durable, not
    /// what it points to: call [`make_durable`](Self::make_durable) before.
    pub fn set_ref(&self, name: &str, target: &Descriptor) -> Result<(), StoreError> {
        if self.get_ref(name)?.as_ref() == Some(target) {
            return Ok(());
        }
        let unfinished = self.write_unfinished_ref(name, target)?;
        let file = File::open(&unfinished).at("open", &unfinished)?;
        file.sync_data().at("sync", &unfinished)?;
        rename_into(&unfinished, &self.ref_path(name))
    }

    /// Makes everything durable that was written, then lets all names point to their targets.
    ///
    /// One sync for all. After a power cut each name points to its old or its new target, and a
    /// new target is whole.
    pub fn publish(&self, refs: &[(String, Descriptor)]) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for (name, target) in refs {
            if self.get_ref(name)?.as_ref() != Some(target) {
                changes.push((name, self.write_unfinished_ref(name, target)?));
            }
        }
        if !changes.is_empty() || self.is_dirty() {
            self.sync()?;
        }
        for (name, unfinished) in &changes {
            rename_into(unfinished, &self.ref_path(name))?;
        }
        Ok(())
    }

    /// What a name points to.
    pub fn get_ref(&self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        let bytes = read_if_there(&self.ref_path(name))?;
        let record = bytes.and_then(|bytes| record_file::parse::<RefRecord>(KIND, &bytes));
        Ok(record
            .filter(|record| record.name == name)
            .map(|record| record.target))
    }

    /// Makes a name point to nothing; `false` if it did not point to anything.
    pub fn remove_ref(&self, name: &str) -> Result<bool, StoreError> {
        remove_if_there(&self.ref_path(name))
    }

    /// All names with what they point to, sorted by name.
    pub fn list_refs(&self) -> Result<Vec<(String, Descriptor)>, StoreError> {
        let directory = self.layout().part("refs");
        let mut refs = Vec::new();
        for entry in fs::read_dir(&directory).at("read", &directory)? {
            let path = entry.at("read", &directory)?.path();
            let bytes = read_if_there(&path)?.unwrap_or_default();
            if let Some(record) = record_file::parse::<RefRecord>(KIND, &bytes) {
                refs.push((record.name, record.target));
            }
        }
        refs.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(refs)
    }

    /// The names that begin so, with what they point to, sorted by name. Of others no file is read
    /// whose name tells.
    pub fn list_refs_of(&self, beginning: &str) -> Result<Vec<(String, Descriptor)>, StoreError> {
        let directory = self.layout().part("refs");
        let path = self.ref_path(beginning);
        let escaped = path.file_name().unwrap_or_default().as_encoded_bytes();
        let mut refs = Vec::new();
        for entry in fs::read_dir(&directory).at("read", &directory)? {
            let entry = entry.at("read", &directory)?;
            let file = entry.file_name();
            let file = file.as_encoded_bytes();
            if !file.starts_with(escaped) && !file.starts_with(HASHED.as_bytes()) {
                continue;
            }
            let bytes = read_if_there(&entry.path())?.unwrap_or_default();
            let record = record_file::parse::<RefRecord>(KIND, &bytes);
            if let Some(record) = record.filter(|record| record.name.starts_with(beginning)) {
                refs.push((record.name, record.target));
            }
        }
        refs.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(refs)
    }

    fn write_unfinished_ref(&self, name: &str, target: &Descriptor) -> Result<PathBuf, StoreError> {
        let record = RefRecord {
            name: name.into(),
            target: target.clone(),
        };
        let bytes = record_file::print(KIND, &record);
        self.session()?.write_unfinished(&bytes)
    }

    fn ref_path(&self, name: &str) -> PathBuf {
        self.layout().part("refs").join(file_name(name))
    }
}

/// Whether a file in `refs` is a whole record.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    record_file::parse::<RefRecord>(KIND, bytes).is_some()
}

/// A file name for a reference: readable where possible, and no two share one.
fn file_name(name: &str) -> String {
    let mut readable = String::with_capacity(name.len() + 16);
    for (position, byte) in name.bytes().enumerate() {
        let is_plain =
            byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && position > 0);
        if is_plain {
            readable.push(char::from(byte));
        } else {
            readable.push_str(&format!("%{byte:02X}"));
        }
    }
    if readable.len() <= READABLE_LENGTH_MAX && !readable.is_empty() {
        return readable;
    }
    format!("{HASHED}{}", blake3::hash(name.as_bytes()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{fixture, open};
    use cairn_oci::MediaType;

    fn target(text: &str) -> Descriptor {
        Descriptor::of(MediaType::OciManifest, text.as_bytes())
    }

    #[test]
    fn names_are_listed_by_their_beginning() {
        let (_home, store) = fixture();
        let long = format!("host/lab/{}:1", "x".repeat(300));
        for name in [
            "host/lab/a:1",
            "host/lab/a@sha256:00",
            "host/lab/b:1",
            &long,
        ] {
            store.set_ref(name, &target(name)).unwrap();
        }
        let names = |beginning: &str| -> Vec<String> {
            let refs = store.list_refs_of(beginning).unwrap();
            refs.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(
            names("host/lab/a"),
            ["host/lab/a:1", "host/lab/a@sha256:00"]
        );
        assert_eq!(names("host/lab/x"), [long.as_str()]);
        assert_eq!(names("host").len(), 4);
    }

    #[test]
    fn names_point_and_move() {
        let (home, store) = fixture();
        let name = "docker.io/library/busybox:latest";
        assert_eq!(store.get_ref(name).unwrap(), None);
        store.set_ref(name, &target("1")).unwrap();
        store.set_ref(name, &target("2")).unwrap();
        store
            .publish(&[("b".into(), target("3")), (name.into(), target("4"))])
            .unwrap();
        drop(store);
        let store = open(home.path());
        assert_eq!(store.get_ref(name).unwrap(), Some(target("4")));
        let names: Vec<_> = store
            .list_refs()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["b", name]);
        assert!(store.remove_ref("b").unwrap());
        assert!(!store.remove_ref("b").unwrap());
    }

    #[test]
    fn nothing_changed_writes_nothing() {
        let (home, store) = fixture();
        store.publish(&[("a".into(), target("1"))]).unwrap();
        drop(store);
        let store = open(home.path());
        store.publish(&[("a".into(), target("1"))]).unwrap();
        store.set_ref("a", &target("1")).unwrap();
        assert!(
            fs::read_dir(home.path().join("tmp"))
                .unwrap()
                .next()
                .is_none()
        );
    }

    #[test]
    fn odd_names_stay_inside() {
        let (_home, store) = fixture();
        let long = "x/".repeat(150);
        for name in ["..", ".", "", "../../x", "a/b", "a%2Fb", "ü", &long] {
            store.set_ref(name, &target(name)).unwrap();
        }
        for name in ["..", ".", "", "../../x", "a/b", "a%2Fb", "ü", &long] {
            assert_eq!(store.get_ref(name).unwrap(), Some(target(name)), "{name}");
        }
        assert_eq!(store.list_refs().unwrap().len(), 8);
    }

    #[test]
    fn a_torn_ref_is_none() {
        let (_home, store) = fixture();
        store.set_ref("a", &target("1")).unwrap();
        fs::write(store.ref_path("a"), b"").unwrap();
        assert_eq!(store.get_ref("a").unwrap(), None);
        assert!(store.list_refs().unwrap().is_empty());
    }
}
