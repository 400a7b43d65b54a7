//! One stack with two stores - one that remembers, one that builds from nothing - and what a plan
//! says of a change of it, held against both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::layouts::{FileChange, Layout};
use super::mutation::Mutation;
use super::stack::Stack;
use super::sum::Sum;
use crate::bench::{BASE, Random, write_base};
use crate::command;
use crate::error::ChoreError;

/// The store that remembers.
const REMEMBERING: &str = "remembering";

/// What is built.
#[derive(Debug)]
pub(super) enum Subject {
    /// A stack that is made up.
    MadeUp(Stack),
    /// A layout as a team has it, imported.
    Layout(Layout),
}

/// A stack and its stores.
pub(super) struct Trial<'a> {
    program: &'a Path,
    place: PathBuf,
    subject: Subject,
    /// The content of each image after the last build.
    contents: BTreeMap<String, String>,
}

/// A change, with what is to be said of it.
enum Change {
    MadeUp(Mutation),
    File(FileChange),
}

/// An image that was built.
struct Built {
    content: String,
    ran: u64,
}

/// What a plan says of one image.
struct Decided<'a> {
    image: &'a Value,
    name: String,
    decision: String,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        program: &'a Path,
        place: &Path,
        subject: Subject,
    ) -> Result<Self, ChoreError> {
        let mut trial = Self {
            program,
            place: place.to_owned(),
            subject,
            contents: BTreeMap::new(),
        };
        let layout = format!("oci:{}", write_base(&place.join("base"))?.display());
        let folder = trial.place.join("stack");
        let bases = match &trial.subject {
            Subject::MadeUp(stack) => {
                stack.write(&folder)?;
                &[BASE][..]
            }
            Subject::Layout(layout) => {
                layout.write(&folder)?;
                layout.bases
            }
        };
        for store in [REMEMBERING, "from-nothing"] {
            for base in bases {
                trial.cairn(store, &["load", "-t", base, &layout])?;
            }
        }
        if matches!(trial.subject, Subject::Layout(_)) {
            trial.cairn(REMEMBERING, &["import", "."])?;
        }
        let built = trial.build(REMEMBERING, &[])?.into_iter();
        trial.contents = built.map(|(name, it)| (name, it.content)).collect();
        Ok(trial)
    }

    fn cairn(&self, store: &str, arguments: &[&str]) -> Result<String, ChoreError> {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env("CAIRN_HOME", self.place.join(store))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .current_dir(self.place.join("stack"));
        command::capture(&mut command)
    }

    /// The platforms to ask for: all that the stack has, if it has nothing to run.
    fn platforms(&self) -> &'static [&'static str] {
        match &self.subject {
            Subject::MadeUp(stack) if stack.is_for_platforms => {
                &["--platform", "linux/amd64,linux/arm64"]
            }
            _ => &[],
        }
    }

    fn build(&self, store: &str, more: &[&str]) -> Result<BTreeMap<String, Built>, ChoreError> {
        let all = ["build", "--json", "--offline", "--progress", "quiet"];
        let arguments = [&all[..], self.platforms(), more].concat();
        let report = json(&self.cairn(store, &arguments)?);
        let images = report["images"].as_array().cloned().unwrap_or_default();
        let built = images.iter().map(|image| {
            let built = Built {
                content: text(&image["content"]),
                ran: image["steps_ran"].as_u64().unwrap_or(u64::MAX),
            };
            (called(image), built)
        });
        Ok(built.collect())
    }

    fn plan(&self, store: &str, more: &[&str]) -> Result<Value, ChoreError> {
        let all = ["plan", "--json", "--offline"];
        let arguments = [&all[..], self.platforms(), more].concat();
        Ok(json(&self.cairn(store, &arguments)?))
    }

    /// A plan that may run what decides, in a copy of the store: the build that follows is to run
    /// what the plan said before.
    fn settled(&self) -> Result<Value, ChoreError> {
        let (from, to) = (self.place.join(REMEMBERING), self.place.join("settling"));
        let mut copy = Command::new("cp");
        command::run(copy.arg("-a").arg(&from).arg(&to))?;
        let plan = self.plan("settling", &["--settle"]);
        let mut remove = Command::new("rm");
        command::run(remove.arg("-rf").arg(&to))?;
        plan
    }

    /// Makes one change, asks the plan, and looks what is true.
    pub(super) fn change(&mut self, random: &mut Random, sum: &mut Sum) -> Result<(), ChoreError> {
        let folder = self.place.join("stack");
        let change = match &mut self.subject {
            Subject::MadeUp(stack) => {
                let mutation = Mutation::choose(stack, random);
                mutation.apply(stack, &folder, random)?;
                Change::MadeUp(mutation)
            }
            Subject::Layout(layout) => Change::File(layout.change(&folder, random)?),
        };
        let what = format!("change {}, {}", sum.changes, change.in_words());
        sum.count(change.kind());
        let plan = self.plan(REMEMBERING, &[])?;
        let first = decided(&plan);
        let settled = match first.iter().any(|it| it.decision == "maybe") {
            true => Some(self.settled()?),
            false => None,
        };
        let truth = self.build("from-nothing", &["--no-cache"])?;
        let built = self.build(REMEMBERING, &[])?;
        let claim = |it: &Decided<'_>, sum: &mut Sum| {
            let (Some(truth), Some(built)) = (truth.get(&it.name), built.get(&it.name)) else {
                sum.disagree(&what, it.image, "it was not built");
                return;
            };
            let is_same = self.contents.get(&it.name) == Some(&truth.content);
            if built.content != truth.content {
                sum.disagree(&what, it.image, "the build gives another image");
            }
            if (it.decision == "build") != (built.ran > 0) {
                let told = format!("the plan says {}, and {} steps ran", it.decision, built.ran);
                sum.disagree(&what, it.image, &told);
            }
            match (it.decision.as_str(), is_same) {
                ("build", true) if change.may_make_the_same() => sum.same += 1,
                ("reuse", true) | ("build" | "retag", false) => {}
                (decision, _) => {
                    let told = format!("the plan says {decision}, content is the same: {is_same}");
                    sum.disagree(&what, it.image, &told);
                }
            }
            if it.decision != "reuse" && !change.is_named(&it.name, &causes(it.image)) {
                sum.unnamed(&what, it.image, &causes(it.image));
            }
        };
        for it in first.iter().filter(|it| it.decision != "maybe") {
            claim(it, sum);
        }
        if let Some(settled) = &settled {
            for it in decided(settled) {
                let before = first.iter().find(|known| known.name == it.name);
                match before.map(|known| known.decision.as_str()) {
                    Some("maybe") => claim(&it, sum),
                    Some(known) if known == it.decision => {}
                    _ => sum.disagree(&what, it.image, "settling says something else"),
                }
            }
        }
        sum.decisions += first.len();
        sum.open += first.iter().filter(|it| it.decision == "maybe").count();
        let truth = truth.into_iter();
        self.contents = truth.map(|(name, it)| (name, it.content)).collect();
        Ok(())
    }
}

impl Change {
    fn kind(&self) -> &'static str {
        match self {
            Self::MadeUp(mutation) => mutation.kind(),
            Self::File(change) => change.kind(),
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::MadeUp(mutation) => mutation.in_words(),
            Self::File(change) => change.in_words(),
        }
    }

    /// Whether a step that has to run may make what it made before: nobody can know it then.
    fn may_make_the_same(&self) -> bool {
        match self {
            Self::MadeUp(mutation) => mutation.may_make_the_same(),
            Self::File(_) => true,
        }
    }

    /// Whether what a plan says of an image names the change.
    fn is_named(&self, image: &str, causes: &str) -> bool {
        match self {
            Self::MadeUp(mutation) => mutation.is_named(image, causes),
            Self::File(change) => causes.contains(&change.name),
        }
    }
}

fn decided(plan: &Value) -> Vec<Decided<'_>> {
    let images = plan["images"].as_array().into_iter().flatten();
    let decided = images.map(|image| Decided {
        image,
        name: called(image),
        decision: text(&image["decision"]),
    });
    decided.collect()
}

/// What an image is called for its platform.
fn called(image: &Value) -> String {
    format!("{} {}", text(&image["image"]), text(&image["platform"]))
}

/// Everything that a plan gives as a cause for an image.
fn causes(image: &Value) -> String {
    let of = |list: &Value| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.map(|item| text(&item["because"])).collect()
    };
    [of(&image["reasons"]), of(&image["steps"])]
        .concat()
        .join("; ")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
