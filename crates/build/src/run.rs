//! One run over a set of images: prepare (lower and plan), then solve and assemble.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cairn_diagnostic::Diagnostic;
use cairn_store::CacheKey;

use crate::assemble::assemble;
use crate::engine::Engine;
use crate::event::{Event, VertexId, VertexInfo};
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{Graph, Op, Vertex};
use crate::image::record::ImageRecord;
use crate::lint::{self, Warnings};
use crate::lower::{Lowered, LoweredImage, lower};
use crate::plan::{Decision, GraphPlan, plan};
use crate::request::ImageRequest;
use crate::resolve::ImageSource;
use crate::solve::{Solved, solve};
use crate::take::Taker;

/// A run that is decided and not begun.
pub struct Prepared<'a> {
    /// The graph and the images in it.
    pub lowered: Lowered,
    /// What will happen to each vertex.
    pub plan: GraphPlan,
    /// What the checker says of the Dockerfiles.
    pub warnings: Vec<Warnings>,
    taker: Taker<'a>,
}

/// Lowers all images into one graph and decides what must run.
pub fn prepare<'a>(
    requests: &[ImageRequest],
    images: &dyn ImageSource,
    engine: &Engine<'a>,
) -> Result<Prepared<'a>, Vec<Diagnostic>> {
    let lowered = lower(requests, images)?;
    let refused = refused(&lowered.graph, engine);
    if !refused.is_empty() {
        return Err(refused);
    }
    let warnings = lint::check(requests, images, engine.contexts)?;
    let taker = Taker::new(engine);
    let plan = plan(&lowered.graph, engine, &taker);
    Ok(Prepared {
        lowered,
        plan,
        warnings,
        taker,
    })
}

/// Steps that want more than they are allowed.
fn refused(graph: &Graph, engine: &Engine<'_>) -> Vec<Diagnostic> {
    let is_refused = |vertex: &Vertex| matches!(&vertex.op, Op::Exec(exec) if exec.insecure && !engine.settings.allow_insecure);
    let vertices = graph.iter().map(|(_, vertex)| vertex);
    vertices
        .filter(|vertex| is_refused(vertex))
        .map(|vertex| {
            let mut finding = Diagnostic::error("security.insecure is not allowed").hint(
                "The step wants all that the caller may do; allow it with `--allow \
                 security.insecure` if you trust the Dockerfile.",
            );
            finding.label.clone_from(&vertex.origin.label);
            finding
        })
        .collect()
}

impl Prepared<'_> {
    /// Runs what must run. Failures are part of the result.
    pub fn solve(&self, engine: &Engine<'_>) -> Solved {
        engine.events.emit(Event::Planned {
            vertices: infos(&self.lowered.graph),
        });
        solve(&self.lowered.graph, &self.plan, engine, &self.taker)
    }

    /// Puts together one image of the run, if its filesystem was built.
    pub fn assemble(&self, image: &LoweredImage, solved: &Solved) -> Option<ImageRecord> {
        assemble(image, &self.lowered.graph, &solved.results)
    }

    /// The filesystems that are there without running anything.
    pub fn at_hand(&self) -> HashMap<VertexId, Arc<Filesystem>> {
        self.plan
            .iter()
            .filter_map(|(id, decision)| match decision {
                Decision::Reuse(filesystem) => Some((id, filesystem.clone())),
                _ => None,
            })
            .collect()
    }

    /// The keys of what is there without running anything.
    pub fn keys_at_hand(&self, engine: &Engine<'_>) -> Result<Vec<CacheKey>, StepError> {
        let at_hand = self.at_hand();
        let result_of = |input: VertexId| at_hand[&input].clone();
        let graph = &self.lowered.graph;
        let mut keys = Vec::new();
        for (id, vertex) in graph.iter() {
            if at_hand.contains_key(&id) && graph.is_step(id) {
                let inputs = self.taker.inputs(engine, id, vertex, &result_of)?;
                keys.push(inputs.key());
            }
        }
        Ok(keys)
    }

    /// All vertices that an image needs, in topological order.
    pub fn vertices_of(&self, image: &LoweredImage) -> BTreeSet<VertexId> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<VertexId> = image.fs.vertex().into_iter().collect();
        while let Some(id) = open.pop() {
            if needed.insert(id) {
                open.extend(self.lowered.graph.vertex(id).inputs());
            }
        }
        needed
    }

    /// What stands in the way of an image before anything runs, if something does.
    pub fn broken(&self, image: &LoweredImage) -> Option<(VertexId, Arc<StepError>)> {
        self.vertices_of(image)
            .into_iter()
            .find_map(|id| match self.plan.decision(id) {
                Decision::Broken(error) => Some((id, error.clone())),
                _ => None,
            })
    }
}

/// What readers of events need to know of the graph's steps.
fn infos(graph: &Graph) -> Vec<VertexInfo> {
    graph
        .iter()
        .filter(|(id, _)| graph.is_step(*id))
        .map(|(id, vertex)| VertexInfo {
            id,
            image: vertex.origin.image.clone(),
            stage: vertex.origin.stage.clone(),
            step: vertex.origin.step,
            title: vertex.origin.title.clone(),
            place: vertex.origin.label.as_ref().map(|label| {
                (
                    label.source.name.clone(),
                    label.source.position(label.span.start).line,
                )
            }),
            inputs: vertex
                .inputs()
                .into_iter()
                .filter(|input| graph.is_step(*input))
                .collect(),
        })
        .collect()
}
