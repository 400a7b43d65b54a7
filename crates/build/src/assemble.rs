//! Settings and snapshots to an image record: the end of a build.
//!
//! Labels, annotations and times are applied here and nowhere earlier, so that a new commit
//! rebuilds no layer (BOR-18).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_oci::{History, rfc3339};

use crate::event::VertexId;
use crate::filesystem::Filesystem;
use crate::graph::{Fs, Graph};
use crate::image::dialect::Dialect;
use crate::image::record::{ImageRecord, Inherited};
use crate::lower::{HistoryStep, LoweredImage};

/// The remark that BuildKit leaves in histories; tools look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// Puts an image together; `None` if its filesystem was not built.
pub fn assemble(
    image: &LoweredImage,
    graph: &Graph,
    results: &HashMap<VertexId, Arc<Filesystem>>,
) -> Option<ImageRecord> {
    let filesystem = match image.fs {
        Fs::Scratch => Filesystem::scratch(),
        Fs::Of(vertex) => results.get(&vertex)?.as_ref().clone(),
    };
    let created = rfc3339(image.epoch);
    let inherited = image.history.iter().map_while(|step| match step {
        HistoryStep::Inherited(history) => Some(history),
        HistoryStep::Own { .. } => None,
    });
    let inherited = Inherited {
        layers: inherited
            .clone()
            .filter(|entry| !entry.empty_layer)
            .count()
            .min(filesystem.layers.len()),
        history: inherited.count(),
    };
    let history = image
        .history
        .iter()
        .map(|step| match step {
            HistoryStep::Inherited(history) => history.clone(),
            HistoryStep::Own { created_by, vertex } => History {
                created: Some(created.clone()),
                created_by: Some(created_by.clone()),
                author: None,
                comment: Some(COMMENT.to_owned()),
                empty_layer: !vertex.is_some_and(|vertex| has_layer(vertex, graph, results)),
            },
        })
        .collect();
    Some(ImageRecord {
        platform: image.platform.clone(),
        config: image.config.clone(),
        author: image.author.clone(),
        epoch: image.epoch,
        epoch_is_given: image.epoch_is_given,
        layers: filesystem.layers,
        history,
        annotations: image.annotations.clone(),
        outer: Vec::new(),
        packed: None,
        pulled: None,
        results: Vec::new(),
        attested: None,
        inherited,
        marked: None,
        dialect: Dialect::default(),
        absent: BTreeMap::new(),
    })
}

fn has_layer(
    vertex: VertexId,
    graph: &Graph,
    results: &HashMap<VertexId, Arc<Filesystem>>,
) -> bool {
    let layers = |id: VertexId| results.get(&id).map_or(0, |result| result.layers.len());
    let below = graph.vertex(vertex).base.vertex().map_or(0, layers);
    layers(vertex) > below
}
