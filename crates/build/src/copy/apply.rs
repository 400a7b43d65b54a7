//! Puts the selected files where an instruction wants them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cairn_dockerfile::chmod::Chmod;
use cairn_sandbox::Cancel;
use cairn_store::{ActiveSnapshot, DeviceKind, LayeredView, SnapshotId, Store};

use super::error::CopyError;
use super::files::{FileJob, copy_files};
use super::given::{GivenFile, write_given};
use super::resolve::clean;
use super::selection::{Item, Role, Selection, Source, below};
use super::unpack::{UnpackOptions, unpack};
use super::upper::{Found, Metadata, Upper};
use crate::archive;
use crate::context::{Kind, LinkId, SourceEntry, SourceTree, Xattrs};

/// Mode of directories that an instruction makes on its way.
const MADE_DIR_MODE: u32 = 0o755;

/// What is copied: files of a tree, then files given by value.
pub struct CopySet<'a> {
    /// Where the selection was made.
    pub tree: &'a dyn SourceTree,
    /// The files.
    pub selection: &'a Selection,
    /// Trees that come from elsewhere, as git repositories do. No archive in them is unpacked.
    pub further: Vec<(&'a dyn SourceTree, &'a Selection)>,
    /// Heredocs and downloads.
    pub given: Vec<GivenFile>,
}

/// How it is copied.
#[derive(Debug)]
pub struct CopyOptions<'a> {
    /// The destination, absolute; a `/` at its end says that it is a directory.
    pub dest: &'a str,
    /// `--chown`, looked up.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub chmod: Option<&'a Chmod>,
    /// Whether local archives are unpacked.
    pub unpack: bool,
    /// The time of what has none of its own, in seconds since 1970: directories made on the way,
    /// heredocs.
    pub time: i64,
    /// How many threads may copy.
    pub workers: usize,
    /// Asks to stop.
    pub cancel: &'a Cancel,
}

impl<'a> CopyOptions<'a> {
    /// Nothing but a destination.
    pub fn plain(dest: &'a str, workers: usize, cancel: &'a Cancel) -> Self {
        Self {
            dest,
            owner: None,
            chmod: None,
            unpack: false,
            time: 0,
            workers,
            cancel,
        }
    }
}

/// Where it is copied to.
#[derive(Debug)]
pub struct CopyTarget<'a> {
    /// The store that holds the layers.
    pub store: &'a Store,
    /// The layers below, bottom first; none for `--link`, which does not look at them.
    pub layers: &'a [SnapshotId],
    /// Takes the change; still empty.
    pub active: &'a ActiveSnapshot,
}

/// Copies a set of files.
pub fn apply(
    set: &CopySet<'_>,
    options: &CopyOptions<'_>,
    target: &CopyTarget<'_>,
) -> Result<(), CopyError> {
    let below = LayeredView::new(target.store, target.layers)?;
    let upper = Upper::new(target.active, below, !target.layers.is_empty())?;
    let mut copier = Copier {
        tree: set.tree,
        options,
        upper,
        waiting: Waiting::default(),
        // Nothing of a layer tells when it was checked out.
        keeps_times: set.tree.keeps_owners(),
        unpack: options.unpack,
    };
    copier.copy_selection(set.tree, set.selection)?;
    copier.unpack = false;
    for (tree, selection) in &set.further {
        copier.copy_selection(*tree, selection)?;
    }
    for given in &set.given {
        copier.copy_given(given)?;
    }
    if !copier.keeps_times {
        target.active.times_are_accidents();
    }
    copier.upper.finish()
}

struct Copier<'a> {
    tree: &'a dyn SourceTree,
    options: &'a CopyOptions<'a>,
    upper: Upper<'a>,
    waiting: Waiting<'a>,
    /// Whether a time among what was copied is part of its content, as an archive's are.
    keeps_times: bool,
    unpack: bool,
}

/// Files whose contents are not copied yet, so that many can be copied at once.
#[derive(Default)]
struct Waiting<'a> {
    files: Vec<FileJob<'a>>,
    /// The place of each destination in `files`; kept only while several sources wait, for one
    /// source names no path twice.
    by_dest: HashMap<PathBuf, usize>,
    /// Second names: what is there by then, and the new name.
    links: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Copier<'a> {
    fn copy_selection(
        &mut self,
        tree: &'a dyn SourceTree,
        selection: &'a Selection,
    ) -> Result<(), CopyError> {
        self.tree = tree;
        for source in &selection.sources {
            self.copy_source(source)?;
        }
        self.flush()
    }

    fn copy_source(&mut self, source: &'a Source) -> Result<(), CopyError> {
        if self.unpack && self.unpack_source(source)? {
            return Ok(());
        }
        // A source with several files may have directories where files are still to come.
        if source.items.len() > 1 {
            self.flush()?;
        }
        self.upper.begin_turn();
        let top = self.top_of(&source.name, source.is_dir())?;
        let mut names = HashMap::new();
        for item in &source.items {
            let dest = below(&top, &item.path);
            self.copy_item(source, item, dest, &mut names)?;
        }
        if !self.waiting.links.is_empty() {
            self.flush()?;
        }
        Ok(())
    }

    /// Where a source goes: resolves the destination and makes the directories it needs.
    fn top_of(&mut self, name: &OsStr, is_dir: bool) -> Result<PathBuf, CopyError> {
        let made = self.made_dir();
        let dest = clean(self.options.dest);
        let needed = match self.options.dest.ends_with('/') {
            true => dest.as_path(),
            false => dest.parent().unwrap_or(Path::new("")),
        };
        let needed = self.upper.resolve(Path::new(""), needed)?;
        self.upper.make_dirs(&needed, &made)?;
        let mut top = self.upper.resolve(Path::new(""), &dest)?;
        let found = self.found(&top)?;
        if is_dir {
            if found == Found::Nothing {
                self.upper.make_dirs(&top, &made)?;
            }
        } else {
            if found == Found::Directory {
                top.push(name);
            }
            self.upper
                .make_dirs(top.parent().unwrap_or(Path::new("")), &made)?;
        }
        Ok(top)
    }

    fn copy_item(
        &mut self,
        source: &'a Source,
        item: &'a Item,
        dest: PathBuf,
        names: &mut HashMap<LinkId, PathBuf>,
    ) -> Result<(), CopyError> {
        let entry = &item.entry;
        if entry.is_dir() {
            return self.copy_dir(source, item, &dest);
        }
        if is_whiteout_name(&dest) {
            return Err(CopyError::WhiteoutName {
                path: source.place(item),
            });
        }
        if self.found(&dest)? == Found::Directory {
            return Err(CopyError::IsADirectory { path: dest });
        }
        self.waiting.forget(&dest);
        let path = source.place(item);
        let metadata = self.metadata(&path, entry)?;
        match entry.kind {
            Kind::Symlink => {
                let target = self
                    .tree
                    .read_link(&path, entry)
                    .map_err(CopyError::read(&path))?;
                self.upper.make_symlink(&dest, &target, &metadata)
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::CharDevice => DeviceKind::Char,
                    Kind::BlockDevice => DeviceKind::Block,
                    _ => DeviceKind::Fifo,
                };
                self.upper.make_device(&dest, kind, entry.rdev, &metadata)
            }
            Kind::File | Kind::Socket | Kind::Directory => {
                self.upper.hold_parent(&dest)?;
                if let Some(first) = entry.link.and_then(|link| names.get(&link)) {
                    self.waiting.links.push((first.clone(), dest));
                    return Ok(());
                }
                if let Some(link) = entry.link {
                    names.insert(link, dest.clone());
                }
                let is_one_of_many = source.items.len() > 1;
                self.waiting.add(
                    FileJob {
                        path,
                        entry,
                        dest,
                        metadata,
                    },
                    is_one_of_many,
                );
                Ok(())
            }
        }
    }

    fn copy_dir(
        &mut self,
        source: &'a Source,
        item: &'a Item,
        dest: &Path,
    ) -> Result<(), CopyError> {
        let is_top = item.path.as_os_str().is_empty();
        match self.found(dest)? {
            Found::Directory if is_top => {
                // The destination keeps its own metadata, or what it was made with; only the time
                // of a made one is the source's.
                if self.upper.is_new_dir(dest) {
                    self.upper.set_dir_mtime(dest, self.time(&item.entry));
                }
                Ok(())
            }
            Found::Directory if item.role == Role::Passage => {
                self.upper.set_dir_mode(dest, item.entry.mode)
            }
            found @ (Found::Directory | Found::Nothing) => {
                if is_whiteout_name(dest) {
                    return Err(CopyError::WhiteoutName {
                        path: source.place(item),
                    });
                }
                let path = source.place(item);
                let mut metadata = self.metadata(&path, &item.entry)?;
                metadata.xattrs = self.xattrs(&path, &item.entry)?;
                match found {
                    Found::Nothing => self.upper.make_dir(dest, metadata),
                    _ => self.upper.set_dir(dest, metadata),
                }
            }
            Found::Symlink(_) | Found::Other => Err(CopyError::NotADirectory {
                path: dest.to_owned(),
            }),
        }
    }

    /// Unpacks a source if it is an archive.
    fn unpack_source(&mut self, source: &'a Source) -> Result<bool, CopyError> {
        let Some(item) = source
            .items
            .first()
            .filter(|item| item.entry.kind == Kind::File)
        else {
            return Ok(false);
        };
        let open = || {
            self.tree
                .open(&source.root, &item.entry)
                .map_err(CopyError::read(&source.root))
        };
        let name = source.root.display().to_string();
        if !archive::is_archive(open()?) {
            return Ok(false);
        }
        let file = open()?;
        let unchanged = file.try_clone().map_err(CopyError::read(&source.root))?;
        self.flush()?;
        self.unpack_reader(Box::new(file), &name)?;
        match self.tree.is_unchanged(&item.entry, &unchanged) {
            Ok(true) => Ok(true),
            Ok(false) => Err(CopyError::Changed {
                path: source.root.clone(),
            }),
            Err(error) => Err(CopyError::read(&source.root)(error)),
        }
    }

    fn unpack_reader(
        &mut self,
        reader: Box<dyn std::io::Read + Send>,
        name: &str,
    ) -> Result<(), CopyError> {
        let base = self
            .upper
            .resolve(Path::new(""), &clean(self.options.dest))?;
        // `--chmod` is not for archives: they bring their modes.
        let made = Metadata {
            mode: MADE_DIR_MODE,
            ..self.made_dir()
        };
        self.upper.make_dirs(&base, &made)?;
        let root_owned = Metadata {
            uid: 0,
            gid: 0,
            ..made
        };
        let options = UnpackOptions {
            owner: self.options.owner,
            implied_dir: root_owned,
            cancel: self.options.cancel,
        };
        let failed = |source| CopyError::Archive {
            name: name.to_owned(),
            source,
        };
        self.keeps_times = true;
        let plain = archive::decompress(reader).map_err(failed)?;
        unpack(plain, name, &base, &mut self.upper, &options)
    }

    fn copy_given(&mut self, given: &GivenFile) -> Result<(), CopyError> {
        if given.unpack && archive::is_archive(given.open()?) {
            return self.unpack_reader(given.open()?, &given.name);
        }
        let name = OsString::from(&given.name);
        self.upper.begin_turn();
        let dest = self.top_of(&name, false)?;
        if is_whiteout_name(&dest) {
            return Err(CopyError::WhiteoutName { path: dest });
        }
        if self.found(&dest)? == Found::Directory {
            return Err(CopyError::IsADirectory { path: dest });
        }
        let (uid, gid) = self.options.owner.unwrap_or((0, 0));
        let mode = self
            .options
            .chmod
            .map_or(given.mode, |chmod| chmod.apply(given.mode, false));
        self.keeps_times |= given.mtime.is_some();
        let mtime = (given.mtime.unwrap_or(self.options.time), 0);
        let metadata = Metadata {
            mode,
            uid,
            gid,
            mtime,
            xattrs: Xattrs::new(),
        };
        write_given(given, &dest, &metadata, &mut self.upper)
    }

    /// Copies the contents that wait.
    fn flush(&mut self) -> Result<(), CopyError> {
        let waiting = std::mem::take(&mut self.waiting);
        let options = self.options;
        copy_files(
            self.tree,
            &waiting.files,
            &self.upper,
            options.workers,
            options.cancel,
        )?;
        for (existing, name) in &waiting.links {
            self.upper.make_link(existing, name)?;
        }
        Ok(())
    }

    fn found(&self, path: &Path) -> Result<Found, CopyError> {
        if self.waiting.by_dest.contains_key(path) {
            return Ok(Found::Other);
        }
        if self.upper.is_untouched(path) {
            return Ok(Found::Nothing);
        }
        self.upper.found(path)
    }

    /// Metadata of directories made on the way: the owner counts for them too, and of `--chmod` an
    /// octal mode does, without its special bits.
    fn made_dir(&self) -> Metadata {
        let (uid, gid) = self.options.owner.unwrap_or((0, 0));
        let mtime = (self.options.time, 0);
        let mode = match self.options.chmod {
            Some(Chmod::Absolute(mode)) => mode & 0o777,
            Some(Chmod::Symbolic(_)) | None => MADE_DIR_MODE,
        };
        Metadata {
            mode,
            uid,
            gid,
            mtime,
            xattrs: Xattrs::new(),
        }
    }

    /// Metadata of a copy. Attributes of regular files are read when they are open.
    fn metadata(&self, path: &Path, entry: &SourceEntry) -> Result<Metadata, CopyError> {
        let kept = match self.tree.keeps_owners() {
            true => (entry.uid, entry.gid),
            false => (0, 0),
        };
        let (uid, gid) = self.options.owner.unwrap_or(kept);
        let mode = match self.options.chmod {
            Some(chmod) => chmod.apply(entry.mode, entry.is_dir()),
            None => entry.mode,
        };
        let xattrs = match entry.kind {
            Kind::File | Kind::Socket => Xattrs::new(),
            _ => self.xattrs(path, entry)?,
        };
        Ok(Metadata {
            mode,
            uid,
            gid,
            mtime: self.time(entry),
            xattrs,
        })
    }

    /// The time of a copy: the source's, unless that says only when a step here made it.
    fn time(&self, entry: &SourceEntry) -> (i64, u32) {
        match &entry.layer {
            Some(found) if found.is_new => (self.options.time, 0),
            _ => entry.mtime,
        }
    }

    fn xattrs(&self, path: &Path, entry: &SourceEntry) -> Result<Xattrs, CopyError> {
        self.tree.xattrs(entry, None).map_err(CopyError::read(path))
    }
}

impl<'a> Waiting<'a> {
    fn add(&mut self, job: FileJob<'a>, is_one_of_many: bool) {
        if !is_one_of_many {
            self.by_dest.insert(job.dest.clone(), self.files.len());
        }
        self.files.push(job);
    }

    /// Drops a file that a later source replaces.
    fn forget(&mut self, dest: &Path) {
        let Some(place) = self.by_dest.remove(dest) else {
            return;
        };
        self.files.swap_remove(place);
        if let Some(moved) = self.files.get(place)
            && let Some(known) = self.by_dest.get_mut(&moved.dest)
        {
            *known = place;
        }
    }
}

/// In an image layer, a name that begins with `.wh.` says that another name is gone.
pub(super) fn is_whiteout_name(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b".wh."))
}
