//! Which vertices of the graph belong to an image of a run.

use std::collections::BTreeSet;

use super::Prepared;
use crate::event::VertexId;
use crate::graph::{FileSource, Fs};
use crate::lower::LoweredImage;

/// What is wanted of an image: its files, and the lists of packages. A generator makes those as a
/// step; without one, this program looks at the files of the stages that ask for it.
pub(super) fn results(image: &LoweredImage) -> impl Iterator<Item = VertexId> {
    let extras = image.scan.extras.iter();
    let extras = extras.filter(|_| image.scan.generator.is_none());
    let looked_at = extras.filter_map(|(_, from)| match from {
        FileSource::Fs(fs) => fs.vertex(),
        FileSource::Context(_) => None,
    });
    let files = image.fs.vertex().into_iter().chain(image.scan.generator);
    files.chain(looked_at)
}

impl Prepared<'_> {
    /// All vertices that an image needs, in topological order.
    pub fn vertices_of(&self, image: &LoweredImage) -> BTreeSet<VertexId> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<VertexId> = results(image).collect();
        while let Some(id) = open.pop() {
            if needed.insert(id) {
                open.extend(self.lowered.graph.vertex(id).inputs());
            }
        }
        needed
    }

    /// The vertices whose layers an image consists of.
    pub fn chain_of(&self, image: &LoweredImage) -> BTreeSet<VertexId> {
        let mut chain = BTreeSet::new();
        let mut next = image.fs.vertex();
        while let Some(id) = next {
            chain.insert(id);
            next = self.lowered.graph.vertex(id).base.vertex();
        }
        chain
    }

    /// What an image consists of: the vertices that it lies on, and its own stages. What it copies
    /// from other images is not among them: that may turn out to be as it was.
    pub fn parts_of(&self, image: &LoweredImage) -> BTreeSet<VertexId> {
        let mut parts = self.chain_of(image);
        parts.extend(self.own_of(image));
        parts
    }

    /// The vertices that an image needs and that are not those of another image that it builds on
    /// or copies from: its own stages.
    pub fn own_of(&self, image: &LoweredImage) -> BTreeSet<VertexId> {
        let mut own = self.vertices_of(image);
        let others = self.lowered.images.iter().filter(|it| it.fs != image.fs);
        let is_needed = |fs: Fs| fs.vertex().is_some_and(|id| own.contains(&id));
        let needed: Vec<&LoweredImage> = others.filter(|it| is_needed(it.fs)).collect();
        for other in needed {
            for id in self.vertices_of(other) {
                own.remove(&id);
            }
        }
        own
    }
}
