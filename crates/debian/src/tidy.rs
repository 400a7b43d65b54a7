//! What a base must not carry: traces of when, where and in which order it was made.
//!
//! Logs, caches that programs rebuild, identities that a machine must make for itself, and what
//! scripts left in `/run` and `/tmp`. Times need no care: a layer's files are given at most the
//! base's date when the layer is written.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::DebianError;
use crate::lock::Lock;
use crate::tree::Tree;

/// Files that go, by their paths below the root; a last part `*` stands for all in a directory,
/// with a suffix for those that end so.
const REMOVED: [&str; 26] = [
    "etc/.pwd.lock",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/ssh/*_key",
    "etc/ssh/*_key.pub",
    "run/*",
    "tmp/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/fontconfig/*",
    "var/cache/ldconfig/*",
    "var/cache/man/*",
    "var/lib/apt/lists/*",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/apt/*",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/log/fontconfig.log",
    "var/log/journal/*",
    "var/tmp/*",
];

/// Directories that stay although all in a directory goes: packages own them.
const KEPT: [&str; 4] = [
    "run/lock",
    "var/cache/apt/archives",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
];

/// Cleans a tree that nothing writes to any more, and writes what is this program's to write.
pub(crate) fn tidy(root: &Path, tree: &mut Tree<'_>, lock: &Lock) -> Result<(), DebianError> {
    for pattern in REMOVED {
        let path = Path::new(pattern);
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name());
        let name = name.and_then(|name| name.to_str()).unwrap_or_default();
        remove_matching(root, folder, name).map_err(|source| DebianError::File {
            path: path.to_owned(),
            action: "removing",
            source,
        })?;
    }
    if tree.read("etc/machine-id")?.is_some() {
        // systemd takes an empty file for "not initialized yet" and makes an id at boot.
        tree.put("etc/machine-id", 0o444, b"")?;
    }
    tree.put("etc/apt/sources.list", 0o644, sources_list(lock).as_bytes())?;
    let automatic = extended_states(lock);
    if !automatic.is_empty() {
        tree.put("var/lib/apt/extended_states", 0o644, automatic.as_bytes())?;
    }
    Ok(())
}

/// Where the base's packages came from, for an apt inside.
fn sources_list(lock: &Lock) -> String {
    let components = lock.components.join(" ");
    let line = |index: &crate::lock::LockedIndex| {
        format!("deb {} {} {components}\n", index.mirror, index.suite)
    };
    lock.indexes.iter().map(line).collect()
}

/// Which packages apt may remove when nothing needs them any more.
fn extended_states(lock: &Lock) -> String {
    let automatic = lock.packages.iter().filter(|package| package.auto);
    let stanza = |name: &str| {
        format!(
            "Package: {name}\nArchitecture: {}\nAuto-Installed: 1\n\n",
            lock.arch
        )
    };
    automatic.map(|package| stanza(&package.name)).collect()
}

fn remove_matching(root: &Path, folder: &Path, name: &str) -> io::Result<()> {
    let directory = root.join(folder);
    // A directory that is a link leads to a place with a path of its own.
    if !fs::symlink_metadata(&directory).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let fits = match name.strip_prefix('*') {
            Some(suffix) => found.ends_with(suffix),
            None => found == name,
        };
        if fits {
            remove(&entry.path(), &folder.join(&*found))?;
        }
    }
    Ok(())
}

/// Removes a file or all of a directory but what is kept.
fn remove(host: &Path, path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(host)?.is_dir() {
        return fs::remove_file(host);
    }
    for entry in fs::read_dir(host)? {
        let entry = entry?;
        remove(&entry.path(), &path.join(entry.file_name()))?;
    }
    if KEPT.iter().any(|kept| Path::new(kept) == path) {
        Ok(())
    } else {
        fs::remove_dir(host)
    }
}
