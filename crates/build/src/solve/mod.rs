//! Runs what the plan says must run: in parallel, in order, to the end or to a failure.
//!
//! Each worker thread takes a ready vertex, looks its key up once more (its inputs may have
//! turned out unchanged, or another process may have built it), runs it if need be, and commits
//! the snapshot. One lock guards the queue and the results; workers hold it for moments only.
//!
//! A result whose content equals an earlier one *is* the earlier one: the new snapshot is dropped
//! and the old one used, so that everything after finds its record (early cutoff).

mod agent;
mod caches;
mod copy;
mod debian;
mod directory;
mod exec;
mod lines;
mod mounts;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cairn_store::{CacheKey, CacheRecord, SnapshotId, WorkLock};

use crate::cache;
use crate::engine::Engine;
use crate::event::{Event, Outcome, VertexId};
use crate::failure::{Failure, StepError};
use crate::filesystem::Filesystem;
use crate::graph::{Graph, Op, Vertex};
use crate::image::record::RecordLayer;
use crate::key::KeyInputs;
use crate::plan::{Cause, Decision, GraphPlan, cause, is_forced, look_up, missing_base, position};
use crate::take::Taker;
pub(crate) use caches::{move_children, own};
use queue::Queue;

/// What a run left behind.
#[derive(Debug, Default)]
pub struct Solved {
    /// The filesystem of each vertex that has one.
    pub results: HashMap<VertexId, Arc<Filesystem>>,
    /// What failed, in the order in which it did.
    pub failures: Vec<Failure>,
    /// What never ran, and why.
    pub skipped: BTreeMap<VertexId, String>,
    /// What every vertex that was looked at came to, for the history.
    pub steps: Vec<SolvedStep>,
}

impl Solved {
    /// How many steps ran to their end.
    pub fn ran(&self) -> usize {
        let is_done = |step: &&SolvedStep| matches!(step.outcome, Outcome::Done { .. });
        self.steps.iter().filter(is_done).count()
    }

    /// The steps that ran to their end, with why they did.
    pub fn causes(&self) -> BTreeMap<VertexId, &Cause> {
        let causes = self.steps.iter();
        let causes = causes.filter_map(|step| Some((step.vertex, step.cause.as_ref()?)));
        causes.collect()
    }
}

/// How one vertex went.
#[derive(Debug, Clone)]
pub struct SolvedStep {
    /// Which.
    pub vertex: VertexId,
    /// Its key and inputs, if they were known.
    pub inputs: Option<KeyInputs>,
    /// Why it ran, if it did and came to its end.
    pub cause: Option<Cause>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran.
    pub elapsed: Duration,
}

/// Runs the vertices that the plan leaves open; where only some are `wanted`, those, which must
/// have everything among them that they need.
pub(crate) fn solve(
    graph: &Graph,
    plan: &GraphPlan,
    wanted: Option<&BTreeSet<VertexId>>,
    engine: &Engine<'_>,
    taker: &Taker<'_>,
) -> Solved {
    let mut solved = Solved::default();
    let mut open = BTreeMap::new();
    for (id, decision) in plan.iter() {
        match decision {
            Decision::Reuse(filesystem) => {
                solved.results.insert(id, filesystem.clone());
                if graph.is_step(id) && wanted.is_none() {
                    emit_finished(engine, id, Outcome::Cached, Duration::ZERO);
                }
            }
            Decision::Run(_) | Decision::After(_) | Decision::Broken(_) => {
                if wanted.is_none_or(|wanted| wanted.contains(&id)) {
                    open.insert(id, graph.vertex(id).inputs());
                }
            }
        }
    }
    if open.is_empty() {
        return solved;
    }
    let workers = engine.settings.jobs.clamp(1, open.len());
    let run = Run {
        graph,
        engine,
        taker,
        state: Mutex::new(State {
            queue: Queue::new(&open),
            solved,
        }),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| run.work());
        }
    });
    run.state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .solved
}

struct State {
    queue: Queue,
    solved: Solved,
}

struct Run<'a> {
    graph: &'a Graph,
    engine: &'a Engine<'a>,
    taker: &'a Taker<'a>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What running a vertex gave.
struct Ran {
    filesystem: Arc<Filesystem>,
    inputs: KeyInputs,
    outcome: Outcome,
    cause: Option<Cause>,
}

impl Run<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(id) = self.next() {
            let vertex = self.graph.vertex(id);
            let started = Instant::now();
            let ran = self.vertex(id, vertex);
            self.finish(id, vertex, ran, started.elapsed());
        }
    }

    /// Waits for a vertex that can run; `None` when there will be no more.
    fn next(&self) -> Option<VertexId> {
        let mut state = self.lock();
        loop {
            if self.engine.cancel.is_cancelled() {
                self.give_up(&mut state, "the run was stopped");
            }
            if let Some(id) = state.queue.start_next() {
                return Some(id);
            }
            if state.queue.is_over() {
                self.changed.notify_all();
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn vertex(&self, id: VertexId, vertex: &Vertex) -> Result<Ran, StepError> {
        if let Op::Image(image) = &vertex.op
            && let Some(error) = missing_base(self.engine, image)
        {
            return Err(error);
        }
        let known: HashMap<VertexId, Arc<Filesystem>> = {
            let state = self.lock();
            vertex
                .inputs()
                .into_iter()
                .filter_map(|input| Some((input, state.solved.results.get(&input)?.clone())))
                .collect()
        };
        let result_of = |input: VertexId| known[&input].clone();
        let base = vertex.base.vertex().map(result_of);
        let base = base.unwrap_or_else(|| Arc::new(Filesystem::scratch()));
        let inputs = self.taker.inputs(self.engine, id, vertex, &result_of)?;
        let key = inputs.key();
        let is_forced = is_forced(self.engine, vertex);
        let cached = || {
            let layer = look_up(self.engine, &key).filter(|_| !is_forced)?;
            // Whatever comes after needs the files.
            cache::brought(self.engine, &Arc::new(base.with(layer))).ok()
        };
        let hit = |filesystem, inputs| Ran {
            filesystem,
            inputs,
            outcome: Outcome::Cached,
            cause: None,
        };
        if let Some(filesystem) = cached() {
            return Ok(hit(filesystem, inputs));
        }
        let _turn = match is_forced {
            true => None,
            false => Some(self.wait_for_others(vertex, &key)?),
        };
        // Whoever had the turn before has left a result, or failed.
        if let Some(filesystem) = cached() {
            return Ok(hit(filesystem, inputs));
        }
        let cause = cause(self.engine, self.taker, id, vertex, &inputs, &result_of);

        self.engine.events.emit(Event::Started { vertex: id });
        let started = Instant::now();
        let made = self.execute(id, vertex, &base, &result_of)?;
        let cost = started.elapsed();
        let (layer, unchanged) = self.settle(&base, made)?;
        let record = CacheRecord {
            key,
            snapshot: layer.as_ref().map(|layer| layer.snapshot),
            content: layer.as_ref().map_or(base.content, |layer| layer.content),
            cost_ms: u64::try_from(cost.as_millis()).unwrap_or(u64::MAX),
            description: vertex.origin.title.clone(),
            inputs: inputs.0.clone(),
            created: now(),
        };
        self.engine.store.put_record(&record)?;
        self.engine.store.put_record(&CacheRecord {
            key: position(vertex),
            ..record
        })?;
        let filesystem = Arc::new(base.with(layer));
        Ok(Ran {
            filesystem,
            inputs,
            outcome: Outcome::Done { unchanged },
            cause: Some(cause),
        })
    }

    /// Takes the right to do the work of a key, which another process may be doing.
    fn wait_for_others(&self, vertex: &Vertex, key: &CacheKey) -> Result<WorkLock, StepError> {
        let mut is_told = false;
        let mut keep_waiting = || {
            if !is_told {
                is_told = true;
                let title = &vertex.origin.title;
                self.engine.events.emit(Event::Notice {
                    warning: false,
                    text: format!("waiting for another build that runs `{title}`"),
                });
            }
            !self.engine.cancel.is_cancelled()
        };
        let turn = self.engine.store.lock_work(key, &mut keep_waiting)?;
        turn.ok_or(StepError::Cancelled)
    }

    fn execute(
        &self,
        id: VertexId,
        vertex: &Vertex,
        base: &Filesystem,
        result_of: &(dyn Fn(VertexId) -> Arc<Filesystem> + Sync),
    ) -> Result<Option<SnapshotId>, StepError> {
        let step = Step {
            id,
            base,
            engine: self.engine,
            taker: self.taker,
            result_of,
        };
        match &vertex.op {
            Op::Exec(exec) => exec::run(&step, exec),
            Op::Copy(copy) => copy::run(&step, copy),
            Op::MakeDir(dir) => directory::run(&step, dir),
            Op::Debian(base) => debian::run(&step, base),
            Op::Image(_) => unreachable!("an image is there, or its files cannot be had"),
        }
    }

    /// Gives a new snapshot its place: the earlier one of equal content, if there is one.
    fn settle(
        &self,
        base: &Filesystem,
        made: Option<SnapshotId>,
    ) -> Result<(Option<RecordLayer>, bool), StepError> {
        let Some(snapshot) = made else {
            return Ok((None, false));
        };
        let store = self.engine.store;
        let content = store.snapshot_content(&snapshot)?;
        if let Some(earlier) = store.find_equal(&base.content, &content)
            && earlier != snapshot
        {
            store.discard_snapshot(&snapshot)?;
            return Ok((
                Some(RecordLayer {
                    snapshot: earlier,
                    content,
                }),
                true,
            ));
        }
        store.put_equal(&base.content, &content, &snapshot)?;
        Ok((Some(RecordLayer { snapshot, content }), false))
    }

    fn finish(
        &self,
        id: VertexId,
        vertex: &Vertex,
        ran: Result<Ran, StepError>,
        elapsed: Duration,
    ) {
        let mut state = self.lock();
        let (outcome, inputs, cause) = match ran {
            Ok(ran) => {
                state.solved.results.insert(id, ran.filesystem);
                state.queue.finish(id);
                (ran.outcome, Some(ran.inputs), ran.cause)
            }
            Err(error) => (
                self.fail(&mut state, id, vertex, &error, elapsed),
                None,
                None,
            ),
        };
        let elapsed = if outcome == Outcome::Cached {
            Duration::ZERO
        } else {
            elapsed
        };
        emit_finished(self.engine, id, outcome.clone(), elapsed);
        state.solved.steps.push(SolvedStep {
            vertex: id,
            inputs,
            cause,
            outcome,
            elapsed,
        });
        self.changed.notify_all();
    }

    fn fail(
        &self,
        state: &mut State,
        id: VertexId,
        vertex: &Vertex,
        error: &StepError,
        elapsed: Duration,
    ) -> Outcome {
        let lost = state.queue.fail(id);
        if matches!(error, StepError::Cancelled) {
            let reason = "the run was stopped";
            self.skip(state, lost, reason);
            return Outcome::Skipped {
                reason: reason.to_owned(),
            };
        }
        let title = &vertex.origin.title;
        self.skip(
            state,
            lost,
            &format!("`{title}` of {} failed", vertex.origin.image),
        );
        let log = exec::log_path(self.engine, id);
        let failure = Failure::new(id, vertex, error, log, elapsed);
        let reason = failure.diagnostic.message.clone();
        state.solved.failures.push(failure);
        if self.engine.settings.fail_fast {
            self.give_up(state, "another step failed, and --fail-fast was given");
            self.engine.cancel.cancel();
        }
        Outcome::Failed { reason }
    }

    fn give_up(&self, state: &mut State, reason: &str) {
        let lost = state.queue.drain();
        self.skip(state, lost, reason);
    }

    fn skip(&self, state: &mut State, lost: Vec<VertexId>, reason: &str) {
        for id in lost {
            let outcome = Outcome::Skipped {
                reason: reason.to_owned(),
            };
            emit_finished(self.engine, id, outcome, Duration::ZERO);
            state.solved.skipped.insert(id, reason.to_owned());
        }
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn emit_finished(engine: &Engine<'_>, vertex: VertexId, outcome: Outcome, elapsed: Duration) {
    engine.events.emit(Event::Finished {
        vertex,
        outcome,
        elapsed,
    });
}

/// What an executor gets.
struct Step<'a> {
    id: VertexId,
    base: &'a Filesystem,
    engine: &'a Engine<'a>,
    taker: &'a Taker<'a>,
    result_of: &'a (dyn Fn(VertexId) -> Arc<Filesystem> + Sync),
}
