//! What a plan leaves open is found out: the steps that others copy from are run, and no more.

use std::collections::BTreeSet;

use super::{Prepared, infos};
use crate::cache;
use crate::engine::Engine;
use crate::event::{Event, VertexId};
use crate::plan::{plan, undecided};
use crate::solve::{Solved, solve};

impl Prepared<'_> {
    /// Runs the steps whose results decide whether steps of `images` run, and decides again. What
    /// ran stays in the store: the build that follows finds it.
    pub fn settle(&mut self, engine: &Engine<'_>, images: &[&str]) -> Solved {
        let wanted = self.wanted_for(engine, images);
        if wanted.is_empty() {
            return Solved::default();
        }
        let graph = &self.lowered.graph;
        let mut vertices = infos(graph, engine);
        vertices.retain(|vertex| wanted.contains(&vertex.id));
        engine.events.emit(Event::Planned { vertices });
        let solved = solve(graph, &self.plan, Some(&wanted), engine, &self.taker);
        self.plan = plan(graph, engine, &self.taker);
        solved
    }

    /// The vertices that decide for these images, with all files here that they take. Where a cache
    /// breaks a promise, more of them run.
    fn wanted_for(&mut self, engine: &Engine<'_>, images: &[&str]) -> BTreeSet<VertexId> {
        loop {
            let graph = &self.lowered.graph;
            let open = self.lowered.images.iter();
            let open = open.filter(|image| images.contains(&image.name.as_str()));
            let wanted = open
                .flat_map(|image| undecided(graph, &self.plan, image.fs))
                .collect();
            let promises = self.promises(engine, &self.plan, Some(&wanted));
            if promises.is_empty() {
                return wanted;
            }
            match cache::bring(engine, promises.into_keys().collect()) {
                Ok(kept) => self.plan.keep_promises(&kept),
                Err(cache::BrokenPromise) => self.plan = plan(graph, engine, &self.taker),
            }
        }
    }
}
