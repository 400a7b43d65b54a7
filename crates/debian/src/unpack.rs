//! Unpacking packages straight into a snapshot, as `dpkg --unpack` would onto an empty system.
//!
//! Packages are decompressed by several threads ahead of one writer, which applies them strictly
//! in their order: the tree does not depend on how fast which thread was. At most
//! [`CHUNKS_AHEAD`] pieces per thread wait for the writer, whatever the size of a package.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use cairn_store::DeviceKind;
use md5::{Digest as _, Md5};
use rustix::fs::FileType;

use crate::deb::{Control, Deb, DebError};
use crate::diversion::Diversions;
use crate::error::DebianError;
use crate::relation;
use crate::tree::{Meta, Place, Tree};

const CHUNK: usize = 256 * 1024;
const CHUNKS_AHEAD: usize = 32;

/// A package on its way into the tree.
pub(crate) struct Unpacking {
    pub(crate) name: String,
    pub(crate) deb: Deb,
}

/// What dpkg's database needs to know of a package that is in the tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unpacked {
    pub(crate) name: String,
    pub(crate) control: Control,
    /// Its paths from the root, without a leading slash, in the order of the package.
    pub(crate) files: Vec<String>,
    /// Its configuration files with their MD5, as dpkg keeps them.
    pub(crate) conffiles: Vec<(String, String)>,
    /// The MD5 of its other files, if the package does not bring them.
    pub(crate) sums: Vec<(String, String)>,
}

/// The directories whose content lives below `/usr` on a merged system.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What decides where a package's files go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub(crate) diversions: &'a Diversions,
    /// Whether `/bin`, `/lib` and the like are links into `/usr`.
    pub(crate) merged: bool,
}

/// Which package brought a file; kept across the stages of a base.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    files: HashMap<PathBuf, String>,
    /// For each package the relations under which it may take over files.
    replaces: HashMap<String, Vec<String>>,
    /// Paths that packages brought and that belong to another one now.
    lost: Vec<Lost>,
}

/// A path of a package that another one has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) package: String,
    pub(crate) path: String,
}

/// Unpacks packages in their order.
pub(crate) fn unpack(
    tree: &mut Tree<'_>,
    packages: Vec<Unpacking>,
    layout: &Layout<'_>,
    owners: &mut Owners,
    threads: usize,
    stopped: &dyn Fn() -> bool,
    done: &dyn Fn(&str),
) -> Result<Vec<Unpacked>, DebianError> {
    let controls: Vec<(String, Control)> = packages
        .iter()
        .map(|p| (p.name.clone(), p.deb.control.clone()))
        .collect();
    for (name, control) in &controls {
        owners.learn(name, control)?;
    }
    let (queue, mut streams): (Vec<_>, Vec<_>) = packages
        .into_iter()
        .map(|package| {
            let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
            ((package.deb, sender), Stream::new(receiver))
        })
        .unzip();
    let queue = Arc::new(Mutex::new(queue.into_iter()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let queue = queue.clone();
            scope.spawn(move || decompress_all(&queue));
        }
        let result =
            controls
                .into_iter()
                .zip(streams.drain(..))
                .map(|((name, control), stream)| {
                    if stopped() {
                        return Err(DebianError::Cancelled);
                    }
                    let unpacked = Unpacker {
                        tree,
                        layout,
                        owners,
                        dirs: Vec::new(),
                    }
                    .unpack(name, control, stream)?;
                    done(&unpacked.name);
                    Ok(unpacked)
                });
        let result = result.collect();
        // What is left of the streams is dropped here, so that no thread waits for a reader.
        drop(streams);
        result
    })
}

type Chunk = Result<Vec<u8>, DebError>;

fn decompress_all(queue: &Mutex<std::vec::IntoIter<(Deb, SyncSender<Chunk>)>>) {
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .next();
        let Some((mut deb, sender)) = next else {
            return;
        };
        if let Err(problem) = decompress(&mut deb, &sender) {
            // Nobody listens any more when the writer has failed on another package.
            let _ = sender.send(Err(problem));
        }
    }
}

fn decompress(deb: &mut Deb, sender: &SyncSender<Chunk>) -> Result<(), DebError> {
    let mut data = deb.data()?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut data).take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() || sender.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// The decompressed bytes of one package.
struct Stream {
    receiver: Receiver<Chunk>,
    chunk: Vec<u8>,
    at: usize,
}

impl Stream {
    fn new(receiver: Receiver<Chunk>) -> Stream {
        Stream {
            receiver,
            chunk: Vec::new(),
            at: 0,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(Ok(chunk)) => (self.chunk, self.at) = (chunk, 0),
                Ok(Err(problem)) => return Err(std::io::Error::other(problem)),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

struct Unpacker<'t, 'a, 'o> {
    tree: &'t mut Tree<'a>,
    layout: &'o Layout<'o>,
    owners: &'o mut Owners,
    /// The directories this package made, with the time they are to have in the end.
    dirs: Vec<(PathBuf, i64)>,
}

impl Unpacker<'_, '_, '_> {
    fn unpack(
        mut self,
        name: String,
        control: Control,
        stream: Stream,
    ) -> Result<Unpacked, DebianError> {
        let unreadable = |source: std::io::Error| deb_error(&name, DebError::Read(source));
        let conffiles = control.conffiles();
        let brings_sums = control.members.contains_key("md5sums");
        let mut unpacked = Unpacked {
            name: name.clone(),
            control,
            ..Unpacked::default()
        };
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            let Some(path) = clean_path(&entry.path_bytes()).map_err(|e| deb_error(&name, e))?
            else {
                continue;
            };
            let conffile = conffiles.contains(&path);
            let sum = self.put(&name, &path, &mut entry, conffile || !brings_sums)?;
            match sum {
                Some(sum) if conffile => unpacked.conffiles.push((path.clone(), sum)),
                Some(sum) if !brings_sums => unpacked.sums.push((path.clone(), sum)),
                _ => {}
            }
            unpacked.files.push(path);
        }
        self.set_directory_times()?;
        Ok(unpacked)
    }

    /// Puts one entry into the tree; returns the MD5 of a file's content when asked to.
    fn put(
        &mut self,
        package: &str,
        path: &str,
        entry: &mut tar::Entry<'_, Stream>,
        sum: bool,
    ) -> Result<Option<String>, DebianError> {
        let broken = |source: std::io::Error| deb_error(package, DebError::Read(source));
        let header = entry.header();
        let meta = Meta {
            mode: header.mode().map_err(broken)?,
            uid: header.uid().map_err(broken)? as u32,
            gid: header.gid().map_err(broken)? as u32,
            mtime: header.mtime().map_err(broken)? as i64,
        };
        let kind = header.entry_type();
        let device = (
            header.device_major().ok().flatten().unwrap_or(0),
            header.device_minor().ok().flatten().unwrap_or(0),
        );
        self.merge(path)?;
        let wanted = self.layout.diversions.target(path, package);
        if kind.is_dir() {
            return self.put_dir(Path::new(&*wanted), meta).map(|()| None);
        }
        let place = self.tree.place(Path::new(&*wanted))?;
        if !self.clear(package, &place, kind.is_symlink(), &wanted)? {
            return Ok(None);
        }
        let link = entry
            .link_name_bytes()
            .map(|bytes| bytes.into_owned())
            .unwrap_or_default();
        match kind {
            kind if kind.is_file() || kind == tar::EntryType::Continuous => {
                let mut hash = sum.then(Md5::new);
                let mut watch = |bytes: &[u8]| {
                    if let Some(hash) = &mut hash {
                        hash.update(bytes);
                    }
                };
                self.tree.write_file(&place, meta, entry, &mut watch)?;
                Ok(hash.map(|hash| hex::encode(hash.finalize())))
            }
            tar::EntryType::Symlink => self
                .tree
                .make_symlink(&place, meta, &os_path(&link))
                .map(|()| None),
            tar::EntryType::Link => {
                let target = clean_path(&link).map_err(|e| deb_error(package, e))?;
                let target = target.unwrap_or_default();
                let target = self.layout.diversions.target(&target, package).into_owned();
                self.tree
                    .make_hard_link(&place, Path::new(&target))
                    .map(|()| None)
            }
            tar::EntryType::Char => self.put_device(&place, meta, DeviceKind::Char, device),
            tar::EntryType::Block => self.put_device(&place, meta, DeviceKind::Block, device),
            tar::EntryType::Fifo => self.put_device(&place, meta, DeviceKind::Fifo, device),
            _ => Err(deb_error(
                package,
                DebError::UnknownKind {
                    path: path.to_owned(),
                },
            )),
        }
    }

    /// Makes the link into `/usr` before the first file goes through it.
    fn merge(&mut self, path: &str) -> Result<(), DebianError> {
        let top = path.split('/').next().unwrap_or_default();
        if self.layout.merged && MERGED.contains(&top) {
            self.tree.make_alias(top)?;
        }
        Ok(())
    }

    fn put_device(
        &mut self,
        place: &Place,
        meta: Meta,
        kind: DeviceKind,
        number: (u32, u32),
    ) -> Result<Option<String>, DebianError> {
        self.tree
            .make_device(place, meta, kind, number)
            .map(|()| None)
    }

    /// Makes a directory, unless there is one or a link to one: a package never replaces those.
    fn put_dir(&mut self, path: &Path, meta: Meta) -> Result<(), DebianError> {
        let place = self.tree.place(path)?;
        match self.tree.kind(&place)? {
            Some(FileType::Directory) => return Ok(()),
            Some(FileType::Symlink) if self.tree.leads_to_directory(path) => return Ok(()),
            Some(_) => self.tree.unlink(&place)?,
            None => {}
        }
        if self.tree.make_dir(&place, meta)? {
            self.dirs.push((path.to_owned(), meta.mtime));
        }
        Ok(())
    }

    /// Makes room for a file. `false` when another package's file stays in its place.
    fn clear(
        &mut self,
        package: &str,
        place: &Place,
        is_link: bool,
        path: &str,
    ) -> Result<bool, DebianError> {
        match self.tree.kind(place)? {
            None => {}
            // dpkg keeps a directory where a package has a link to one.
            Some(FileType::Directory) if is_link => return Ok(false),
            Some(FileType::Directory) => {
                return Err(DebianError::File {
                    path: path.into(),
                    action: "replacing the directory by a file",
                    source: rustix::io::Errno::ISDIR.into(),
                });
            }
            Some(_) => {
                if !self.owners.yields(&place.path, package, path)? {
                    return Ok(false);
                }
                self.tree.unlink(place)?;
            }
        }
        self.owners
            .files
            .insert(place.path.clone(), package.to_owned());
        Ok(true)
    }

    fn set_directory_times(&mut self) -> Result<(), DebianError> {
        for (path, mtime) in std::mem::take(&mut self.dirs) {
            let place = self.tree.place(&path)?;
            self.tree.set_time(&place, mtime)?;
        }
        Ok(())
    }
}

impl Owners {
    fn learn(&mut self, name: &str, control: &Control) -> Result<(), DebianError> {
        let replaces = control.field("Replaces").unwrap_or_default();
        let clauses = relation::parse(replaces, "any").map_err(|e| deb_error(name, e.into()))?;
        let names = clauses
            .into_iter()
            .flatten()
            .map(|relation| relation.name.to_owned());
        self.replaces.insert(name.to_owned(), names.collect());
        Ok(())
    }

    /// Whether what is at a place makes room for a file of `package`. One of the two has lost it.
    fn yields(&mut self, place: &Path, package: &str, path: &str) -> Result<bool, DebianError> {
        let Some(owner) = self.files.get(place) else {
            return Ok(true);
        };
        let may_replace = |one: &str, other: &str| {
            self.replaces
                .get(one)
                .is_some_and(|names| names.iter().any(|name| name == other))
        };
        if owner == package {
            return Ok(true);
        }
        let yields = may_replace(package, owner);
        if !yields && !may_replace(owner, package) {
            return Err(DebianError::FileConflict {
                first: owner.clone(),
                second: package.to_owned(),
                path: path.to_owned(),
            });
        }
        let loser = if yields {
            owner.clone()
        } else {
            package.to_owned()
        };
        self.lost.push(Lost {
            package: loser,
            path: path.to_owned(),
        });
        Ok(yields)
    }

    /// The paths that packages have lost since this was asked last.
    pub(crate) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }
}

fn deb_error(package: &str, source: DebError) -> DebianError {
    DebianError::Deb {
        package: package.to_owned(),
        source,
    }
}

/// A package's path below the root; `None` for the root itself.
fn clean_path(bytes: &[u8]) -> Result<Option<String>, DebError> {
    let unsafe_path = || DebError::UnsafePath {
        path: String::from_utf8_lossy(bytes).into_owned(),
    };
    let path = std::str::from_utf8(bytes).map_err(|_| unsafe_path())?;
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    let mut clean = String::with_capacity(path.len());
    for part in parts {
        if part == ".." || part.contains(['\n', '\0']) {
            return Err(unsafe_path());
        }
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(part);
    }
    Ok((!clean.is_empty()).then_some(clean))
}

fn os_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
