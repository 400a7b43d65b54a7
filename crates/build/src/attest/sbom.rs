//! Lists of packages of an image: our own look at its files, or what a generator wrote.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use cairn_attest::statement::SPDX;
use cairn_attest::{Attestation, Claim, Spdx};
use cairn_store::{EntryKind, LayeredView};
use serde::Deserialize;
use serde_json::Value;

use super::AttestError;
use super::scan::scan;
use crate::cache;
use crate::context::{LayerTree, SourceTree};
use crate::engine::Engine;
use crate::event::VertexId;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{FileSource, Fs};
use crate::lower::{LoweredImage, SBOM, SCAN_OUTPUT};

/// What our own look says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// The program, with its version.
    pub tool: &'a str,
    /// When, in RFC 3339.
    pub created: &'a str,
}

/// What a reader should know who finds no package of rpm.
const NO_RPM: &str =
    "There is a database of rpm that cannot be read: its packages are missing from this list.";

/// Larger documents are no list of packages.
const DOCUMENT_MAX: u64 = 64 << 20;

/// The lists of an image: of its own files, then of the stages and contexts that asked for it.
pub fn sbom(
    engine: &Engine<'_>,
    image: &LoweredImage,
    results: &HashMap<VertexId, Arc<Filesystem>>,
    looked: Looked<'_>,
) -> Result<Vec<Attestation>, AttestError> {
    match image.scan.generator {
        Some(generator) => written(engine, &results[&generator]),
        None => found(engine, image, results, looked),
    }
}

fn found(
    engine: &Engine<'_>,
    image: &LoweredImage,
    results: &HashMap<VertexId, Arc<Filesystem>>,
    looked: Looked<'_>,
) -> Result<Vec<Attestation>, AttestError> {
    let core = (SBOM.to_owned(), FileSource::Fs(image.fs));
    let extras = image.scan.extras.iter();
    let extras = extras.map(|(name, from)| (format!("{SBOM}-{name}"), *from));
    let mut lists = Vec::new();
    for (name, from) in std::iter::once(core).chain(extras) {
        let look = |tree: &dyn SourceTree| scan(tree, engine.store.home());
        let found = with_tree(engine, from, results, &look)?;
        let spdx = Spdx {
            name: &name,
            tool: looked.tool,
            created: looked.created,
            packages: &found.packages,
            distribution: &found.distribution,
            comment: found.has_unread_rpm.then_some(NO_RPM),
        };
        lists.push(Attestation {
            file_name: format!("{name}.spdx.json"),
            inline_only: false,
            claim: Claim::Document {
                predicate_type: SPDX.to_owned(),
                predicate: spdx.document(),
            },
        });
    }
    Ok(lists)
}

fn with_tree<T>(
    engine: &Engine<'_>,
    from: FileSource,
    results: &HashMap<VertexId, Arc<Filesystem>>,
    work: &dyn Fn(&dyn SourceTree) -> Result<T, AttestError>,
) -> Result<T, AttestError> {
    let snapshots = match from {
        FileSource::Context(id) => return work(engine.context(id)),
        FileSource::Fs(Fs::Scratch) => Vec::new(),
        FileSource::Fs(Fs::Of(id)) => brought(engine, &results[&id])?.snapshots(),
    };
    let view = LayeredView::new(engine.store, &snapshots)?;
    work(&LayerTree::new(view))
}

fn brought(
    engine: &Engine<'_>,
    filesystem: &Arc<Filesystem>,
) -> Result<Arc<Filesystem>, StepError> {
    Ok(cache::brought(engine, filesystem)?)
}

/// What a generator wrote: whole statements, of which the predicate counts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    predicate: Value,
}

/// Reads what a generator left in the directory that it was told to write to.
fn written(engine: &Engine<'_>, result: &Arc<Filesystem>) -> Result<Vec<Attestation>, AttestError> {
    let view = LayeredView::new(engine.store, &brought(engine, result)?.snapshots())?;
    let mut lists = Vec::new();
    for (name, entry) in view.read_dir(Path::new(SCAN_OUTPUT))? {
        let file_name = name.to_string_lossy().into_owned();
        let wrong = |reason: String| AttestError::NoStatement {
            file: file_name.clone(),
            reason,
        };
        if entry.kind != EntryKind::File || entry.size > DOCUMENT_MAX {
            return Err(wrong("it is no file of a sensible size".to_owned()));
        }
        let mut text = String::new();
        let read = view.open(&entry)?.read_to_string(&mut text);
        read.map_err(|error| wrong(error.to_string()))?;
        let statement: Statement =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if statement.predicate_type != SPDX {
            return Err(wrong(format!("it says `{}`", statement.predicate_type)));
        }
        lists.push(Attestation {
            file_name,
            inline_only: false,
            claim: Claim::Document {
                predicate_type: statement.predicate_type,
                predicate: statement.predicate,
            },
        });
    }
    if lists.is_empty() {
        return Err(AttestError::NothingWritten);
    }
    // That of the image itself comes first.
    lists.sort_by_key(|list| list.file_name.split('.').next() != Some(SBOM));
    Ok(lists)
}
