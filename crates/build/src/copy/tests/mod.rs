//! Tests of selecting and copying: trees are written and compared as short lines.
//!
//! A line is `[mode] [uid:gid] path`, then `/` for a directory, `=text` for a file, `>target` for
//! a link. Modes 0644 of files and 0755 of directories are left out, and so is the owner 0:0.

mod adding;
mod contexts;
mod copying;
mod keys;
mod property;
mod selecting;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use cairn_dockerfile::chmod::Chmod;
use cairn_sandbox::Cancel;
use cairn_store::{
    ActiveSnapshot, EntryKind, LayeredView, OpenOptions, Ownership, SnapshotId, Store,
};

use super::{
    CopyError, CopyOptions, CopySet, CopySources, CopyTarget, GivenFile, SelectError, Selection,
    apply, select,
};
use crate::context::{Context, LayerTree, SourceTree};

/// A store, a context directory, and somewhere to copy to.
struct Bench {
    _temp: tempfile::TempDir,
    store: Store,
    context: std::path::PathBuf,
    cancel: Cancel,
    /// The time of what is made on the way.
    time: i64,
}

/// One `COPY` or `ADD`.
#[derive(Clone, Copy)]
struct Copy<'a> {
    paths: &'a [&'a str],
    dest: &'a str,
    parents: bool,
    exclude: &'a [&'a str],
    owner: Option<(u32, u32)>,
    chmod: Option<&'a str>,
    unpack: bool,
    given: &'a [GivenFile],
}

impl<'a> Copy<'a> {
    fn new(paths: &'a [&'a str], dest: &'a str) -> Self {
        Copy {
            paths,
            dest,
            parents: false,
            exclude: &[],
            owner: None,
            chmod: None,
            unpack: false,
            given: &[],
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Copy(#[from] CopyError),
}

impl Bench {
    fn new() -> Self {
        let ownership = match rustix::process::geteuid().is_root() {
            true => Ownership::Native,
            false => Ownership::Recorded,
        };
        Self::with_ownership(ownership)
    }

    fn with_ownership(ownership: Ownership) -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let home = temp.path().join("home");
        let store = Store::open(&home, OpenOptions { ownership }).expect("a store");
        let context = temp.path().join("context");
        fs::create_dir(&context).expect("a directory");
        Bench {
            _temp: temp,
            store,
            context,
            cancel: Cancel::new(),
            time: 1_000_000_000,
        }
    }

    /// Writes lines into the context.
    fn write(&self, lines: &[&str]) {
        for line in lines {
            write_line(&self.context, line, |_, _, _| {});
        }
    }

    fn context(&self) -> Context {
        Context::directory(&self.context, &self.context.join("Dockerfile")).expect("a context")
    }

    /// Commits a layer.
    fn layer(&self, lines: &[&str]) -> SnapshotId {
        let active = self.store.begin_snapshot().expect("a snapshot");
        for line in lines {
            write_line(active.upper(), line, |path, uid, gid| {
                active
                    .set_owner(Path::new(path), uid, gid)
                    .expect("an owner");
            });
        }
        active.commit().expect("a commit")
    }

    fn tree(&self, layers: &[SnapshotId]) -> LayerTree {
        LayerTree::new(LayeredView::new(&self.store, layers).expect("a view"))
    }

    fn select(&self, tree: &dyn SourceTree, copy: &Copy<'_>) -> Result<Selection, SelectError> {
        let paths: Vec<String> = copy.paths.iter().map(|path| (*path).to_owned()).collect();
        let exclude: Vec<String> = copy.exclude.iter().map(|path| (*path).to_owned()).collect();
        let sources = CopySources {
            paths: &paths,
            parents: copy.parents,
            exclude: &exclude,
            workers: 2,
            cancel: &self.cancel,
        };
        select(tree, &sources)
    }

    /// Selects and copies over layers.
    fn run(
        &self,
        tree: &dyn SourceTree,
        layers: &[SnapshotId],
        copy: &Copy<'_>,
    ) -> Result<ActiveSnapshot, Failure> {
        let selection = self.select(tree, copy)?;
        let active = self.store.begin_snapshot().expect("a snapshot");
        self.apply(tree, &selection, layers, copy, &active)?;
        Ok(active)
    }

    fn apply(
        &self,
        tree: &dyn SourceTree,
        selection: &Selection,
        layers: &[SnapshotId],
        copy: &Copy<'_>,
        active: &ActiveSnapshot,
    ) -> Result<(), CopyError> {
        let chmod = copy.chmod.map(|text| Chmod::parse(text).expect("a mode"));
        let set = CopySet {
            tree,
            selection,
            further: Vec::new(),
            given: copy.given.to_vec(),
        };
        let options = CopyOptions {
            dest: copy.dest,
            owner: copy.owner,
            chmod: chmod.as_ref(),
            unpack: copy.unpack,
            time: self.time,
            workers: 2,
            cancel: &self.cancel,
        };
        apply(
            &set,
            &options,
            &CopyTarget {
                store: &self.store,
                layers,
                active,
            },
        )
    }

    /// Copies from the context over a base and compares the whole tree that results.
    #[track_caller]
    fn check(&self, base: &[&str], copy: &Copy<'_>, expected: &[&str]) {
        self.check_from(&self.context(), base, copy, expected);
    }

    #[track_caller]
    fn check_from(&self, tree: &dyn SourceTree, base: &[&str], copy: &Copy<'_>, expected: &[&str]) {
        let base = [self.layer(base)];
        let active = match self.run(tree, &base, copy) {
            Ok(active) => active,
            Err(error) => panic!("{error}: {error:?}"),
        };
        let [base] = base;
        let layers = [base, active.commit().expect("a commit")];
        assert_eq!(self.listing(&layers), expected);
    }

    /// Copies from the context and expects to be told why not.
    #[track_caller]
    fn check_fails(&self, base: &[&str], copy: &Copy<'_>, expected: &str) {
        let base = [self.layer(base)];
        match self.run(&self.context(), &base, copy) {
            Ok(_) => panic!("the copy should fail"),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }

    /// The merged tree of layers, as lines.
    fn listing(&self, layers: &[SnapshotId]) -> Vec<String> {
        let view = LayeredView::new(&self.store, layers).expect("a view");
        let mut lines = Vec::new();
        list(&view, Path::new("/"), &mut lines);
        lines
    }

    /// What one change itself holds, as lines.
    fn change(&self, active: ActiveSnapshot) -> Vec<String> {
        let committed = active.commit().expect("a commit");
        self.listing(&[committed])
    }
}

fn list(view: &LayeredView, dir: &Path, lines: &mut Vec<String>) {
    for (_, entry) in view.read_dir(dir).expect("a listing") {
        let path = entry
            .path
            .to_string_lossy()
            .trim_start_matches('/')
            .to_owned();
        let usual = if entry.kind == EntryKind::Directory {
            0o755
        } else {
            0o644
        };
        let mut line = String::new();
        if entry.mode != usual && entry.kind != EntryKind::Symlink {
            line += &format!("{:04o} ", entry.mode);
        }
        if (entry.uid, entry.gid) != (0, 0) {
            line += &format!("{}:{} ", entry.uid, entry.gid);
        }
        line += &path;
        match entry.kind {
            EntryKind::Directory => line.push('/'),
            EntryKind::Symlink => {
                line += &format!(">{}", view.read_link(&entry).expect("a link").display());
            }
            EntryKind::File => {
                let content = fs::read(&entry.host_path).expect("a file");
                line += &format!("={}", String::from_utf8_lossy(&content));
            }
            other => line += &format!(" {other:?} {:?}", entry.rdev),
        }
        lines.push(line);
        if entry.kind == EntryKind::Directory {
            list(view, &entry.path, lines);
        }
    }
}

fn write_line(root: &Path, line: &str, own: impl Fn(&str, u32, u32)) {
    let mut mode = None;
    let mut owner = None;
    let mut rest = line;
    while let Some((word, after)) = rest.split_once(' ') {
        if let Ok(octal) = u32::from_str_radix(word, 8) {
            mode = Some(octal);
        } else if let Some((uid, gid)) = word.split_once(':')
            && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
        {
            owner = Some((uid, gid));
        } else {
            break;
        }
        rest = after;
    }
    let make_parent = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    };
    let name = if let Some((name, target)) = rest.split_once('>') {
        make_parent(&root.join(name));
        symlink(target, root.join(name)).expect("a link");
        name
    } else if let Some((name, text)) = rest.split_once('=') {
        make_parent(&root.join(name));
        fs::write(root.join(name), text).expect("a file");
        name
    } else {
        let name = rest.trim_end_matches('/');
        fs::create_dir_all(root.join(name)).expect("directories");
        name
    };
    if let Some((uid, gid)) = owner {
        own(name, uid, gid);
    }
    if let Some(mode) = mode {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).expect("a mode");
    }
}
