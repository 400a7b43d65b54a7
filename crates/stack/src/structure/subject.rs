//! The image under test, and the circumstances of the tests.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_oci::RunConfig;
use cairn_sandbox::{CaTrust, Emulator, Network};
use cairn_store::{ActiveSnapshot, Entry, EntryKind, LayeredView, SnapshotId, Store};

use super::expand::expand;
use super::file::Variable;
use super::result::CheckError;

/// A file is read up to this size.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What every container has although the image may not: made for it when it is created. The
/// original looks at files through a container, so its tests find them.
const PROVIDED: &[(&str, EntryKind)] = &[
    ("", EntryKind::Directory),
    ("/dev", EntryKind::Directory),
    ("/dev/pts", EntryKind::Directory),
    ("/dev/shm", EntryKind::Directory),
    ("/proc", EntryKind::Directory),
    ("/sys", EntryKind::Directory),
    ("/etc/hostname", EntryKind::File),
    ("/etc/hosts", EntryKind::File),
    ("/etc/resolv.conf", EntryKind::File),
];

/// The image under test.
pub struct Subject<'a> {
    /// Where its files are.
    pub store: &'a Store,
    /// Its snapshots, bottom first.
    pub snapshots: &'a [SnapshotId],
    /// Its settings.
    pub config: &'a RunConfig,
}

/// The circumstances of the tests.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// See [`cairn_sandbox::Sandbox::exe`].
    pub exe: PathBuf,
    /// See [`cairn_sandbox::Sandbox::scratch`].
    pub scratch: PathBuf,
    /// The folder that paths in test files start from: that of the spec.
    pub folder: PathBuf,
    /// The caller's variables, for tests that ask for some by name.
    pub variables: BTreeMap<String, String>,
    /// Proxy variables, set in commands that do not set them.
    pub proxies: Vec<(String, String)>,
    /// What commands reach.
    pub network: Network,
    /// What runs the image's programs, where they are for another machine.
    pub emulator: Option<Emulator>,
    /// Certificates that commands trust.
    pub ca: Option<CaTrust>,
    /// How long one command may take.
    pub timeout: Option<Duration>,
    /// How many command tests run at a time.
    pub jobs: NonZeroUsize,
}

/// The image with what is needed to look into it: made once for all tests of a file.
pub(crate) struct Inspection<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) view: LayeredView,
    /// The image's variables and the file's global ones.
    pub(crate) env: Vec<(String, String)>,
}

/// A file of the image as a container would see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) kind: EntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl<'a> Inspection<'a> {
    pub(crate) fn new(
        subject: &'a Subject<'a>,
        global_env: &[Variable],
    ) -> Result<Self, CheckError> {
        let image = parse_env(&subject.config.env);
        let mut env = image.clone();
        // All are expanded by what the image sets: global variables do not see each other.
        for variable in global_env {
            let value = expand(&variable.value, |name| lookup(&image, name));
            set(&mut env, &variable.key, value);
        }
        Ok(Self {
            subject,
            view: LayeredView::new(subject.store, subject.snapshots)?,
            env,
        })
    }

    /// Expands the variables in a path or argument.
    pub(crate) fn expand(&self, text: &str) -> String {
        expand(text, |name| lookup(&self.env, name))
    }

    /// Looks at a file without following it if it is a symbolic link.
    pub(crate) fn facts(&self, path: &str) -> Result<Option<FileFacts>, CheckError> {
        let follow = path.len() > 1 && path.ends_with('/');
        if let Some(entry) = self.find(path, follow)? {
            let is_directory = entry.kind == EntryKind::Directory;
            return Ok((is_directory || !follow).then_some(FileFacts {
                kind: entry.kind,
                mode: entry.mode & 0o7777,
                uid: entry.uid,
                gid: entry.gid,
            }));
        }
        let plain = path.trim_end_matches('/');
        let provided = PROVIDED.iter().find(|(known, _)| *known == plain);
        Ok(provided.map(|&(_, kind)| FileFacts {
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
        }))
    }

    /// Reads a file, following symbolic links inside the image.
    pub(crate) fn read(&self, path: &str) -> Result<Content, CheckError> {
        let Some(entry) = self.find(path, true)? else {
            let provided = PROVIDED.contains(&(path, EntryKind::File));
            return Ok(match provided {
                true => Content::Text(String::new()),
                false => Content::Missing,
            });
        };
        match entry.kind {
            EntryKind::File if entry.size > FILE_BYTES_MAX => Ok(Content::TooLarge(entry.size)),
            EntryKind::File => self.read_entry(&entry).map(Content::Text),
            EntryKind::Directory => Ok(Content::NoFile("a directory")),
            _ => Ok(Content::NoFile("a special file")),
        }
    }

    /// A new changeset; its root has to look like the image's, which it will cover.
    pub(crate) fn begin_change(&self) -> Result<ActiveSnapshot, CheckError> {
        use std::os::unix::fs::PermissionsExt;
        let change = self.subject.store.begin_snapshot()?;
        if let Some(root) = self.facts("/")? {
            let permissions = std::fs::Permissions::from_mode(root.mode);
            std::fs::set_permissions(change.upper(), permissions).map_err(|source| {
                CheckError::Io {
                    doing: "set the mode of",
                    path: change.upper().to_owned(),
                    source,
                }
            })?;
            change.set_owner(Path::new(""), root.uid, root.gid)?;
        }
        Ok(change)
    }

    /// A path without a leading slash starts at the root all the same.
    fn find(&self, path: &str, follow_last: bool) -> Result<Option<Entry>, CheckError> {
        match self.view.find(&Path::new("/").join(path), follow_last) {
            Ok(entry) => Ok(entry),
            Err(cairn_store::StoreError::TooManySymlinks { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_entry(&self, entry: &Entry) -> Result<String, CheckError> {
        let mut bytes = Vec::new();
        let mut file = self.view.open(entry)?;
        file.read_to_end(&mut bytes)
            .map_err(|source| CheckError::Io {
                doing: "read",
                path: entry.host_path.clone(),
                source,
            })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// What is at a path that should be a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Its text; bytes that are not UTF-8 are U+FFFD.
    Text(String),
    /// More bytes than a test may look at.
    TooLarge(u64),
    /// Something else.
    NoFile(&'static str),
    /// Nothing.
    Missing,
}

/// Takes `NAME=value` apart; the last of a name counts.
pub(crate) fn parse_env(lines: &[String]) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for line in lines {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        set(&mut env, name, value.to_owned());
    }
    env
}

pub(crate) fn lookup(env: &[(String, String)], name: &str) -> Option<String> {
    let found = env.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone())
}

pub(crate) fn set(env: &mut Vec<(String, String)>, name: &str, value: String) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => env.push((name.to_owned(), value)),
    }
}
