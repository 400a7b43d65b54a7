//! The root file systems of an image, as a tar or as files of the host.
//!
//! Those of several platforms lie in a folder each, called as BuildKit calls it. Where they are
//! wanted side by side, no two may have a file of the same name; directories are merged. What else
//! is in the directory stays there, unless that is not wanted.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cairn_oci::Platform;
use cairn_sandbox::Cancel;
use cairn_store::{EntryKind, LayeredView, Store, StoreError, Tree, write_trees};

use super::attested;
use super::export::{ExportError, Exported};
use super::record::ImageRecord;
use super::root_fs::{self, Times};

/// What is written.
pub(super) struct Roots<'a> {
    /// An image for each platform.
    pub images: &'a [ImageRecord],
    /// Whether each goes into a folder of its own.
    pub is_split: bool,
    /// Whether files about an image are called by its platform: nothing else tells them apart.
    pub names_platform: bool,
    /// What the names of files about an image begin with.
    pub attestation_prefix: &'a str,
    /// Whether a directory loses what is not in the images.
    pub deletes: bool,
    /// Whether a directory keeps the times that files came with.
    pub keeps_times: bool,
    /// The request to stop.
    pub cancel: &'a Cancel,
}

impl Roots<'_> {
    /// Writes them as one tar.
    pub(super) fn write_tar(
        &self,
        store: &Store,
        out: &mut (dyn Write + Send),
    ) -> Result<(), ExportError> {
        let views = self.views(store)?;
        let mut files = Vec::new();
        for (_, view, image) in &views {
            files.push(self.about(store, view, image)?);
        }
        let trees: Vec<Tree<'_>> = views
            .iter()
            .zip(&files)
            .map(|((folder, view, image), beside)| Tree {
                folder,
                view,
                epoch: clamp(image),
                beside,
            })
            .collect();
        match write_trees(&trees, out) {
            Err(StoreError::Output { source, .. }) => Err(ExportError::Stream(source)),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Writes them into a directory.
    pub(super) fn write_directory(
        &self,
        store: &Store,
        path: &Path,
    ) -> Result<Exported, ExportError> {
        let mut all = Exported::default();
        let views = self.views(store)?;
        let mut kept = HashMap::new();
        if self.is_split {
            fs::create_dir_all(path).map_err(|source| ExportError::Write {
                doing: "create",
                path: path.to_owned(),
                source,
            })?;
        }
        for (number, (folder, view, image)) in views.iter().enumerate() {
            let times = Times {
                epoch: clamp(image),
                keeps: self.keeps_times,
            };
            let place = match folder.is_empty() {
                true => path.to_owned(),
                false => path.join(folder),
            };
            let about = self.about(store, view, image)?;
            for (name, _) in &about {
                kept.insert(Path::new(folder).join(name), EntryKind::File);
            }
            if self.deletes {
                note(view, Path::new(folder), &mut kept)?;
            }
            let exported = root_fs::write_directory(view, times, &place, self.cancel)?;
            for (name, bytes) in about {
                let path = place.join(name);
                root_fs::write_private(&path, &bytes, image.layer_epoch())?;
            }
            all.skipped.extend(exported.skipped);
            // What an earlier platform left is no surprise.
            let has_others = exported.is_merged && !self.deletes;
            all.is_merged |= has_others && (self.is_split || number == 0);
        }
        if self.deletes {
            remove_others(path, Path::new(""), &kept)?;
        }
        Ok(all)
    }

    /// The files that tell of an image, by name.
    fn about(
        &self,
        store: &Store,
        view: &LayeredView,
        image: &ImageRecord,
    ) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        let files = attested::beside(store, view, image)?.into_iter();
        let named = files.map(|(name, bytes)| {
            let name = format!("{}{name}", self.attestation_prefix);
            match name.rsplit_once('.').filter(|_| self.names_platform) {
                Some((stem, end)) => {
                    let platform = platform_folder(&image.platform);
                    (format!("{stem}.{platform}.{end}"), bytes)
                }
                None => (name, bytes),
            }
        });
        let named: Vec<_> = named.collect();
        for (number, (name, _)) in named.iter().enumerate() {
            let is_again = named[..number].iter().any(|(other, _)| other == name);
            if is_again || view.lookup(&Path::new("/").join(name))?.is_some() {
                return Err(ExportError::AttestationCollision(name.clone()));
            }
        }
        Ok(named)
    }

    /// The trees with their folders, once it is certain that they fit beside each other.
    fn views(
        &self,
        store: &Store,
    ) -> Result<Vec<(String, LayeredView, &ImageRecord)>, ExportError> {
        let mut views = Vec::new();
        for image in self.images {
            let view = LayeredView::new(store, &image.snapshots())?;
            let folder = match self.is_split {
                true => platform_folder(&image.platform),
                false => String::new(),
            };
            views.push((folder, view, image));
        }
        if !self.is_split && views.len() > 1 {
            let mut known = HashMap::new();
            for (_, view, image) in &views {
                claim(view, &image.platform, &mut known)?;
            }
        }
        Ok(views)
    }
}

/// Notes the names of a tree; a directory may have been there already, anything else not.
fn claim<'a>(
    view: &LayeredView,
    platform: &'a Platform,
    known: &mut HashMap<PathBuf, (&'a Platform, EntryKind)>,
) -> Result<(), ExportError> {
    let mut open = vec![PathBuf::from("/")];
    while let Some(directory) = open.pop() {
        for (_, entry) in view.read_dir(&directory)? {
            let is_directory = entry.kind == EntryKind::Directory;
            match known.get(&entry.path) {
                Some((_, EntryKind::Directory)) if is_directory => {}
                Some((first, _)) => {
                    return Err(ExportError::Collision {
                        path: entry.path,
                        first: first.to_string(),
                        second: platform.to_string(),
                    });
                }
                None => {
                    known.insert(entry.path.clone(), (platform, entry.kind));
                }
            }
            if is_directory {
                open.push(entry.path);
            }
        }
    }
    Ok(())
}

/// Notes every name of a tree, and the folder that it goes into.
fn note(
    view: &LayeredView,
    folder: &Path,
    kept: &mut HashMap<PathBuf, EntryKind>,
) -> Result<(), ExportError> {
    kept.insert(folder.to_owned(), EntryKind::Directory);
    let mut open = vec![PathBuf::from("/")];
    while let Some(directory) = open.pop() {
        for (_, entry) in view.read_dir(&directory)? {
            let name = folder.join(entry.path.strip_prefix("/").unwrap_or(&entry.path));
            kept.insert(name, entry.kind);
            if entry.kind == EntryKind::Directory {
                open.push(entry.path);
            }
        }
    }
    Ok(())
}

/// Removes what is below a directory and not among the names; links are removed, not followed.
fn remove_others(
    root: &Path,
    directory: &Path,
    kept: &HashMap<PathBuf, EntryKind>,
) -> Result<(), ExportError> {
    let at = root.join(directory);
    let failed = |source| ExportError::Write {
        doing: "clear",
        path: at.clone(),
        source,
    };
    for found in fs::read_dir(&at).map_err(failed)? {
        let found = found.map_err(failed)?;
        let name = directory.join(found.file_name());
        let is_directory = found.file_type().map_err(failed)?.is_dir();
        match (kept.get(&name), is_directory) {
            (Some(EntryKind::Directory), true) => remove_others(root, &name, kept)?,
            (Some(_), _) => {}
            (None, true) => fs::remove_dir_all(found.path()).map_err(failed)?,
            (None, false) => fs::remove_file(found.path()).map_err(failed)?,
        }
    }
    Ok(())
}

/// What BuildKit calls the folder of a platform: `linux_arm_v7`.
fn platform_folder(platform: &Platform) -> String {
    platform.to_string().replace('/', "_")
}

/// What times of files are set back to: an image that came with layers of its own keeps theirs.
fn clamp(image: &ImageRecord) -> Option<i64> {
    image.packed.is_none().then(|| image.layer_epoch())
}
