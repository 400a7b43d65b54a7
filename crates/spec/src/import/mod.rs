//! Other build descriptions to a `cairn.toml`, with a report of what is equal, what differs, why.
//!
//! What is recognised, each by a module of its own, all of them together where a tree has
//! several: DataHub's `spec.yml` with `change_ignore.json`, docker-bake files (HCL and JSON),
//! GitHub Actions workflows that build images, Cloud Build, Compose, Makefiles, scripts and files of
//! other CI services that call `docker build`, and the Dockerfiles of a tree that no pipeline
//! describes.
//!
//! Pure: a [`Tree`] of names and texts goes in, the text of a spec comes out. Each reader adds
//! what it finds to one [`draft::Draft`]; `assemble` makes images of it, `emit` writes them. No
//! file but the spec is made or changed: Dockerfiles are taken as they are.

mod actions;
mod assemble;
mod bake;
mod by_image;
mod caches;
mod cloudbuild;
mod combinations;
mod compose;
mod datahub;
mod docker_build;
mod dockerfiles;
mod draft;
mod emit;
mod layout;
mod machines;
mod metadata;
mod parents;
mod paths;
mod scripts;
mod secrets;
mod shell;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use draft::Draft;

/// Why a tag that is written down where an image is described is not taken over.
const TAGS_OF_EVENTS: &str = "a build is published under the tags of its event, see `cairn tags`; `cairn publish --tag` gives it others";

/// The files of a directory: names from there, and the texts of those that may matter.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Every file by its path, with its text where it was read.
    pub files: BTreeMap<String, Option<String>>,
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of the spec.
    pub spec: String,
    /// The files it was made from.
    pub from: Vec<String>,
    /// What is equal, what differs, what is missing.
    pub notes: Vec<Note>,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is the same here.
    pub verdict: Verdict,
    /// The file it is said in.
    pub file: String,
    /// What is said there.
    pub what: String,
    /// What became of it, and why.
    pub why: String,
}

/// Whether something is the same here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It means the same.
    Equal,
    /// It is done differently, and why is said.
    Differs,
    /// It could not be taken over.
    Missing,
}

impl Verdict {
    /// Its word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Differs => "differs",
            Verdict::Missing => "missing",
        }
    }
}

/// Why nothing could be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportError {
    /// Nothing is there that describes an image.
    Nothing,
    /// A file that was recognised cannot be read.
    Broken {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
}

impl Tree {
    /// Whether a file is worth its text: an import may look into it.
    pub fn may_matter(path: &str) -> bool {
        let name = paths::file_name(path);
        let lower = name.to_ascii_lowercase();
        dockerfiles::is_dockerfile(path)
            || [".yml", ".yaml", ".hcl"]
                .iter()
                .any(|end| lower.ends_with(end))
            || lower == "conftest.py"
            || scripts::is_script(path)
            || (lower.ends_with(".json")
                && (lower.contains("build")
                    || lower.contains("docker-bake")
                    || lower == "change_ignore.json"))
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter();
        files.filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }
}

/// Makes a spec of what is there; `name` is the stack's.
pub fn import(tree: &Tree, name: &str) -> Result<Imported, ImportError> {
    let mut draft = Draft::default();
    datahub::read(tree, &mut draft)?;
    bake::read(tree, &mut draft)?;
    actions::read(tree, &mut draft)?;
    cloudbuild::read(tree, &mut draft)?;
    scripts::read_services(tree, name, &mut draft);
    compose::read(tree, &mut draft)?;
    scripts::read(tree, name, &mut draft);
    dockerfiles::read(tree, name, &mut draft);
    if draft.builds.is_empty() {
        return Err(ImportError::Nothing);
    }
    let mut stack = assemble::assemble(tree, &mut draft);
    parents::connect(tree, &mut stack, &mut draft);
    by_image::attach(tree, &mut stack, &mut draft);
    assemble::keep_home(&mut stack, &mut draft);
    assemble::tell_tags(&stack, &mut draft);
    let spec = emit::emit(name, &stack, &draft);
    let mut notes = draft.notes;
    notes.sort_by(|one, other| (one.verdict, &one.file).cmp(&(other.verdict, &other.file)));
    let mut told = BTreeSet::new();
    notes.retain(|it| told.insert((it.verdict, it.file.clone(), it.what.clone(), it.why.clone())));
    draft.from.sort();
    draft.from.dedup();
    Ok(Imported {
        spec,
        from: draft.from,
        notes,
    })
}

#[cfg(test)]
mod tests;
