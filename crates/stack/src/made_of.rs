//! What an image was made of, kept beside what is published: any machine can say then what is
//! different about its own.
//!
//! ```text
//! image + results       --of-->                MadeOf     each base and step with its inputs
//! MadeOf, an older one  --first_difference-->  Unlike     the first input that is not the same
//! ```
//!
//! How long lists of files are written down is in [`packing`].

mod packing;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_build::engine::Engine;
use cairn_build::event::VertexId;
use cairn_build::filesystem::Filesystem;
use cairn_build::image::ImageRecord;
use cairn_build::key::KeyInputs;
use cairn_build::lower::LoweredImage;
use cairn_build::plan::Cause;
use cairn_build::run::Prepared;
use cairn_oci::RunConfig;
use serde::{Deserialize, Serialize};

use crate::plan::in_words;
use crate::retag;

/// So many files are named.
const FILES_TOLD: usize = 3;
/// Longer lists of files are packed.
const FILES_PLAIN: usize = 500;
/// Larger documents are cut into several: a registry takes no manifest of any size.
const BYTES_MAX: usize = 1 << 20;
/// What would need more of them says nothing of files.
pub(crate) const MORE_MAX: usize = 32;

/// What an image was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeOf {
    /// The digest of all that a container of it can observe; nothing while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RunConfig>,
    /// Its bases and steps, in order.
    pub steps: Vec<StepMadeOf>,
    /// How many further documents hold the lists of files.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) more: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// One base or step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepMadeOf {
    /// The instruction.
    pub title: String,
    /// The stage's name or number; empty where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// What enters its key, by name; nothing while something it needs is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<(String, String)>,
    /// The files that it takes from its context, by digest, unless they are very many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The same packed, where they are not few.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    packed: String,
    /// Its file and line; only of an image at hand.
    #[serde(skip)]
    pub place: Option<(String, usize)>,
}

/// What is different about an image, compared with an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// The step, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Its file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<(String, usize)>,
    /// What is different, in words.
    pub because: String,
}

impl MadeOf {
    /// What an image of a run is made of, as far as results tell.
    pub fn of(
        prepared: &Prepared<'_>,
        engine: &Engine<'_>,
        image: &LoweredImage,
        results: &HashMap<VertexId, Arc<Filesystem>>,
        record: Option<&ImageRecord>,
    ) -> Self {
        let steps = prepared.inputs_of(engine, image, results);
        let steps = steps.into_iter().map(|step| {
            let origin = &prepared.lowered.graph.vertex(step.vertex).origin;
            StepMadeOf {
                title: origin.title.clone(),
                stage: origin.stage.clone(),
                inputs: step.inputs.map(|it| it.0).unwrap_or_default(),
                files: step.files.into_iter().collect(),
                packed: String::new(),
                place: origin.label.as_ref().map(|label| {
                    let line = label.source.position(label.span.start).line;
                    (label.source.name.clone(), line)
                }),
            }
        });
        let known = record.filter(|record| record.is_known());
        Self {
            content: known.map(|it| it.content().to_string()),
            config: record.map(|it| it.config.clone()),
            steps: steps.collect(),
            more: 0,
        }
    }

    /// The documents in the ledger: long lists of files are packed, and where that makes too large a
    /// document they stand in further ones.
    pub(crate) fn to_documents(&self) -> Vec<String> {
        self.documents(BYTES_MAX)
    }

    fn documents(&self, bytes_max: usize) -> Vec<String> {
        let json = |it: &Self| serde_json::to_string(it).expect("a value of plain fields");
        let mut packed = self.clone();
        let many = packed.steps.iter_mut();
        many.filter(|step| step.files.len() > FILES_PLAIN)
            .for_each(|step| {
                step.packed = packing::pack(&step.files);
                step.files.clear();
            });
        let whole = json(&packed);
        if whole.len() <= bytes_max {
            return vec![whole];
        }
        let lists = packed.steps.iter_mut().map(|step| {
            step.files.clear();
            std::mem::take(&mut step.packed)
        });
        let lists: Vec<String> = lists.collect();
        let lists = serde_json::to_string(&lists).expect("a list of texts");
        // It is base64 but for quotes and commas: any place is fit for a cut.
        let pieces = lists.as_bytes().chunks(bytes_max);
        let pieces = pieces.map(|it| String::from_utf8_lossy(it).into_owned());
        let mut pieces: Vec<String> = pieces.collect();
        if pieces.len() > MORE_MAX {
            pieces.clear();
        }
        packed.more = pieces.len();
        let mut documents = vec![json(&packed)];
        let quoted = pieces.iter().map(serde_json::to_string);
        documents.extend(quoted.map(|it| it.expect("a text")));
        documents
    }

    /// Puts in what the further documents hold, in their order.
    #[must_use]
    fn with_more(mut self, pieces: &[String]) -> Self {
        let lists: Vec<String> = serde_json::from_str(&pieces.concat()).unwrap_or_default();
        for (step, packed) in self.steps.iter_mut().zip(lists) {
            step.packed = packed;
        }
        self.more = 0;
        self
    }

    /// All that was written down, of the first document and the further ones.
    #[must_use]
    pub(crate) fn with_lists(self, pieces: &[String]) -> Self {
        match self.more {
            0 => self.unpacked(),
            _ => self.with_more(pieces).unpacked(),
        }
    }

    /// The document as it was before it was written down, but that digests may be short.
    #[must_use]
    fn unpacked(mut self) -> Self {
        for step in &mut self.steps {
            let packed = std::mem::take(&mut step.packed);
            step.files.extend(packing::unpack(&packed));
        }
        self
    }

    /// The first thing that is not as in `older`; `None` where nothing is known to be different.
    ///
    /// What both are comes before what they were made of: other inputs may well have made the same
    /// image, and what was published of it twice has the inputs of the last time.
    pub fn first_difference(&self, older: &Self) -> Option<Unlike> {
        if self.content.is_some() && self.content == older.content {
            return None;
        }
        let count = self.steps.len().max(older.steps.len());
        for at in 0..count {
            match (self.steps.get(at), older.steps.get(at)) {
                (Some(new), Some(old)) => {
                    if let Some(because) = step_difference(new, old) {
                        return Some(new.unlike(because));
                    }
                    if new.inputs.is_empty() {
                        // What follows is not known before this one has run.
                        return None;
                    }
                }
                (Some(new), None) => return Some(new.unlike("this step is new".to_owned())),
                (None, Some(old)) => {
                    return Some(Unlike {
                        step: Some(old.title.clone()),
                        place: None,
                        because: "this step is gone".to_owned(),
                    });
                }
                (None, None) => {}
            }
        }
        if self.content.is_none() || older.content.is_none() {
            return None;
        }
        let settings = match (&older.config, &self.config) {
            (Some(old), Some(new)) => retag::setting_of(old, new),
            _ => None,
        };
        Some(Unlike {
            step: None,
            place: None,
            because: settings.unwrap_or_else(|| "its steps made other files".to_owned()),
        })
    }

    /// Whether every step's inputs are known.
    pub fn is_known(&self) -> bool {
        self.steps.iter().all(|step| !step.inputs.is_empty())
    }
}

impl StepMadeOf {
    fn unlike(&self, because: String) -> Unlike {
        Unlike {
            step: Some(self.title.clone()),
            place: self.place.clone(),
            because,
        }
    }
}

fn step_difference(new: &StepMadeOf, old: &StepMadeOf) -> Option<String> {
    let (inputs, before) = (KeyInputs(new.inputs.clone()), KeyInputs(old.inputs.clone()));
    if new.inputs.is_empty() || old.inputs.is_empty() {
        return (new.title != old.title).then(|| format!("it was `{}`", old.title));
    }
    let difference = inputs.first_difference(&before)?;
    let files = match difference.input.as_str() {
        "files" => changed_files(new, old),
        _ => Vec::new(),
    };
    Some(in_words(&Cause::Changed { difference, files }))
}

/// Files that are other ones, new, or gone.
fn changed_files(new: &StepMadeOf, old: &StepMadeOf) -> Vec<String> {
    if new.files.is_empty() || old.files.is_empty() {
        return Vec::new();
    }
    let changed = new.files.iter().filter(|(name, digest)| {
        let before = old.files.get(*name);
        !before.is_some_and(|before| packing::is_same(before, digest))
    });
    let gone = old
        .files
        .keys()
        .filter(|name| !new.files.contains_key(*name));
    let names = changed.map(|(name, _)| name.clone());
    names
        .chain(gone.map(|name| format!("{name} (gone)")))
        .take(FILES_TOLD)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(title: &str, inputs: &[(&str, &str)], files: &[(&str, &str)]) -> StepMadeOf {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let pairs = pairs.iter();
            pairs
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        StepMadeOf {
            title: title.to_owned(),
            stage: String::new(),
            inputs: own(inputs),
            files: own(files).into_iter().collect(),
            packed: String::new(),
            place: None,
        }
    }

    fn made(content: &str, steps: &[StepMadeOf]) -> MadeOf {
        MadeOf {
            content: Some(content.to_owned()),
            config: None,
            steps: steps.to_vec(),
            more: 0,
        }
    }

    fn told(new: &[StepMadeOf], old: &[StepMadeOf]) -> Option<String> {
        let unlike = made("a", new).first_difference(&made("b", old))?;
        Some(format!("{}: {}", unlike.step?, unlike.because))
    }

    #[test]
    fn the_first_input_that_differs_is_named() {
        let from = || step("FROM a", &[("image", "1")], &[]);
        let copy = |digest, files: &[(&str, &str)]| step("COPY . /", &[("files", digest)], files);
        let run = |command| step("RUN x", &[("command", command)], &[]);
        assert_eq!(told(&[from(), run("x")], &[from(), run("x")]), None);
        let wanted = "COPY . /: `b`, `c (gone)` changed";
        let (new, old) = (
            copy("2", &[("a", "1"), ("b", "2")]),
            copy("1", &[("a", "1"), ("b", "1"), ("c", "1")]),
        );
        assert_eq!(
            told(&[from(), new, run("y")], &[from(), old, run("x")]).as_deref(),
            Some(wanted),
            "the first one, not what follows from it"
        );
        assert_eq!(
            told(&[from(), copy("2", &[])], &[from(), copy("1", &[])]).as_deref(),
            Some("COPY . /: the files it takes changed")
        );
        assert_eq!(
            told(&[run("y")], &[run("x")]).as_deref(),
            Some("RUN x: command changed from `x` to `y`")
        );
        assert_eq!(
            told(&[from(), run("x")], &[from()]).as_deref(),
            Some("RUN x: this step is new")
        );
        assert_eq!(
            told(&[from()], &[from(), run("x")]).as_deref(),
            Some("RUN x: this step is gone")
        );
    }

    /// A `COPY` of a whole tree names the file, too, from a document that a registry takes.
    #[test]
    fn a_file_of_many_is_named() {
        let many = |changed: usize| -> Vec<(String, String)> {
            let of = |at: usize| {
                if at == changed {
                    "b".repeat(64)
                } else {
                    "a".repeat(64)
                }
            };
            (0..20_000)
                .map(|at| {
                    (
                        format!("folder-{}/file-{at}", at / 100),
                        format!("644 {}", of(at)),
                    )
                })
                .collect()
        };
        let copy = |digest: &str, changed: usize| {
            let files = many(changed);
            let pairs: Vec<(&str, &str)> = files
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            step("COPY . /", &[("files", digest)], &pairs)
        };
        let older = made("a", &[copy("1", 99_999)]);
        let read = |documents: &[String]| {
            let (first, more) = documents.split_first().expect("a document");
            let first: MadeOf = serde_json::from_str(first).expect("a document");
            assert_eq!(first.more, more.len());
            let more = more.iter().map(|it| serde_json::from_str(it));
            let more: Result<Vec<String>, _> = more.collect();
            first.with_lists(&more.expect("texts"))
        };
        let documents = older.to_documents();
        assert_eq!(documents.len(), 1);
        assert!(documents[0].contains("packed"), "the names are in it");
        let pieces = older.documents(50_000);
        assert!(pieces.len() > 2, "{}", pieces.len());
        assert!(pieces.iter().all(|it| it.len() < 60_000));
        let cut = older.documents(1_000);
        assert_eq!(cut.len(), 1, "too many to be kept");
        assert_eq!(read(&cut).steps[0].files, BTreeMap::new());
        assert_eq!(read(&pieces), read(&documents));
        let older = read(&pieces);
        let unlike = made("b", &[copy("2", 13_210)]).first_difference(&older);
        assert_eq!(
            unlike.map(|it| it.because).as_deref(),
            Some("`folder-132/file-13210` changed")
        );
        assert_eq!(
            made("a", &[copy("1", 99_999)]).first_difference(&older),
            None
        );
    }

    /// Other files, another command, and what came of them is the same.
    #[test]
    fn the_same_content_is_no_difference_whatever_made_it() {
        let step = |digest| [step("COPY d /", &[("files", digest)], &[])];
        let difference =
            |content| made("a", &step("1")).first_difference(&made(content, &step("2")));
        assert_eq!(difference("a"), None);
        assert!(difference("b").is_some());
    }

    #[test]
    fn what_is_not_known_yet_is_no_difference() {
        let open = step("RUN later", &[], &[]);
        let known = step("RUN later", &[("command", "x")], &[]);
        assert_eq!(
            told(std::slice::from_ref(&open), std::slice::from_ref(&known)),
            None
        );
        assert!(!made("a", &[open]).is_known());
        let other = made("b", std::slice::from_ref(&known));
        let unlike = other.first_difference(&made("a", &[known])).expect("one");
        assert_eq!(unlike.because, "its steps made other files");
        let texts = other.to_documents();
        assert_eq!(serde_json::from_str::<MadeOf>(&texts[0]).ok(), Some(other));
    }
}
