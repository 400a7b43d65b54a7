//! The host's certificates, trusted inside for one run and gone from what it leaves behind.
//!
//! While the program runs, each certificate bundle of the image ends with a marked block that
//! holds the host's certificates, and the variables of [`ENVIRONMENT`] name a bundle under `/dev`.
//! The changed bundles lie in a layer over the image, so a run that does not touch them leaves no
//! trace. A run that changes, moves or copies one carries the block into its upper; [`strip`]
//! takes it out again.
//!
//! What it cannot find: a block that was compressed, split into single certificates, or copied
//! into a larger file whose name does not speak of certificates.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Certificates that programs inside are to trust on top of the image's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaTrust {
    /// One or more certificates. Where the image has no bundle, the variables name a file that
    /// holds these alone: give all that is to be trusted.
    pub pem: Pem,
    /// Whether the variables of [`ENVIRONMENT`] that the program's environment lacks are set.
    pub set_env: bool,
}

/// Certificates in PEM form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pem {
    /// As they are.
    Text(String),
    /// A file of the host. A bundle has a quarter of a megabyte: named, it is read once where it
    /// is needed instead of being handed from process to process at every start.
    File(PathBuf),
}

impl Pem {
    /// Tells one state of the certificates from another without reading them.
    pub(crate) fn stamp(&self) -> io::Result<Option<Stamp>> {
        match self {
            Self::Text(_) => Ok(None),
            Self::File(path) => fs::metadata(path).map(|metadata| {
                Some(Stamp {
                    inode: (metadata.dev(), metadata.ino()),
                    bytes: metadata.len(),
                    changed: (metadata.ctime(), metadata.ctime_nsec()),
                })
            }),
        }
    }
}

/// The state of a file of certificates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    /// The kernel's own time of the last change, in seconds and nanoseconds.
    changed: (i64, i64),
}

/// The variables by which common programs find their certificates.
pub const ENVIRONMENT: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
];

/// Where images keep their bundles; several of these are links to one another.
pub const BUNDLES: &[&str] = &[
    // Debian, Ubuntu, Arch, Gentoo, Alpine
    "/etc/ssl/certs/ca-certificates.crt",
    // Alpine, Void
    "/etc/ssl/cert.pem",
    "/etc/ssl1.1/cert.pem",
    // Red Hat, Fedora, Amazon
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/certs/ca-bundle.crt",
    // SUSE
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// What the variables name, inside.
pub(crate) const ENVIRONMENT_BUNDLE: &str = "/dev/.cairn/ca-bundle.crt";

const BEGIN: &str = "\n# cairn: the host's certificates, for this run only: begin\n";
const END: &str = "\n# cairn: the host's certificates, for this run only: end\n";

/// What is appended to a bundle.
pub(crate) fn block_of(pem: &Pem) -> io::Result<Vec<u8>> {
    let mut block = BEGIN.as_bytes().to_vec();
    match pem {
        Pem::Text(text) => block.extend_from_slice(text.as_bytes()),
        Pem::File(path) => {
            let mut file = File::open(path)?;
            let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            block.reserve_exact(bytes + END.len() + 1);
            file.read_to_end(&mut block)?;
        }
    }
    block.truncate(block.trim_ascii_end().len());
    block.extend_from_slice(END.as_bytes());
    Ok(block)
}

/// What was put over the image, to be taken out of the upper.
pub(crate) struct Injected<'a> {
    pub(crate) block: &'a [u8],
    /// Below the root.
    pub(crate) replaced: &'a [PathBuf],
}

/// Takes the block out of every file of `upper` that has it. A replaced bundle that then equals
/// the image's own is no change and is removed from the upper.
pub(crate) fn strip(upper: &Path, lowers: &[PathBuf], injected: &Injected<'_>) -> io::Result<()> {
    let copies: BTreeSet<u64> = injected
        .replaced
        .iter()
        .filter_map(|path| original_of(path, lowers))
        .map(|(_, metadata)| metadata.len() + injected.block.len() as u64)
        .collect();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(upper.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                let metadata = entry.metadata()?;
                let is_replaced = injected.replaced.contains(&path);
                let may_have_it = is_replaced
                    || copies.contains(&metadata.len())
                    || metadata.len() <= NAMED_BYTES_MAX && speaks_of_certificates(&path);
                if may_have_it {
                    strip_file(&upper.join(&path), &metadata, injected.block)?;
                }
                if is_replaced {
                    drop_unchanged(upper, &path, lowers)?;
                }
            }
        }
    }
    Ok(())
}

/// Files with a telling name are read up to this size.
const NAMED_BYTES_MAX: u64 = 16 << 20;

fn speaks_of_certificates(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    matches!(
        extension,
        "pem" | "crt" | "cer" | "cert" | "bundle" | "trust"
    ) || ["cert", "ca-bundle", "cacert", "trust"]
        .iter()
        .any(|word| name.contains(word))
}

/// Rewrites the file in place, so that links to it, its attributes and its times stay.
fn strip_file(path: &Path, metadata: &Metadata, block: &[u8]) -> io::Result<()> {
    let content = fs::read(path)?;
    let Some(stripped) = without_block(&content, block) else {
        return Ok(());
    };
    fs::write(path, stripped)?;
    let times = FileTimes::new()
        .set_accessed(metadata.accessed()?)
        .set_modified(metadata.modified()?);
    File::open(path)?.set_times(times)
}

/// The content without any copy of the block, whole or cut off at the end of the file; `None`
/// when there is none.
fn without_block(content: &[u8], block: &[u8]) -> Option<Vec<u8>> {
    let begin = BEGIN.as_bytes();
    let mut kept = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = find(rest, begin) {
        let (before, found) = rest.split_at(at);
        kept.extend_from_slice(before);
        if found.starts_with(block) {
            rest = &found[block.len()..];
        } else if block.starts_with(found) {
            rest = &[];
        } else {
            kept.extend_from_slice(begin);
            rest = &found[begin.len()..];
        }
    }
    kept.extend_from_slice(rest);
    (kept.len() != content.len()).then_some(kept)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Removes a bundle from the upper when nothing about it differs from the image's.
fn drop_unchanged(upper: &Path, path: &Path, lowers: &[PathBuf]) -> io::Result<()> {
    let Some((original, before)) = original_of(path, lowers) else {
        return Ok(());
    };
    let copy = upper.join(path);
    let after = fs::symlink_metadata(&copy)?;
    let is_alike = (before.mode(), before.uid(), before.gid(), before.len())
        == (after.mode(), after.uid(), after.gid(), after.len())
        && recorded_owner(&original) == recorded_owner(&copy);
    if is_alike && fs::read(&original)? == fs::read(&copy)? {
        fs::remove_file(&copy)?;
    }
    Ok(())
}

fn recorded_owner(path: &Path) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = rustix::fs::lgetxattr(path, crate::owner::ATTRIBUTE, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

/// The image's own file: the topmost, because the path is the one that was visible.
fn original_of(path: &Path, lowers: &[PathBuf]) -> Option<(PathBuf, Metadata)> {
    let (at, metadata) = lowers.iter().rev().find_map(|lower| {
        let at = lower.join(path);
        fs::symlink_metadata(&at)
            .ok()
            .map(|metadata| (at, metadata))
    })?;
    metadata.is_file().then_some((at, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_without(content: &str, expected: Option<&str>) {
        let block = block_of(&Pem::Text("HOST\nHOST2\n".to_owned())).unwrap();
        let content = content.replace("{block}", std::str::from_utf8(&block).unwrap());
        let stripped = without_block(content.as_bytes(), &block);
        assert_eq!(
            stripped.as_deref(),
            expected.map(str::as_bytes),
            "from {content:?}"
        );
    }

    #[test]
    fn the_block_goes_and_the_rest_stays() {
        check_without("own\n", None);
        check_without("own\n{block}", Some("own\n"));
        check_without(
            "own without newline{block}added\n",
            Some("own without newlineadded\n"),
        );
        check_without("a{block}b{block}c", Some("abc"));
        check_without("{block}", Some(""));
    }

    #[test]
    fn a_named_file_gives_the_same_block_as_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bundle.crt");
        fs::write(&file, "HOST\nHOST2\n\n").unwrap();
        let text = Pem::Text("HOST\nHOST2\n\n".to_owned());
        let named = Pem::File(file.clone());
        assert_eq!(block_of(&named).unwrap(), block_of(&text).unwrap());

        let before = named.stamp().unwrap();
        assert_eq!(named.stamp().unwrap(), before);
        fs::rename(&file, dir.path().join("old")).unwrap();
        fs::write(&file, "HOST\nHOST2\n\n").unwrap();
        assert_ne!(named.stamp().unwrap(), before);
    }

    #[test]
    fn a_block_cut_off_at_the_end_goes_too() {
        let begin = BEGIN;
        check_without(&format!("own{begin}HOST\nHO"), Some("own"));
        check_without(&format!("own{begin}"), Some("own"));
    }

    #[test]
    fn somebody_elses_text_after_the_marker_stays() {
        let begin = BEGIN;
        check_without(&format!("own{begin}OTHER"), None);
    }

    #[test]
    fn telling_names() {
        for name in [
            "/x/cacert.pem",
            "/etc/ca-certificates.crt",
            "/x/tls-ca-bundle",
            "/x/Certs",
        ] {
            assert!(speaks_of_certificates(Path::new(name)), "{name}");
        }
        for name in ["/x/libfoo.so", "/x/readme.txt", "/x/data.json"] {
            assert!(!speaks_of_certificates(Path::new(name)), "{name}");
        }
    }
}
