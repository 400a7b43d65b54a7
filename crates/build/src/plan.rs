//! What a run will do, before it does anything: for each vertex its result or why it must run.
//!
//! Planning walks the graph once, bottom-up. A vertex whose inputs are known gets its key and is
//! looked up; one that needs a vertex that must run can only be decided later, when that has run:
//! if its base turns out unchanged, its key may still be found (early cutoff). Where what it copies
//! is known before ([`ahead`]), it is decided at once.

mod ahead;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_store::{CacheKey, KeyHasher, SnapshotId};
use serde::Serialize;

use crate::cache;
use crate::engine::Engine;
use crate::event::VertexId;
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::graph::{CopyOp, FileSource, Fs, Graph, Op, Vertex};
use crate::image::record::RecordLayer;
use crate::key::{Difference, KeyInputs};
use crate::resolve::BaseImage;
use crate::take::{ResultOf, Taker};

/// The decisions for all vertices of a graph.
#[derive(Debug, Clone)]
pub struct GraphPlan {
    decisions: BTreeMap<VertexId, Decision>,
}

/// What happens to a vertex.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Its result is there.
    Reuse(Arc<Filesystem>),
    /// It runs.
    Run(Cause),
    /// It needs a vertex that runs, or files of one that are not here where a run only looks; whether
    /// it has to run itself shows then.
    After(VertexId),
    /// It cannot run: what it needs is not there.
    Broken(Arc<StepError>),
}

/// Why a vertex runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// The user asked for it.
    Forced,
    /// The store has never seen this step of this image.
    New,
    /// An input is not what it was when this step last ran.
    Changed {
        /// The first input that differs: of the step, or of one below it that was found.
        difference: Difference,
        /// Where the difference lies in files of a context: some of those that differ.
        files: Vec<String>,
    },
    /// Its inputs are as before, but its result was collected from the store.
    Collected,
}

impl GraphPlan {
    /// The decision for a vertex.
    pub fn decision(&self, id: VertexId) -> &Decision {
        &self.decisions[&id]
    }

    /// All decisions in topological order.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Decision)> {
        self.decisions.iter().map(|(id, decision)| (*id, decision))
    }

    /// Replaces promises by the snapshots that they became.
    pub(crate) fn keep_promises(&mut self, kept: &BTreeMap<SnapshotId, SnapshotId>) {
        for decision in self.decisions.values_mut() {
            if let Decision::Reuse(filesystem) = decision {
                *filesystem = cache::replaced(filesystem, kept);
            }
        }
    }

    /// Whether nothing has to run.
    pub fn is_nothing_to_do(&self) -> bool {
        self.decisions
            .values()
            .all(|decision| matches!(decision, Decision::Reuse(_)))
    }

    /// The vertex that makes this one run or wait: itself, or the first in its way.
    pub fn root_cause(&self, mut id: VertexId) -> VertexId {
        while let Decision::After(input) = self.decision(id)
            && self.unseen(id).is_none()
        {
            id = *input;
        }
        id
    }

    /// The vertex whose files a step waits for although nothing has to run for them.
    pub fn unseen(&self, id: VertexId) -> Option<VertexId> {
        match self.decision(id) {
            Decision::After(input) => {
                matches!(self.decision(*input), Decision::Reuse(_)).then_some(*input)
            }
            _ => None,
        }
    }
}

/// The vertices whose results decide whether the steps of an image run: all that is needed for what
/// its chain copies from filesystems that are still to be made.
pub(crate) fn undecided(graph: &Graph, plan: &GraphPlan, image: Fs) -> BTreeSet<VertexId> {
    let is_open = |id: &VertexId| !matches!(plan.decision(*id), Decision::Reuse(_));
    let mut wanted = BTreeSet::new();
    let mut chain = image.vertex();
    while let Some(id) = chain {
        let vertex = graph.vertex(id);
        let beside = vertex.inputs().into_iter();
        let beside = beside.filter(|input| vertex.base != Fs::Of(*input));
        let mut open: Vec<VertexId> = beside.filter(is_open).collect();
        while let Some(id) = open.pop() {
            if wanted.insert(id) {
                open.extend(graph.vertex(id).inputs().into_iter().filter(is_open));
            }
        }
        chain = vertex.base.vertex();
    }
    wanted
}

/// Decides for every vertex of a graph; once more where a cache broke a promise meanwhile.
pub(crate) fn plan(graph: &Graph, engine: &Engine<'_>, taker: &Taker<'_>) -> GraphPlan {
    loop {
        let broken = cache::broken(engine);
        let plan = plan_once(graph, engine, taker);
        if cache::broken(engine) == broken {
            return plan;
        }
    }
}

fn plan_once(graph: &Graph, engine: &Engine<'_>, taker: &Taker<'_>) -> GraphPlan {
    let mut plan = GraphPlan {
        decisions: BTreeMap::new(),
    };
    let copies = graph.iter().filter_map(|(id, vertex)| match &vertex.op {
        Op::Copy(copy) if matches!(copy.from, FileSource::Context(_)) => Some((id, &**copy)),
        _ => None,
    });
    let copies: Vec<(VertexId, &CopyOp)> = copies.collect();
    taker.look_ahead(engine, &copies);
    for (id, vertex) in graph.iter() {
        let mut decision = decide(graph, id, vertex, engine, taker, &plan);
        if let Decision::Run(Cause::Changed { difference, .. }) = &decision
            && difference.input == "base"
            && let Some(below) = cause_below(graph, vertex, engine, taker, &plan)
        {
            decision = Decision::Run(below);
        }
        plan.decisions.insert(id, decision);
    }
    // Before those run that wait, people may have changed their files.
    let waits = |id| matches!(plan.decision(id), Decision::After(_));
    for (id, copy) in copies.into_iter().filter(|(id, _)| waits(*id)) {
        taker.forget(id);
        if let FileSource::Context(context) = copy.from {
            engine.context(context).forget_listings();
        }
    }
    plan
}

fn decide(
    graph: &Graph,
    id: VertexId,
    vertex: &Vertex,
    engine: &Engine<'_>,
    taker: &Taker<'_>,
    plan: &GraphPlan,
) -> Decision {
    if let Op::Image(image) = &vertex.op {
        if let Some(error) = missing_base(engine, image) {
            return Decision::Broken(Arc::new(error));
        }
        let layers = cache::corrected(engine, &image.layers);
        return Decision::Reuse(Arc::new(Filesystem::new(layers)));
    }
    for input in vertex.inputs() {
        if !matches!(plan.decision(input), Decision::Reuse(_)) {
            let known = known_ahead(graph, id, vertex, engine, taker, plan);
            return known.unwrap_or(Decision::After(input));
        }
    }
    let known = |input: VertexId| match plan.decision(input) {
        Decision::Reuse(filesystem) => filesystem.clone(),
        _ => unreachable!("all inputs are known"),
    };
    let inputs = match taker.inputs(engine, id, vertex, &known) {
        Ok(inputs) => inputs,
        Err(StepError::Unseen { of }) => return Decision::After(of),
        Err(error) => return Decision::Broken(Arc::new(error)),
    };
    match found(engine, vertex, &inputs, &known) {
        Some(decision) => decision,
        None => Decision::Run(cause(engine, taker, id, vertex, &inputs, &known)),
    }
}

/// The result of a vertex with these inputs, if it is there.
fn found(
    engine: &Engine<'_>,
    vertex: &Vertex,
    inputs: &KeyInputs,
    result_of: &ResultOf<'_>,
) -> Option<Decision> {
    let layer = match is_forced(engine, vertex) {
        true => None,
        false => look_up(engine, &inputs.key()),
    }?;
    let base = vertex.base.vertex().map(result_of);
    let base = base.as_deref().cloned().unwrap_or_else(Filesystem::scratch);
    Some(Decision::Reuse(Arc::new(base.with(layer))))
}

/// The result of a vertex that copies from one that must run, where the files that it copies are
/// there all the same and lead to a result. If they do not, it waits like others.
fn known_ahead(
    graph: &Graph,
    id: VertexId,
    vertex: &Vertex,
    engine: &Engine<'_>,
    taker: &Taker<'_>,
    plan: &GraphPlan,
) -> Option<Decision> {
    let mut there: BTreeMap<VertexId, Arc<Filesystem>> = BTreeMap::new();
    for input in vertex.inputs() {
        let filesystem = match plan.decision(input) {
            Decision::Reuse(filesystem) => filesystem.clone(),
            _ => ahead::same_files(graph, engine, plan, vertex, input)?,
        };
        there.insert(input, filesystem);
    }
    let result_of = |input: VertexId| there[&input].clone();
    let inputs = taker.inputs(engine, id, vertex, &result_of).ok();
    let found = inputs.and_then(|inputs| found(engine, vertex, &inputs, &result_of));
    if found.is_none() {
        // It will take them from the filesystem that is made.
        taker.forget(id);
    }
    found
}

/// Why the files of a base are not to be had, if that turned out.
pub(crate) fn missing_base(engine: &Engine<'_>, image: &BaseImage) -> Option<StepError> {
    let reason = cache::missing_base(engine, &image.layers)?;
    let image = image.name.clone();
    Some(StepError::Base { image, reason })
}

/// What differs in the steps that a vertex builds on, although each was found: some are those of
/// an earlier build than the last one.
fn cause_below(
    graph: &Graph,
    vertex: &Vertex,
    engine: &Engine<'_>,
    taker: &Taker<'_>,
    plan: &GraphPlan,
) -> Option<Cause> {
    let is_there = |input: &VertexId| matches!(plan.decision(*input), Decision::Reuse(_));
    let known = |input: VertexId| match plan.decision(input) {
        Decision::Reuse(filesystem) => filesystem.clone(),
        _ => unreachable!("nothing else is asked for"),
    };
    let mut next = vertex.base.vertex();
    while let Some(id) = next {
        let below = graph.vertex(id);
        if graph.is_step(id) && below.inputs().iter().all(is_there) {
            let inputs = taker.inputs(engine, id, below, &known).ok()?;
            if let found @ Cause::Changed { .. } = cause(engine, taker, id, below, &inputs, &known)
                && !matches!(&found, Cause::Changed { difference, .. } if difference.input == "base")
            {
                return Some(found);
            }
        }
        next = below.base.vertex();
    }
    None
}

/// Finds the layer that a key stands for: `Some(None)` if it is known to make none. A cache in a
/// registry promises layers whose files are not here yet.
pub(crate) fn look_up(engine: &Engine<'_>, key: &CacheKey) -> Option<Option<RecordLayer>> {
    let Some(record) = engine.store.get_record(key) else {
        return cache::find(engine, key);
    };
    Some(record.snapshot.map(|snapshot| RecordLayer {
        snapshot,
        content: record.content,
    }))
}

/// Why a vertex runs: what differs from the last time that this step of this image ran.
pub(crate) fn cause(
    engine: &Engine<'_>,
    taker: &Taker<'_>,
    id: VertexId,
    vertex: &Vertex,
    inputs: &KeyInputs,
    result_of: &ResultOf<'_>,
) -> Cause {
    if is_forced(engine, vertex) {
        return Cause::Forced;
    }
    let Some(last) = engine.store.get_record(&position(vertex)) else {
        return Cause::New;
    };
    let Some(difference) = inputs.first_difference(&KeyInputs(last.inputs)) else {
        return Cause::Collected;
    };
    let files = match (&vertex.op, last.snapshot) {
        (Op::Copy(copy), Some(snapshot)) if difference.input == "files" => {
            let earlier = engine.store.snapshot_dir(&snapshot);
            taker.changed_files(engine, id, copy, result_of, &earlier)
        }
        _ => Vec::new(),
    };
    Cause::Changed { difference, files }
}

/// Whether a vertex runs whatever the store holds.
pub(crate) fn is_forced(engine: &Engine<'_>, vertex: &Vertex) -> bool {
    engine.settings.no_cache || matches!(&vertex.op, Op::Exec(exec) if exec.ignore_cache)
}

/// The key under which the last run of a step is kept: its place, not its content.
pub(crate) fn position(vertex: &Vertex) -> CacheKey {
    let origin = &vertex.origin;
    let mut hasher = KeyHasher::new("cairn position");
    hasher.field("image", origin.image.as_bytes());
    let file = origin
        .label
        .as_ref()
        .map_or("", |label| label.source.name.as_str());
    hasher.field("file", file.as_bytes());
    hasher.field("stage", origin.stage.as_bytes());
    hasher.number("step", u64::from(origin.step.0));
    hasher.finish_key()
}
