//! Images that are there but for their name: what a plan says where no step runs, and yet the name
//! means another image than the one that was built last.
//!
//! That is so when only settings changed (a label, a variable after the last step), when the
//! sources are what they were at an earlier build, and when only the commit is another one, which
//! every image of a repository tells by a label. Its content is the same then, so tests and what
//! builds on it need nothing new; its digest is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cairn_build::image::ImageRecord;
use cairn_oci::{RunConfig, annotation};
use cairn_store::Store;
use serde_json::Value;

use crate::decide::{ReasonKind, reason};
use crate::plan::{ImageDecision, PlanReport};

/// So many files are named.
const NAMES_MAX: usize = 3;
/// So much of a commit is told.
const COMMIT_DIGITS: usize = 12;
/// Larger files of equal size count as equal.
const READ_MAX: u64 = 1 << 20;

/// Compares the images that need no step with what their names mean in the store. `input` says what
/// is different about an image's steps since it was built last.
pub fn compare(
    report: &mut PlanReport,
    records: &BTreeMap<String, ImageRecord>,
    last: &dyn Fn(&str) -> Option<ImageRecord>,
    input: &dyn Fn(&str) -> Option<String>,
    store: &Store,
) {
    for image in &mut report.images {
        if image.decision != ImageDecision::Reuse {
            continue;
        }
        let Some(record) = records.get(&image.label) else {
            continue;
        };
        let because = match last(&image.label) {
            None => "nothing is called so yet".to_owned(),
            Some(old) if old.content() == record.content() => match revision(&old, record) {
                Some(because) => because,
                None => continue,
            },
            Some(old) => difference(&old, record, &|| input(&image.label), store),
        };
        image.decision = ImageDecision::Retag;
        image.reasons.push(reason(ReasonKind::Name, because, None));
    }
}

/// That only the commit is another one, which the images tell.
fn revision(old: &ImageRecord, new: &ImageRecord) -> Option<String> {
    let commit = |it: &ImageRecord| it.config.labels.get(annotation::REVISION).cloned();
    let (before, now) = (commit(old), commit(new));
    let short = |it: Option<String>| {
        it.map_or_else(
            || "none".to_owned(),
            |it| it.chars().take(COMMIT_DIGITS).collect(),
        )
    };
    (before != now).then(|| {
        format!(
            "the commit in its labels changed from {} to {}",
            short(before),
            short(now)
        )
    })
}

/// The first thing that tells two images apart, in words; the `input` that made their files so,
/// where it is known.
fn difference(
    old: &ImageRecord,
    new: &ImageRecord,
    input: &dyn Fn() -> Option<String>,
    store: &Store,
) -> String {
    if old.filesystem() != new.filesystem() {
        let text = "its files are those of an earlier build".to_owned();
        if let Some(input) = input() {
            return format!("{input}, and {text}");
        }
        return match changed_files(old, new, store).as_slice() {
            [] => text,
            names => format!("{text}: {}", names.join(", ")),
        };
    }
    let difference = setting_of(&old.config, &new.config);
    difference.unwrap_or_else(|| "it is for another platform".to_owned())
}

/// The first setting that tells two images apart, in words.
pub(crate) fn setting_of(old: &RunConfig, new: &RunConfig) -> Option<String> {
    let settings = |config: &RunConfig| {
        let mut config = config.clone();
        config.labels.retain(|name, _| name != annotation::REVISION);
        serde_json::to_value(config).unwrap_or_default()
    };
    setting(&settings(old), &settings(new))
}

/// Some of the files in the first layer that differs.
fn changed_files(old: &ImageRecord, new: &ImageRecord, store: &Store) -> Vec<String> {
    let pairs = old.layers.iter().zip(&new.layers);
    let differing = pairs
        .into_iter()
        .find(|(old, new)| old.content != new.content);
    let Some((old, new)) = differing else {
        return Vec::new();
    };
    let (old, new) = (
        store.snapshot_dir(&old.snapshot),
        store.snapshot_dir(&new.snapshot),
    );
    let mut names = Vec::new();
    compare_folders(&old, &new, "", &mut names);
    names
}

/// Names what one of two folders has differently, in the order of names, up to a limit. Files are
/// compared by size, mode and, unless they are large, by their bytes.
fn compare_folders(old: &Path, new: &Path, at: &str, names: &mut Vec<String>) {
    let entries = |folder: &Path| -> BTreeSet<OsString> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).collect()
    };
    for name in entries(old).union(&entries(new)) {
        if names.len() >= NAMES_MAX {
            return;
        }
        let path = format!("{at}/{}", name.to_string_lossy());
        let (old, new) = (old.join(name), new.join(name));
        match (fs::symlink_metadata(&old), fs::symlink_metadata(&new)) {
            (Ok(before), Ok(after)) if before.is_dir() && after.is_dir() => {
                compare_folders(&old, &new, &path, names);
            }
            (Ok(before), Ok(after)) if is_same(&old, &before, &new, &after) => {}
            _ => names.push(format!("`{path}`")),
        }
    }
}

fn is_same(old: &Path, before: &Metadata, new: &Path, after: &Metadata) -> bool {
    let facts = |it: &Metadata| (it.mode(), it.uid(), it.gid(), it.len());
    if facts(before) != facts(after) {
        return false;
    }
    if !before.is_file() {
        return fs::read_link(old).ok() == fs::read_link(new).ok();
    }
    before.len() > READ_MAX || fs::read(old).ok() == fs::read(new).ok()
}

/// The first setting that differs.
fn setting(old: &Value, new: &Value) -> Option<String> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return None;
    };
    let names = old.keys().chain(new.keys());
    let name = names
        .into_iter()
        .find(|name| old.get(*name) != new.get(*name))?;
    let (before, after) = (entries(old.get(name)), entries(new.get(name)));
    let mut parts = before.keys().chain(after.keys());
    let part = parts.find(|part| before.get(*part) != after.get(*part));
    Some(match (name.as_str(), part) {
        ("Env", Some(part)) => format!("its variable `{part}` changed"),
        ("Labels", Some(part)) => format!("its label `{part}` changed"),
        _ => format!("its setting `{name}` changed"),
    })
}

/// The named parts of a setting: of a table its keys, of a list of `NAME=value` the names.
fn entries(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = match value {
        Some(Value::Object(table)) => table
            .iter()
            .map(|(key, value)| (key.clone(), value.to_string()))
            .collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| item.as_str()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        _ => Vec::new(),
    };
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labelled(labels: &Value) -> ImageRecord {
        let record = json!({
            "platform": {"os": "linux", "architecture": "amd64"},
            "config": {"Labels": labels}, "epoch": 0, "layers": [], "history": [],
        });
        serde_json::from_value(record).expect("a record")
    }

    /// The content is the same, and the digest is not.
    #[test]
    fn another_commit_is_said() {
        let at = |commit: &str| labelled(&json!({annotation::REVISION: commit}));
        let (one, other) = (at("0123456789abcdef"), at("fedc"));
        assert_eq!(one.content(), other.content());
        assert_eq!(
            revision(&one, &other).as_deref(),
            Some("the commit in its labels changed from 0123456789ab to fedc")
        );
        let bare = labelled(&json!({}));
        assert!(revision(&bare, &one).is_some_and(|it| it.contains("from none to")));
        assert_eq!(revision(&one, &one), None);
    }

    #[test]
    fn the_first_setting_that_differs_is_named() {
        let old = json!({"Env": ["PATH=/bin", "A=1"], "Labels": {"x": "1"}, "User": "a"});
        let told = |change: &dyn Fn(&mut Value)| {
            let mut new = old.clone();
            change(&mut new);
            setting(&old, &new)
        };
        assert_eq!(told(&|_| {}), None);
        let cases = [
            ("/Env/1", json!("A=2"), "its variable `A` changed"),
            ("/Labels/x", json!("2"), "its label `x` changed"),
            ("/User", json!("b"), "its setting `User` changed"),
        ];
        for (place, value, wanted) in cases {
            let told = told(&|new| *new.pointer_mut(place).unwrap() = value.clone());
            assert_eq!(told.as_deref(), Some(wanted));
        }
        let more = told(&|new| new["Cmd"] = json!(["sh"]));
        assert_eq!(more.as_deref(), Some("its setting `Cmd` changed"));
    }
}
