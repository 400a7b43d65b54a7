//! One stack with two stores - one that remembers, one that builds from nothing - and what a plan
//! says of a change of it, held against both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::commits::{Commits, Word};
use super::layouts::{FileChange, Layout};
use super::mutation::Mutation;
use super::stack::Stack;
use super::sum::Sum;
use crate::bench::{BASE, Random, write_base};
use crate::campaign::registry::{PROGRAM, Registry};
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

/// Where a made-up stack is looked at as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nowhere.
    Nothing,
    /// On a machine that has built nothing and has its commits.
    Commits,
    /// In a registry.
    Registry,
}

impl Beside {
    /// What the stack of this number has.
    pub(super) fn of(number: usize) -> Self {
        // Every second one is a layout, as long as there are any.
        match number / 2 % 3 {
            1 => Self::Commits,
            2 => Self::Registry,
            _ => Self::Nothing,
        }
    }
}

/// A stack and its stores.
pub(super) struct Trial<'a> {
    program: &'a Path,
    place: PathBuf,
    subject: Subject,
    /// The content of each image after the last build that had it.
    contents: BTreeMap<String, String>,
    commits: Option<Commits>,
    registry: Option<Registry>,
    /// The content of each image that is published.
    published: BTreeMap<String, String>,
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
        mut subject: Subject,
        beside: Beside,
    ) -> Result<Self, ChoreError> {
        let registry = match (&mut subject, beside) {
            (Subject::MadeUp(stack), Beside::Registry) if command::find(PROGRAM).is_some() => {
                let registry = Registry::start_in(place)?;
                stack.registry = Some(format!("{}/lab", registry.host));
                Some(registry)
            }
            _ => None,
        };
        let mut trial = Self {
            program,
            place: place.to_owned(),
            subject,
            contents: BTreeMap::new(),
            commits: None,
            registry,
            published: BTreeMap::new(),
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
        for store in [REMEMBERING, "from-nothing", "elsewhere"] {
            for base in bases {
                trial.cairn(store, &["load", "-t", base, &layout])?;
            }
        }
        if matches!(trial.subject, Subject::Layout(_)) {
            trial.cairn(REMEMBERING, &["import", "."])?;
        }
        let built = trial.build(REMEMBERING, &[])?.into_iter();
        trial.contents = built.map(|(name, it)| (name, it.content)).collect();
        if matches!(
            (&trial.subject, beside),
            (Subject::MadeUp(_), Beside::Commits)
        ) {
            trial.commits = Some(Commits::new(place.join("commits"), &folder)?);
        }
        if trial.registry.is_some() {
            trial.publish()?;
        }
        Ok(trial)
    }

    fn cairn(&self, store: &str, arguments: &[&str]) -> Result<String, ChoreError> {
        self.cairn_in(&self.place.join("stack"), store, arguments)
    }

    fn cairn_in(
        &self,
        folder: &Path,
        store: &str,
        arguments: &[&str],
    ) -> Result<String, ChoreError> {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env("CAIRN_HOME", self.place.join(store))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .current_dir(folder);
        if self.registry.is_some() {
            // A push to main, of one and the same commit.
            for (name, value) in [
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", "push"),
                ("GITHUB_REF", "refs/heads/main"),
                ("GITHUB_SHA", "0123456789012345678901234567890123456789"),
            ] {
                command.env(name, value);
            }
        }
        command::capture(&mut command)
    }

    /// Publishes what the remembering store has.
    fn publish(&mut self) -> Result<(), ChoreError> {
        let all = ["publish", "--json", "--progress", "quiet"];
        let arguments = [&all[..], self.platforms(), &self.environment()].concat();
        self.cairn(REMEMBERING, &arguments)?;
        self.published = self.contents.clone();
        Ok(())
    }

    /// The environment to ask for.
    fn environment(&self) -> Vec<&'static str> {
        match &self.subject {
            Subject::MadeUp(stack) if stack.overlay.as_ref().is_some_and(|it| it.is_on) => {
                vec!["--env", "other"]
            }
            _ => Vec::new(),
        }
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
        let arguments = [&all[..], self.platforms(), &self.environment(), more].concat();
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
        let all = match self.registry {
            Some(_) => &["plan", "--json"][..],
            None => &["plan", "--json", "--offline"],
        };
        let arguments = [all, self.platforms(), &self.environment(), more].concat();
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
        let committed = match &self.commits {
            Some(commits) => Some(commits.change(&folder, random)?),
            None => None,
        };
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
            let is_new = !self.contents.contains_key(&it.name);
            if built.content != truth.content {
                sum.disagree(&what, it.image, "the build gives another image");
            }
            if (it.decision == "build") != (built.ran > 0) {
                let told = format!("the plan says {}, and {} steps ran", it.decision, built.ran);
                sum.disagree(&what, it.image, &told);
            }
            // What is built in every run says so, whatever else changed.
            if self.is_always_built(&it.name) {
                if it.decision != "build" || !causes(it.image).contains("rebuild") {
                    sum.disagree(&what, it.image, "its policy is to be built in every run");
                }
                return;
            }
            match (it.decision.as_str(), is_same) {
                ("build", true) if change.may_make_the_same() => sum.same += 1,
                ("reuse", true) | ("build" | "retag", false) => {}
                (decision, _) => {
                    let told = format!("the plan says {decision}, content is the same: {is_same}");
                    sum.disagree(&what, it.image, &told);
                }
            }
            if it.decision != "reuse" && !is_new && !change.is_named(&it.name, &causes(it.image)) {
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
        let truth: BTreeMap<String, String> = truth.map(|(name, it)| (name, it.content)).collect();
        if let (Some(word), Change::MadeUp(mutation)) = (committed, &change) {
            self.of_commit(&what, word, mutation, &truth, sum)?;
        }
        if self.registry.is_some() {
            self.of_published(&what, &first, &change, &truth, sum)?;
        }
        self.contents.extend(truth);
        if self.registry.is_some() {
            self.publish()?;
        }
        Ok(())
    }

    fn is_always_built(&self, image: &str) -> bool {
        match &self.subject {
            Subject::MadeUp(stack) => {
                let entry = stack.entry(image);
                entry.is_some_and(|at| stack.images[at].is_always_built)
            }
            Subject::Layout(_) => false,
        }
    }

    /// What a machine says of the last commit that has built nothing and knows of no content: it may
    /// leave out only what is as it was, and has to leave out what no change reaches.
    fn of_commit(
        &self,
        what: &str,
        word: Option<Word>,
        mutation: &Mutation,
        truth: &BTreeMap<String, String>,
        sum: &mut Sum,
    ) -> Result<(), ChoreError> {
        let (Some(commits), Subject::MadeUp(stack)) = (&self.commits, &self.subject) else {
            return Ok(());
        };
        let all = ["plan", "--json", "--offline", "--since", "HEAD~1"];
        let arguments = [&all[..], self.platforms(), &self.environment()].concat();
        let plan = json(&self.cairn_in(&commits.folder, "elsewhere", &arguments)?);
        let what = format!("{what}, committed");
        for it in decided(&plan) {
            sum.decisions += 1;
            let is_built = matches!(it.decision.as_str(), "build" | "maybe");
            let causes = causes(it.image);
            if let Some(word) = word {
                let is_wanted = is_built == (word == Word::Rebuild);
                if !is_wanted || !causes.contains(word.text()) {
                    let told = format!("the commit says `{}`", word.text());
                    sum.disagree(&what, it.image, &told);
                }
                continue;
            }
            if self.is_always_built(&it.name) {
                continue;
            }
            let before = self.contents.get(&it.name);
            let is_same = before.is_none() || before == truth.get(&it.name);
            let is_reached = stack
                .entry(&it.name)
                .is_some_and(|at| stack.reaches(mutation.image(), at));
            if !is_built && !is_same && mutation.is_in_commits() {
                sum.disagree(
                    &what,
                    it.image,
                    "it is left out, and its content is another",
                );
            }
            if is_built && !is_reached {
                sum.disagree(&what, it.image, "no change reaches it");
            }
            let name = &stack.images[mutation.image()].name;
            if is_built && !causes.contains(name) && !causes.contains("settings") {
                sum.unnamed(&what, it.image, &causes);
            }
        }
        Ok(())
    }

    /// What a plan says of what is published, before the build and after it.
    fn of_published(
        &self,
        what: &str,
        before: &[Decided<'_>],
        change: &Change,
        truth: &BTreeMap<String, String>,
        sum: &mut Sum,
    ) -> Result<(), ChoreError> {
        let is_as_published = |name: &str| {
            self.published.contains_key(name) && self.published.get(name) == truth.get(name)
        };
        for it in before {
            match it.image["published"]["same"].as_bool() {
                Some(true) if !is_as_published(&it.name) => {
                    sum.disagree(what, it.image, "it is said to be as published, and is not");
                }
                Some(false) if is_as_published(&it.name) && !change.may_make_the_same() => {
                    sum.disagree(what, it.image, "it is said not to be as published, and is");
                }
                _ => {}
            }
        }
        let what = format!("{what}, built and not published");
        let plan = self.plan(REMEMBERING, &[])?;
        for it in decided(&plan) {
            sum.decisions += 1;
            let causes = causes(it.image);
            match (it.decision.as_str(), is_as_published(&it.name)) {
                ("build", _) if self.is_always_built(&it.name) => {}
                ("reuse", true) => {}
                ("retag", false) => {
                    let is_new = !self.published.contains_key(&it.name);
                    if !is_new && !change.is_named(&it.name, &causes) {
                        sum.unnamed(&what, it.image, &causes);
                    }
                }
                (decision, is_same) => {
                    let told = format!("the plan says {decision}, as published: {is_same}");
                    sum.disagree(&what, it.image, &told);
                }
            }
        }
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
