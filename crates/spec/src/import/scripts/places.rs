//! Folders as a script means them: from where it is, from the root of the tree, or below a
//! variable that somebody sets to the checkout.

use std::collections::BTreeSet;

use super::variables::{ROOT, Variables};
use crate::import::Tree;
use crate::import::docker_build::DockerBuild;
use crate::import::dockerfiles::is_dockerfile;
use crate::import::paths::{file_name, folder, join};

/// A path is not longer, as on the machines that scripts run on.
const PATH_MAX: usize = 4096;
/// `popd` goes back so often at most.
const LEFT_MAX: usize = 64;

/// Where a script is.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// The folder it works in, from the root.
    home: String,
    /// The folder it lies in, where it may be started as well.
    own: String,
    /// What it calls the root, if it has entered that by a name of the machine's.
    root: Option<String>,
    left: Vec<String>,
}

/// What a command builds, and in which folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) context: String,
    pub(super) dockerfile: String,
}

impl Places {
    /// A script that is started in the root, or in its own folder.
    pub(super) fn of_script(file: &str) -> Self {
        Self {
            own: folder(file).to_owned(),
            ..Self::default()
        }
    }

    /// What works in its own folder, as Make does.
    pub(super) fn of_folder(file: &str) -> Self {
        Self {
            home: folder(file).to_owned(),
            own: folder(file).to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn enter(&mut self, path: &str) {
        if self.left.len() == LEFT_MAX {
            self.left.remove(0);
        }
        self.left.push(self.home.clone());
        // No folder of a tree is called so.
        if path.len() + self.home.len() > PATH_MAX {
            return;
        }
        let is_of_machine = path.starts_with(['/', '$', '~']);
        self.home = match is_of_machine {
            true => {
                self.root = Some(path.trim_end_matches('/').to_owned());
                String::new()
            }
            false => self.below(path),
        };
        self.own.clone_from(&self.home);
    }

    pub(super) fn leave(&mut self) {
        self.home = self.left.pop().unwrap_or_default();
    }

    /// A path from the root, where it can be told.
    fn below(&self, path: &str) -> String {
        match path.strip_prefix(ROOT) {
            Some(path) => join("", path.trim_start_matches('/')),
            None => join(&self.home, path),
        }
    }

    /// Where the Dockerfile and the context of a command are.
    pub(super) fn dockerfile(
        &self,
        tree: &Tree,
        command: &DockerBuild,
        variables: &Variables,
    ) -> Option<Place> {
        let context = variables.fill(&command.context);
        let file = command.dockerfile.as_ref().map(|it| variables.fill(it));
        let mut homes = vec![self.clone()];
        if self.own != self.home {
            homes.push(Self {
                home: self.own.clone(),
                ..self.clone()
            });
        }
        homes
            .iter()
            .find_map(|home| home.place(tree, &context, file.as_deref()))
    }

    fn place(&self, tree: &Tree, context: &str, file: Option<&str>) -> Option<Place> {
        let context = self.folder(tree, context)?;
        let found = match file {
            Some(file) => self.file(tree, file)?,
            None => {
                let names = ["Dockerfile", "Containerfile"].map(|it| join(&context, it));
                names.into_iter().find(|it| tree.files.contains_key(it))?
            }
        };
        Some(Place {
            context,
            dockerfile: found,
        })
    }

    /// What a script calls by a name of the machine's, below the root; else the path itself.
    fn plain<'p>(&self, path: &'p str) -> &'p str {
        let below = self
            .root
            .as_deref()
            .and_then(|root| path.strip_prefix(root));
        match below {
            Some(below) => below.trim_start_matches('/'),
            None => path,
        }
    }

    fn file(&self, tree: &Tree, path: &str) -> Option<String> {
        let is_there = |path: &String| tree.files.contains_key(path);
        let plain = self.plain(path);
        if !plain.starts_with(['/', '$', '~']) {
            return Some(self.below(plain)).filter(is_there);
        }
        // `${CHECKOUT}/docker/x.Dockerfile`: wherever that is, the file's end is known.
        ends(plain).map(str::to_owned).find(is_there)
    }

    fn folder(&self, tree: &Tree, path: &str) -> Option<String> {
        let plain = self.plain(path);
        if plain.starts_with(['/', '$', '~']) {
            let is_there = |path: &&str| {
                let below = format!("{path}/");
                tree.files.keys().any(|it| it.starts_with(&below))
            };
            return Some(ends(plain).find(is_there).unwrap_or_default().to_owned());
        }
        let is_place = !plain.contains("://") && !plain.starts_with("git@") && plain != "-";
        is_place.then(|| self.below(plain))
    }

    /// The folders that a wildcard of a loop means; any other word means itself.
    pub(super) fn matching(&self, tree: &Tree, word: &str) -> Vec<String> {
        if !word.contains('*') {
            return vec![word.to_owned()];
        }
        let pattern = self.below(word.trim_end_matches('/'));
        let dockerfiles = tree.files.keys().filter(|it| is_dockerfile(it));
        let folders: BTreeSet<&str> = dockerfiles
            .flat_map(|it| [it.as_str(), folder(it)])
            .filter(|it| {
                let parts = it.split('/').count() == pattern.split('/').count();
                parts && crate::glob::matches(&pattern, it)
            })
            .collect();
        folders
            .into_iter()
            .map(|it| format!("{ROOT}{it}"))
            .collect()
    }

    /// All names that a rule may be called for: folders, and the own parts of Dockerfiles' names.
    pub(super) fn names(&self, tree: &Tree) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for path in tree.files.keys().filter(|it| is_dockerfile(it)) {
            names.extend(path.split('/').map(str::to_owned));
            names.insert(folder(path).to_owned());
            let stem = file_name(path);
            names.extend(stem.split('.').map(str::to_owned));
        }
        names.remove("");
        names
    }
}

/// The ends of a path, the longest first.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    let cuts = path.match_indices('/').map(|(at, _)| at + 1);
    cuts.map(|at| &path[at..]).filter(|it| !it.is_empty())
}
