//! What a vertex leaves: an ordered list of snapshots.

use cairn_store::{ContentDigest, SnapshotId};

use crate::image::record::{RecordLayer, chain, stack};

/// A filesystem state: committed snapshots from the bottom up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// The snapshots.
    pub layers: Vec<RecordLayer>,
    /// The digest of the content of all of them.
    pub content: ContentDigest,
}

impl Filesystem {
    /// Nothing.
    pub fn scratch() -> Self {
        Self::new(Vec::new())
    }

    /// Layers from the bottom up.
    pub fn new(layers: Vec<RecordLayer>) -> Self {
        let content = chain(layers.iter().map(|layer| &layer.content));
        Self { layers, content }
    }

    /// The same with one more layer, if there is one.
    #[must_use]
    pub fn with(&self, layer: Option<RecordLayer>) -> Self {
        let Some(layer) = layer else {
            return self.clone();
        };
        let content = stack(&self.content, &layer.content);
        let mut layers = self.layers.clone();
        layers.push(layer);
        Self { layers, content }
    }

    /// The snapshots' names from the bottom up.
    pub fn snapshots(&self) -> Vec<SnapshotId> {
        self.layers.iter().map(|layer| layer.snapshot).collect()
    }
}
