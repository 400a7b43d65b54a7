//! What identifies a suite: evidence of an image is kept by it, and a changed suite has another.
//!
//! | enters | does not |
//! | --- | --- |
//! | the files of the suite, of its `python-path`, and the `conftest.py` above it: path, content, whether they can be executed | times, owners, `__pycache__` |
//! | how it is run: place, command, words for pytest, variables, user, read-only, GPU | its time-out, its kind |
//! | the list of packages that pytest may come from | the host's pytest |
//! | its services: what they run, how they show that they are ready, the content of their images | their time-outs |

use std::fs;
use std::io;
use std::path::Path;

use cairn_build::image::ImageRecord;
use cairn_spec::suite::Suite;
use cairn_store::{ContentDigest, KeyHasher};

use super::{SuiteError, packages};

/// To be raised when the same suite may get another verdict from a newer cairn.
const VERSION: u64 = 1;
/// What Python leaves behind.
const LEFT_BEHIND: [&str; 2] = ["__pycache__", ".pytest_cache"];
/// The files of the folders above a suite that pytest reads.
pub(super) const ABOVE: [&str; 2] = ["conftest.py", "pytest.ini"];

/// Takes the digest of a suite.
///
/// Paths start from `directory`; `record_of` finds the images of services.
pub fn digest(
    suite: &Suite,
    directory: &Path,
    record_of: &dyn Fn(&str) -> Option<ImageRecord>,
) -> Result<ContentDigest, SuiteError> {
    let mut hasher = KeyHasher::new("cairn suite");
    hasher.number("version", VERSION);
    hasher.field("path", &suite.path.value);
    tree(&mut hasher, &directory.join(&suite.path.value))?;
    for above in above(&suite.path.value) {
        let path = directory.join(&above);
        if path.is_file() {
            hasher.field("above", &above);
            file(&mut hasher, &path)?;
        }
    }
    for folder in &suite.python_path {
        hasher.field("python path", &folder.value);
        tree(&mut hasher, &directory.join(&folder.value))?;
    }
    hasher.field("place", suite.place.as_str());
    hasher.list("command", suite.command.iter());
    hasher.list("args", suite.args.iter());
    for (name, value) in &suite.env {
        hasher.field("variable", name).field("value", value);
    }
    hasher.field("user", suite.user.as_deref().unwrap_or_default());
    hasher.number("read only", u64::from(suite.read_only));
    hasher.number("gpu", u64::from(suite.gpu));
    if suite.command.is_empty() {
        hasher.field("pytest", packages::list_digest().as_bytes());
    }
    for service in &suite.services {
        hasher.field("service", &service.name);
        if let Some(image) = &service.image
            && let Some(record) = record_of(image)
        {
            hasher.field("image", record.content().as_bytes());
        }
        hasher.list("command", service.command.iter());
        hasher.list("ready", service.ready.iter());
        hasher.field("log", service.log.as_deref().unwrap_or_default());
        hasher.number("port", service.port.unwrap_or_default().into());
        for (name, value) in &service.env {
            hasher.field("variable", name).field("value", value);
        }
    }
    Ok(hasher.finish_content())
}

/// Whether a file above a suite belongs to it.
pub fn reads(suite: &Suite, file: &str) -> bool {
    above(&suite.path.value).iter().any(|above| above == file)
}

/// The files above a suite that belong to it, by their paths from the spec's folder; none for a
/// suite outside of it.
pub(super) fn above(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|it| !matches!(*it, "" | "."))
        .collect();
    if path.starts_with('/') || parts.contains(&"..") {
        return Vec::new();
    }
    let mut files = Vec::new();
    for depth in 0..parts.len() {
        let folder = parts[..depth].join("/");
        files.extend(ABOVE.iter().map(|name| match folder.as_str() {
            "" => (*name).to_owned(),
            folder => format!("{folder}/{name}"),
        }));
    }
    files
}

fn tree(hasher: &mut KeyHasher, path: &Path) -> Result<(), SuiteError> {
    let kind = fs::symlink_metadata(path).map_err(|source| failed("look at", path, source))?;
    if kind.is_dir() {
        let entries = fs::read_dir(path).map_err(|source| failed("read", path, source))?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(
                entry
                    .map_err(|source| failed("read", path, source))?
                    .file_name(),
            );
        }
        names.sort();
        let left_behind = |name: &std::ffi::OsString| LEFT_BEHIND.iter().any(|it| name == it);
        names.retain(|name| !left_behind(name));
        hasher.number("folder", names.len() as u64);
        for name in names {
            hasher.field("name", name.as_encoded_bytes());
            tree(hasher, &path.join(&name))?;
        }
        return Ok(());
    }
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(|source| failed("read", path, source))?;
        hasher.field("link", target.as_os_str().as_encoded_bytes());
        return Ok(());
    }
    file(hasher, path)
}

fn file(hasher: &mut KeyHasher, path: &Path) -> Result<(), SuiteError> {
    use std::os::unix::fs::PermissionsExt;
    let open = || {
        let file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        Ok::<_, io::Error>((mode, ContentDigest::of_reader(file)?))
    };
    let (mode, content) = open().map_err(|source| failed("read", path, source))?;
    hasher.number("executable", u64::from(mode & 0o111 != 0));
    hasher.field("content", content.as_bytes());
    Ok(())
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> SuiteError {
    SuiteError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_above_a_suite_are_those_of_its_folders() {
        assert_eq!(above("test").len(), 2);
        assert_eq!(
            above("./images/a/test/"),
            [
                "conftest.py",
                "pytest.ini",
                "images/conftest.py",
                "images/pytest.ini",
                "images/a/conftest.py",
                "images/a/pytest.ini"
            ]
        );
        assert!(above("../elsewhere/test").is_empty() && above("/abs").is_empty());
    }

    #[test]
    fn what_changes_in_a_folder_changes_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let digest = || {
            let mut hasher = KeyHasher::new("test");
            tree(&mut hasher, folder.path()).unwrap();
            hasher.finish_content()
        };
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("test_a.py", "a");
        let first = digest();
        write("__pycache__/test_a.pyc", "x");
        assert_eq!(digest(), first);
        write("test_a.py", "b");
        let second = digest();
        assert_ne!(second, first);
        write("sub/test_b.py", "");
        assert_ne!(digest(), second);
    }
}
