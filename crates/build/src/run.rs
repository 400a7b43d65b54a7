//! One run over a set of images: prepare (lower and plan), then solve and assemble. What belongs to
//! an image is in [`parts`], deciding what a plan leaves open in [`settling`].

mod parts;
mod settling;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cairn_debian::machine;
use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::lint::masked;
use cairn_oci::{Digest, Platform};
use cairn_store::{CacheKey, CacheRecord, SnapshotId, Store, StoreError};

use crate::assemble::assemble;
use crate::cache;
use crate::cache::inline::InlineEntry;
use crate::engine::{Engine, Leaving};
use crate::event::{Event, Outcome, VertexId, VertexInfo};
use crate::failure::StepError;
use crate::filesystem::Filesystem;
use crate::frontend;
use crate::graph::{Fs, Graph, Op, RemoteFile, RepositorySource, Vertex};
use crate::image::record::ImageRecord;
use crate::image::squash::squash;
use crate::key::KeyInputs;
use crate::lint::{self, Warnings};
use crate::lower::{HistoryStep, Lowered, LoweredImage, lower};
use crate::plan::{Cause, Decision, GraphPlan, cause, plan, position};
use crate::request::ImageRequest;
use crate::resolve::ImageSource;
use crate::secrets::Secrets;
use crate::solve::{Solved, SolvedStep, solve};
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

/// What one vertex of an image is made of.
#[derive(Debug, Clone)]
pub struct StepInputs {
    /// Which.
    pub vertex: VertexId,
    /// What enters its key; `None` while something it needs is not known.
    pub inputs: Option<KeyInputs>,
    /// The files that it takes from a context, by name and digest, unless they are very many.
    pub files: Vec<(String, String)>,
}

/// A step that this machine cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignStep {
    /// Which.
    pub vertex: VertexId,
    /// The platform whose programs it runs.
    pub platform: Platform,
}

/// Lowers all images into one graph and decides what must run.
pub fn prepare<'a>(
    requests: &[ImageRequest],
    images: &dyn ImageSource,
    engine: &Engine<'a>,
) -> Result<Prepared<'a>, Vec<Diagnostic>> {
    let lowered = lower(requests, images, &engine.settings.devices)?;
    let refused = refused(&lowered.graph, engine);
    if !refused.is_empty() {
        return Err(refused);
    }
    let warnings = lint::check(requests, images, engine.contexts)?;
    frontend::tell_foreign(requests, engine);
    let taker = Taker::new(engine);
    let plan = plan(&lowered.graph, engine, &taker);
    let mut prepared = Prepared {
        lowered,
        plan,
        warnings,
        taker,
    };
    prepared.give_up(engine);
    Ok(prepared)
}

fn is_all_there(vertex: &Vertex, solved: &Solved) -> bool {
    let mut inputs = vertex.inputs().into_iter();
    inputs.all(|input| solved.results.contains_key(&input))
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
            vertices: infos(&self.lowered.graph, engine),
        });
        let plan = self.with_files(engine);
        solve(&self.lowered.graph, &plan, None, engine, &self.taker)
    }

    /// Plans again without the results that caches only know, where their files are needed.
    fn give_up(&mut self, engine: &Engine<'_>) {
        loop {
            let promises = self.promises(engine, &self.plan, None);
            if !cache::give_up(engine, promises.keys()) {
                return;
            }
            self.plan = plan(&self.lowered.graph, engine, &self.taker);
        }
    }

    /// What caches would bring if the run began now: layers, and their bytes.
    pub fn to_bring(&self, engine: &Engine<'_>) -> (usize, u64) {
        let promises = self.promises(engine, &self.plan, None);
        (promises.len(), promises.values().sum())
    }

    /// The plan with all files here that the run needs. Where a cache breaks a promise, its step
    /// runs.
    fn with_files(&self, engine: &Engine<'_>) -> GraphPlan {
        let mut decided = self.plan.clone();
        loop {
            let promises = self.promises(engine, &decided, None);
            if promises.is_empty() {
                return decided;
            }
            match cache::bring(engine, promises.into_keys().collect()) {
                Ok(kept) => decided.keep_promises(&kept),
                Err(cache::BrokenPromise) => {
                    decided = plan(&self.lowered.graph, engine, &self.taker);
                }
            }
        }
    }

    /// The promises that a run needs kept, with the bytes of each: those of its images, and of what
    /// steps take that run. Where only some steps are `wanted`, of what these take.
    ///
    /// Of an image that only leaves, layers of its base may stay where they are.
    fn promises(
        &self,
        engine: &Engine<'_>,
        plan: &GraphPlan,
        wanted: Option<&BTreeSet<VertexId>>,
    ) -> BTreeMap<SnapshotId, u64> {
        let Leaving {
            images: leaving,
            compression,
        } = &engine.settings.leaving;
        let images = self.lowered.images.iter().filter(|_| wanted.is_none());
        let (leaving, here): (Vec<_>, Vec<_>) =
            images.partition(|image| leaving.contains(&image.name));
        let here = here.into_iter().flat_map(parts::results).collect();
        let here = self.needed(plan, wanted, here);
        let mut promises = cache::promises(engine, here.iter().map(Arc::as_ref));
        let leaving = leaving.into_iter().flat_map(parts::results);
        let leaving = leaving.filter_map(|id| match plan.decision(id) {
            Decision::Reuse(filesystem) => Some(&**filesystem),
            _ => None,
        });
        for (snapshot, bytes) in cache::promises(engine, leaving) {
            let stays = cache::absent(engine, &snapshot)
                .is_some_and(|it| it.blob.media_type.layer_compression() == Some(*compression));
            if !stays {
                promises.insert(snapshot, bytes);
            }
        }
        promises
    }

    /// The filesystems whose files are needed: of these vertices, and of what steps take that run.
    fn needed(
        &self,
        plan: &GraphPlan,
        wanted: Option<&BTreeSet<VertexId>>,
        mut needed: BTreeSet<VertexId>,
    ) -> Vec<Arc<Filesystem>> {
        for (id, decision) in plan.iter() {
            let is_wanted = wanted.is_none_or(|wanted| wanted.contains(&id));
            if is_wanted && !matches!(decision, Decision::Reuse(_)) {
                needed.extend(self.lowered.graph.vertex(id).inputs());
            }
        }
        let decisions = needed.into_iter().map(|id| plan.decision(id));
        let there = decisions.filter_map(|decision| match decision {
            Decision::Reuse(filesystem) => Some(filesystem.clone()),
            _ => None,
        });
        there.collect()
    }

    /// Puts together one image of the run, if its filesystem was built.
    pub fn assemble(
        &self,
        engine: &Engine<'_>,
        image: &LoweredImage,
        solved: &Solved,
    ) -> Option<ImageRecord> {
        let is_scanned = |generator| solved.results.contains_key(&generator);
        if !image.scan.generator.is_none_or(is_scanned) {
            return None;
        }
        let mut record = assemble(image, &self.lowered.graph, &solved.results)?;
        let layers = record.layers.iter();
        let absent = layers.filter_map(|layer| {
            let absent = cache::absent(engine, &layer.snapshot)?;
            Some((layer.snapshot, absent))
        });
        record.absent = absent.collect();
        Some(record)
    }

    /// Makes one layer of what a run put on an image's base, if that was asked for.
    pub fn squash(
        &self,
        store: &Store,
        image: &LoweredImage,
        solved: &Solved,
        record: &mut ImageRecord,
    ) -> Result<(), StoreError> {
        if !image.squash {
            return Ok(());
        }
        let graph = &self.lowered.graph;
        let mut lowest = image.fs;
        while let Some(base) = lowest.vertex().map(|vertex| graph.vertex(vertex).base)
            && base != Fs::Scratch
        {
            lowest = base;
        }
        let brought = |vertex: VertexId| match graph.vertex(vertex).op {
            Op::Image(_) => solved.results.get(&vertex).map(|found| found.layers.len()),
            _ => None,
        };
        let below = lowest.vertex().and_then(brought).unwrap_or(0);
        let is_own = |step: &&HistoryStep| matches!(step, HistoryStep::Own { .. });
        let own = image.history.iter().filter(is_own).count();
        squash(store, record, below, own)
    }

    /// The digest of a file that an `ADD` took from the web.
    pub(crate) fn fetched(
        &self,
        engine: &Engine<'_>,
        remote: &RemoteFile,
    ) -> Result<Digest, StepError> {
        match &remote.checksum {
            Some(checksum) => Ok(checksum.clone()),
            None => Ok(self.taker.download(engine, remote)?.digest),
        }
    }

    /// The commit that an `ADD` took files of.
    pub(crate) fn commit(
        &self,
        engine: &Engine<'_>,
        source: &RepositorySource,
    ) -> Result<String, StepError> {
        self.taker.commit(engine, source)
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

    /// What an image is made of, as far as `results` tell: its bases and its steps in order, each
    /// with its inputs.
    pub fn inputs_of(
        &self,
        engine: &Engine<'_>,
        image: &LoweredImage,
        results: &HashMap<VertexId, Arc<Filesystem>>,
    ) -> Vec<StepInputs> {
        let result_of = |input: VertexId| results[&input].clone();
        let steps = self.vertices_of(image).into_iter().map(|id| {
            let vertex = self.lowered.graph.vertex(id);
            let is_there = vertex.inputs().iter().all(|it| results.contains_key(it));
            let is_known = match &vertex.op {
                Op::Image(_) => results
                    .get(&id)
                    .is_some_and(|it| !cache::has_stand_in(engine, &it.layers)),
                _ => true,
            };
            let inputs = match is_there && is_known {
                true => self.taker.inputs(engine, id, vertex, &result_of).ok(),
                false => None,
            };
            let files = match (&vertex.op, &inputs) {
                (Op::Copy(copy), Some(_)) => self.taker.files(engine, id, copy, &result_of),
                _ => Vec::new(),
            };
            StepInputs {
                vertex: id,
                inputs,
                files,
            }
        });
        steps.collect()
    }

    /// The key of each step that has a result, by its vertex; `steps` are those that were looked
    /// at while running.
    pub fn keys(
        &self,
        engine: &Engine<'_>,
        steps: &[SolvedStep],
    ) -> Result<BTreeMap<VertexId, CacheKey>, StepError> {
        let at_hand = self.at_hand();
        let result_of = |input: VertexId| at_hand[&input].clone();
        let graph = &self.lowered.graph;
        let mut keys = BTreeMap::new();
        for (id, vertex) in graph.iter() {
            let is_known = vertex.inputs().iter().all(|it| at_hand.contains_key(it));
            if is_known && at_hand.contains_key(&id) && graph.is_step(id) {
                let inputs = self.taker.inputs(engine, id, vertex, &result_of)?;
                keys.insert(id, inputs.key());
            }
        }
        for step in steps {
            keys.extend(
                step.inputs
                    .as_ref()
                    .map(|inputs| (step.vertex, inputs.key())),
            );
        }
        Ok(keys)
    }

    /// The keys of what steps took from files of others: with them, a plan needs no file to know.
    pub fn keys_of_files(&self) -> Vec<CacheKey> {
        self.taker.remembered_keys()
    }

    /// The results that an image can carry: one for each step that it consists of; and what is known
    /// of the steps beside, and of the files that it takes from them.
    pub fn inline(
        &self,
        engine: &Engine<'_>,
        image: &LoweredImage,
        solved: &Solved,
    ) -> Result<Vec<InlineEntry>, StepError> {
        let keys = self.keys(engine, &solved.steps)?;
        let graph = &self.lowered.graph;
        let chain = self.chain_of(image);
        let layers = |id: VertexId| solved.results.get(&id).map(|result| result.layers.len());
        let mut entries = Vec::new();
        for id in self.vertices_of(image) {
            let (Some(key), Some(result)) = (keys.get(&id), solved.results.get(&id)) else {
                continue;
            };
            let below = graph.vertex(id).base.vertex().map_or(Some(0), layers);
            let layer = result
                .layers
                .last()
                .filter(|_| below < Some(result.layers.len()));
            let is_held = chain.contains(&id);
            entries.push(InlineEntry {
                key: *key,
                content: layer.map_or(result.content, |layer| layer.content),
                layer: layer.filter(|_| is_held).map(|_| result.layers.len() - 1),
                only_known: layer.is_some() && !is_held,
            });
        }
        entries.extend(self.inline_files(engine, image, solved)?);
        Ok(entries)
    }

    /// What the steps of an image take from files of others.
    fn inline_files(
        &self,
        engine: &Engine<'_>,
        image: &LoweredImage,
        solved: &Solved,
    ) -> Result<Vec<InlineEntry>, StepError> {
        // The run's own taker remembers what its other images took, too.
        let taker = Taker::new(engine);
        let result_of = |input: VertexId| solved.results[&input].clone();
        for id in self.vertices_of(image) {
            let vertex = self.lowered.graph.vertex(id);
            if vertex.takes_from_steps() && is_all_there(vertex, solved) {
                taker.inputs(engine, id, vertex, &result_of)?;
            }
        }
        let keys = taker.remembered_keys().into_iter();
        let entries = keys.filter_map(|key| {
            let record = engine.store.get_record(&key)?;
            Some(InlineEntry {
                key,
                content: record.content,
                layer: None,
                only_known: false,
            })
        });
        Ok(entries.collect())
    }

    /// What differs in the steps of an image from when it was built last, although each of them was
    /// found: they are those of an earlier build.
    pub fn unlike_last(&self, image: &LoweredImage, engine: &Engine<'_>) -> Option<Cause> {
        let at_hand = self.at_hand();
        let result_of = |input: VertexId| at_hand[&input].clone();
        let graph = &self.lowered.graph;
        let steps = self.vertices_of(image).into_iter().filter(|id| {
            let inputs = graph.vertex(*id).inputs();
            graph.is_step(*id) && inputs.iter().all(|it| at_hand.contains_key(it))
        });
        let mut causes = steps.filter_map(|id| {
            let vertex = graph.vertex(id);
            let inputs = self.taker.inputs(engine, id, vertex, &result_of).ok()?;
            Some(cause(engine, &self.taker, id, vertex, &inputs, &result_of))
        });
        causes.find(
            |it| matches!(it, Cause::Changed { difference, .. } if difference.input != "base"),
        )
    }

    /// Makes the steps that were found for an image count as those that ran last: the next plan
    /// compares with what the image is now, not with what was built in between.
    pub fn remember(
        &self,
        image: &LoweredImage,
        solved: &Solved,
        engine: &Engine<'_>,
    ) -> Result<(), StoreError> {
        let result_of = |input: VertexId| solved.results[&input].clone();
        let graph = &self.lowered.graph;
        for id in self.vertices_of(image) {
            let ran = solved.steps.iter().find(|step| step.vertex == id);
            let has_run = ran.is_some_and(|step| matches!(step.outcome, Outcome::Done { .. }));
            let vertex = graph.vertex(id);
            if has_run || !graph.is_step(id) || !is_all_there(vertex, solved) {
                continue;
            }
            let Ok(inputs) = self.taker.inputs(engine, id, vertex, &result_of) else {
                continue;
            };
            let place = position(vertex);
            let last = engine.store.get_record(&place);
            if last.is_some_and(|last| last.inputs == inputs.0) {
                continue;
            }
            if let Some(record) = engine.store.get_record(&inputs.key()) {
                let record = CacheRecord {
                    key: place,
                    ..record
                };
                engine.store.put_record(&record)?;
            }
        }
        Ok(())
    }

    /// The steps that will run, or may, and are for a platform whose programs cannot run here.
    pub fn foreign(&self, can_run: &dyn Fn(&Platform) -> bool) -> Vec<ForeignStep> {
        let steps = self.plan.iter().filter(|(id, decision)| {
            let op = &self.lowered.graph.vertex(*id).op;
            let is_open = !matches!(decision, Decision::Reuse(_) | Decision::Broken(_));
            is_open && matches!(op, Op::Exec(_) | Op::Debian(_))
        });
        let platforms = steps.map(|(id, _)| (id, self.platform_of(id)));
        let foreign = platforms.filter_map(|(id, platform)| Some((id, platform?)));
        let foreign = foreign.filter(|(_, platform)| !can_run(platform));
        foreign
            .map(|(vertex, platform)| ForeignStep { vertex, platform })
            .collect()
    }

    /// The platform whose programs a vertex has: that of what it lies on. Files on nothing are for
    /// the platform of the image that they were first needed for.
    fn platform_of(&self, vertex: VertexId) -> Option<Platform> {
        let graph = &self.lowered.graph;
        let mut lowest = graph.vertex(vertex);
        while let Some(below) = lowest.base.vertex() {
            lowest = graph.vertex(below);
        }
        match &lowest.op {
            Op::Image(image) => Some(image.platform.clone()),
            Op::Debian(base) => Some(Platform::new("linux", machine(&base.lock.arch))),
            _ => {
                let mut images = self.lowered.images.iter();
                let image = images.find(|image| image.name == lowest.origin.image)?;
                Some(image.platform.clone())
            }
        }
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
fn infos(graph: &Graph, engine: &Engine<'_>) -> Vec<VertexInfo> {
    let secrets = Secrets::new(engine.settings.secrets.values().map(Vec::as_slice));
    graph
        .iter()
        .filter(|(id, _)| graph.is_step(*id))
        .map(|(id, vertex)| VertexInfo {
            id,
            image: vertex.origin.image.clone(),
            stage: vertex.origin.stage.clone(),
            step: vertex.origin.step,
            title: secrets.mask(&masked(&vertex.origin.title)),
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
