//! What a run would do, image by image, with causes: plain data for people and for CI.

use std::collections::{BTreeMap, BTreeSet};

use cairn_build::engine::Engine;
use cairn_build::event::VertexId;
use cairn_build::image::ImageRecord;
use cairn_build::lower::LoweredImage;
use cairn_build::plan::{Cause, Decision};
use cairn_build::run::Prepared;
use cairn_build::solve::Solved;
use serde::Serialize;

use crate::check::TestPlan;
use crate::decide::Reason;
use crate::target::image_and_platform;

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// The images in the order in which they are built.
    pub images: Vec<ImagePlan>,
    /// How many steps ran already, so that no image is left open.
    #[serde(skip_serializing_if = "is_nothing")]
    pub ran: usize,
    /// How many steps are sure to run.
    pub run: usize,
    /// How many steps wait for another one to be decided.
    pub after: usize,
    /// How many steps are there already.
    pub reuse: usize,
    /// How many layers caches would bring, if there are any caches.
    #[serde(skip_serializing_if = "is_nothing")]
    pub bring: usize,
    /// Their bytes.
    #[serde(skip_serializing_if = "is_nothing_to_move")]
    pub bring_bytes: u64,
}

/// The plan for one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImagePlan {
    /// Its name.
    pub image: String,
    /// The platform.
    pub platform: String,
    /// What it is called in the run.
    #[serde(skip)]
    pub label: String,
    /// What happens to it.
    pub decision: ImageDecision,
    /// Why it is looked at or forced, beyond what its steps say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What is published of it, where somebody could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedPlan>,
    /// Its steps that do not simply come from the store.
    pub steps: Vec<StepPlan>,
    /// What would become of its tests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestPlan>,
}

/// How an image compares with what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedPlan {
    /// The tag that this event would move.
    pub tag: String,
    /// The generation that it means now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Whether the image there is this one; absent while that cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same: Option<bool>,
    /// The first thing that is different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What happens to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageDecision {
    /// At least one of its steps runs.
    Build,
    /// It copies from an image that is built, and what that makes of the files is not known before:
    /// its steps run unless what they copy is as before.
    Maybe,
    /// Everything is there, and the image is the one that was built last.
    Reuse,
    /// Everything is there, but its name means another image: no step runs.
    Retag,
    /// Nothing is known of it, and no change concerns it.
    Skip,
}

/// The plan for one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepPlan {
    /// Which.
    #[serde(skip)]
    pub vertex: VertexId,
    /// Number and count within its stage.
    pub step: (u32, u32),
    /// The instruction.
    pub title: String,
    /// File and line.
    pub place: Option<(String, usize)>,
    /// What happens, and why.
    #[serde(flatten)]
    pub action: StepAction,
}

/// What happens to a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum StepAction {
    /// It runs.
    Run {
        /// Why.
        why: Cause,
        /// The same in words.
        because: String,
    },
    /// It runs unless the step it builds on turns out unchanged.
    After {
        /// The step that decides.
        because: String,
    },
    /// It cannot run.
    Broken {
        /// Why.
        because: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_nothing(number: &usize) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_nothing_to_move(number: &u64) -> bool {
    *number == 0
}

/// Tells what a prepared run will do.
pub fn report(prepared: &Prepared<'_>, engine: &Engine<'_>) -> PlanReport {
    let mut seen = BTreeSet::new();
    let images = prepared.lowered.images.iter().map(|image| {
        let plan = image_plan(prepared, image, &seen);
        seen.extend(prepared.vertices_of(image));
        plan
    });
    let images = images.collect();
    let graph = &prepared.lowered.graph;
    let count = |is: fn(&Decision) -> bool| {
        let steps = prepared.plan.iter().filter(|(id, _)| graph.is_step(*id));
        steps.filter(|(_, decision)| is(decision)).count()
    };
    let (bring, bring_bytes) = prepared.to_bring(engine);
    PlanReport {
        images,
        ran: 0,
        run: count(|decision| matches!(decision, Decision::Run(_))),
        after: count(|decision| matches!(decision, Decision::After(_))),
        reuse: count(|decision| matches!(decision, Decision::Reuse(_))),
        bring,
        bring_bytes,
    }
}

impl PlanReport {
    /// What the images that are not decided are called in the run.
    pub fn open(&self) -> Vec<&str> {
        let images = self.images.iter();
        let open = images.filter(|image| image.decision == ImageDecision::Maybe);
        open.map(|image| image.label.as_str()).collect()
    }

    /// The same plan with what the steps have shown that ran: `later` is the plan after them. An
    /// image that was to be built is still one that differs from what was built last, and so is one
    /// of whose own steps some ran meanwhile, for another that copies from it.
    pub fn settle(&mut self, later: &Self, prepared: &Prepared<'_>, solved: &Solved) {
        (self.ran, self.after, self.reuse) = (solved.ran(), later.after, later.reuse);
        self.run = later.run;
        let ran = solved.causes();
        for image in &mut self.images {
            let now = later.images.iter().find(|it| it.label == image.label);
            let Some(now) = now.filter(|_| image.decision == ImageDecision::Maybe) else {
                continue;
            };
            let mut lowered = prepared.lowered.images.iter();
            let lowered = lowered.find(|it| it.name == image.label);
            let parts = lowered.map(|it| prepared.parts_of(it)).unwrap_or_default();
            image.decision = match parts.iter().any(|id| ran.contains_key(id)) {
                true => ImageDecision::Build,
                false => now.decision,
            };
            match image.decision {
                ImageDecision::Reuse => image.steps.clear(),
                _ => image
                    .steps
                    .iter_mut()
                    .for_each(|step| step.settle(now, &ran)),
            }
        }
    }
}

impl StepPlan {
    /// Says that the step runs, where that is known by now, and what it was that decided it.
    fn settle(&mut self, now: &ImagePlan, ran: &BTreeMap<VertexId, &Cause>) {
        let step = now.steps.iter().find(|it| it.vertex == self.vertex);
        let runs = match step.map(|it| &it.action) {
            Some(StepAction::Run { why, .. }) => Some(why),
            _ => ran.get(&self.vertex).copied(),
        };
        if let (StepAction::After { because: first }, Some(why)) = (&self.action, runs) {
            self.action = StepAction::Run {
                why: why.clone(),
                because: format!("{}; {first}", in_words(why)),
            };
        }
    }
}

/// Steps that an earlier image lists already are not told again; they still decide.
fn image_plan(
    prepared: &Prepared<'_>,
    image: &LoweredImage,
    told: &BTreeSet<VertexId>,
) -> ImagePlan {
    let open = |id: &VertexId| !matches!(prepared.plan.decision(*id), Decision::Reuse(_));
    let runs =
        |id: &VertexId| open(id) && !matches!(prepared.plan.decision(*id), Decision::After(_));
    let parts = prepared.parts_of(image);
    let decision = if !parts.iter().any(open) {
        ImageDecision::Reuse
    } else if parts.iter().any(runs) {
        ImageDecision::Build
    } else {
        ImageDecision::Maybe
    };
    let steps = match decision {
        ImageDecision::Reuse => BTreeSet::new(),
        _ => prepared.vertices_of(image),
    };
    let steps = steps.into_iter();
    let steps = steps.filter(|id| open(id) && !told.contains(id));
    let steps = steps.map(|id| step_plan(prepared, id)).collect();
    let (name, platform) = image_and_platform(&image.name);
    ImagePlan {
        image: name.to_owned(),
        platform: platform.to_string(),
        label: image.name.clone(),
        decision,
        reasons: Vec::new(),
        published: None,
        steps,
        tests: Vec::new(),
    }
}

/// The images that are there without running anything, by what they are called in the run.
pub fn records(prepared: &Prepared<'_>, engine: &Engine<'_>) -> BTreeMap<String, ImageRecord> {
    let solved = Solved {
        results: prepared.at_hand(),
        ..Solved::default()
    };
    let images = prepared.lowered.images.iter();
    let records = images.filter_map(|image| {
        let is_there = |id: VertexId| matches!(prepared.plan.decision(id), Decision::Reuse(_));
        let all_there = prepared.parts_of(image).into_iter().all(is_there);
        let record = prepared
            .assemble(engine, image, &solved)
            .filter(|_| all_there)?;
        Some((image.name.clone(), record))
    });
    records.collect()
}

fn step_plan(prepared: &Prepared<'_>, id: VertexId) -> StepPlan {
    let origin = &prepared.lowered.graph.vertex(id).origin;
    let action = match prepared.plan.decision(id) {
        Decision::Run(why) => StepAction::Run {
            why: why.clone(),
            because: in_words(why),
        },
        Decision::After(_) if let Some(of) = prepared.plan.unseen(id) => StepAction::After {
            because: format!(
                "nobody has looked yet at the files that it takes of `{}`",
                prepared.lowered.graph.vertex(of).origin.title
            ),
        },
        Decision::After(_) => {
            let root = prepared.plan.root_cause(id);
            let first = &prepared.lowered.graph.vertex(root).origin;
            let mut because = if first.image == origin.image {
                format!("it builds on `{}`", first.title)
            } else {
                format!("it builds on `{}` of {}", first.title, first.image)
            };
            // Within an image the step itself is told above.
            if let Decision::Run(why) = prepared.plan.decision(root)
                && first.image != origin.image
            {
                because.push_str(&format!(": {}", in_words(why)));
            }
            StepAction::After { because }
        }
        Decision::Broken(error) => StepAction::Broken {
            because: error.to_string(),
        },
        Decision::Reuse(_) => unreachable!("only open steps are told"),
    };
    StepPlan {
        vertex: id,
        step: origin.step,
        title: origin.title.clone(),
        place: origin.label.as_ref().map(|label| {
            (
                label.source.name.clone(),
                label.source.position(label.span.start).line,
            )
        }),
        action,
    }
}

/// Says a cause in a phrase that follows "because".
pub fn in_words(cause: &Cause) -> String {
    match cause {
        Cause::Forced => "it was asked to run whatever the store holds".to_owned(),
        Cause::New => "it was never run before".to_owned(),
        Cause::Collected => "its result was collected from the store".to_owned(),
        Cause::Changed { difference, files } => {
            let input = &difference.input;
            match (&difference.old, &difference.new) {
                _ if input == "base" => "what it builds on changed".to_owned(),
                _ if input == "files" && !files.is_empty() => files_in_words(files),
                _ if input == "files" => "the files it takes changed".to_owned(),
                _ if input == "format" => "this version of Cairn builds it differently".to_owned(),
                (None, Some(new)) => format!("{input} is new: {}", short(new)),
                (Some(_), None) => format!("{input} is gone"),
                (Some(old), Some(new)) => {
                    format!("{input} changed from {} to {}", short(old), short(new))
                }
                (None, None) => format!("{input} changed"),
            }
        }
    }
}

fn files_in_words(files: &[String]) -> String {
    const TOLD_MAX: usize = 3;
    let told = files
        .iter()
        .take(TOLD_MAX)
        .map(|file| format!("`{file}`"))
        .collect::<Vec<_>>();
    let more = files.len().saturating_sub(TOLD_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more} changed", told.join(", "))
}

/// A value at a length that fits into a line.
fn short(value: &str) -> String {
    const LONGEST: usize = 60;
    if value.chars().count() <= LONGEST {
        return format!("`{value}`");
    }
    format!("`{}...`", value.chars().take(LONGEST).collect::<String>())
}
