//! What a base must not carry: traces of when, where and in which order it was made.
//!
//! Logs, caches that programs rebuild, identities that a machine must make for itself, and what
//! scripts left in `/run` and `/tmp`. Keys that a package makes for itself go too: one that everybody
//! can read in a published image protects nothing. Times need no care: a layer's files are given at most the
//! base's date when the layer is written.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::DebianError;
use crate::lock::Lock;
use crate::tree::Tree;

/// Files that go, by their paths below the root; a last part `*` stands for all in a directory,
/// with a suffix for those that end so.
const REMOVED: [&str; 28] = [
    "etc/.pwd.lock",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/ssh/*_key",
    "etc/ssh/*_key.pub",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
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
    let certificates = Path::new("etc/ssl/certs");
    remove_links_to(root, certificates, "ssl-cert-snakeoil.pem").map_err(|source| {
        let path = certificates.to_owned();
        DebianError::File {
            path,
            action: "removing links in",
            source,
        }
    })?;
    drop_access_lists(root);
    give_shadow_files(tree)?;
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

/// Takes the access lists off the journal's directory. systemd sets them where the file system and
/// the user's ids allow it, and again at each boot; here they would tell who made the base.
fn drop_access_lists(root: &Path) {
    let journal = Path::new("var/log/journal");
    if is_plain_directory(root, journal) {
        for list in ["system.posix_acl_access", "system.posix_acl_default"] {
            // Without such a list there is nothing to take off.
            let _ = rustix::fs::lremovexattr(root.join(journal), list);
        }
    }
}

/// Gives the password files to their group again. A program that replaces one keeps the owner that
/// it sees; where owners are only recorded, that is root.
fn give_shadow_files(tree: &mut Tree<'_>) -> Result<(), DebianError> {
    let groups = tree.read("etc/group")?.unwrap_or_default();
    let Some(shadow) = group_id(&String::from_utf8_lossy(&groups), "shadow") else {
        return Ok(());
    };
    for path in ["etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-"] {
        if tree.read(path)?.is_some() {
            tree.set_owner(path, 0, shadow)?;
        }
    }
    Ok(())
}

fn group_id(groups: &str, name: &str) -> Option<u32> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    let mut group = lines.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    group.nth(1)?.parse().ok()
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
    if !is_plain_directory(root, folder) {
        return Ok(());
    }
    let directory = root.join(folder);
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

/// Whether a path in the tree leads through directories only. A link in it, which any script may
/// have put there, would lead out of the tree and into this machine's own files; if it leads to a
/// directory of the tree, that one has a path of its own.
fn is_plain_directory(root: &Path, folder: &Path) -> bool {
    let is_directory =
        |path: &Path| fs::symlink_metadata(root.join(path)).is_ok_and(|meta| meta.is_dir());
    folder
        .ancestors()
        .all(|path| path.as_os_str().is_empty() || is_directory(path))
}

/// Removes the links beside a removed certificate: OpenSSL finds it by names made of its hash.
fn remove_links_to(root: &Path, folder: &Path, target: &str) -> io::Result<()> {
    if !is_plain_directory(root, folder) {
        return Ok(());
    }
    for entry in fs::read_dir(root.join(folder))? {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|found| found == Path::new(target)) {
            fs::remove_file(&path)?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn all_of_a_directory_goes_but_what_packages_own() {
        let root = tempfile::tempdir().unwrap();
        for path in ["run/lock/a", "run/x/y", "run/z", "kept"] {
            write(root.path(), path);
        }
        remove_matching(root.path(), Path::new("run"), "*").unwrap();
        let left: Vec<_> = fs::read_dir(root.path().join("run")).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(root.path().join("run/lock").is_dir() && !root.path().join("run/lock/a").exists());
        assert!(root.path().join("kept").exists());
    }

    #[test]
    fn groups_are_found_by_their_whole_name() {
        let groups = "root:x:0:\ngshadow:x:7:\nshadow:x:42:\nodd\n";
        assert_eq!(group_id(groups, "shadow"), Some(42));
        assert_eq!(group_id(groups, "odd"), None);
        assert_eq!(group_id(groups, "staff"), None);
    }

    #[test]
    fn names_are_matched_whole_or_by_their_end() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
            "log/a.log",
            "log/b.log",
        ] {
            write(root.path(), path);
        }
        remove_matching(root.path(), Path::new("etc/ssh"), "*_key").unwrap();
        remove_matching(root.path(), Path::new("log"), "a.log").unwrap();
        remove_matching(root.path(), Path::new("not/there"), "*").unwrap();
        let there = |path: &str| root.path().join(path).exists();
        assert!(!there("etc/ssh/ssh_host_rsa_key") && there("etc/ssh/sshd_config"));
        assert!(!there("log/a.log") && there("log/b.log"));
    }

    #[test]
    fn links_on_the_way_are_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(outside.path(), "cache/apt/precious");
        symlink(outside.path(), root.path().join("var")).unwrap();
        remove_matching(root.path(), Path::new("var/cache/apt"), "*").unwrap();
        assert!(outside.path().join("cache/apt/precious").exists());

        fs::create_dir(root.path().join("tmp")).unwrap();
        symlink(outside.path().join("cache"), root.path().join("tmp/link")).unwrap();
        remove_matching(root.path(), Path::new("tmp"), "*").unwrap();
        assert!(outside.path().join("cache/apt/precious").exists());
        assert!(fs::symlink_metadata(root.path().join("tmp/link")).is_err());
    }

    #[test]
    fn a_removed_certificate_takes_its_links_along() {
        let root = tempfile::tempdir().unwrap();
        let certificates = root.path().join("etc/ssl/certs");
        fs::create_dir_all(&certificates).unwrap();
        symlink("mine.pem", certificates.join("0a1b.0")).unwrap();
        symlink("other.pem", certificates.join("0a1b.1")).unwrap();
        remove_links_to(root.path(), Path::new("etc/ssl/certs"), "mine.pem").unwrap();
        let left: Vec<_> = fs::read_dir(&certificates)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["0a1b.1"]);
    }
}
