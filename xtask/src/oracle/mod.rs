//! `cargo xtask oracle`: whether `cairn plan` is right, against builds from nothing.
//!
//! Stacks and changes of them come from a seed. After each change the plan is asked first; then
//! every image is built again without any cache, in another store. A plan is right where
//!
//! - it says `reuse` for exactly the images whose content a build from nothing leaves as it was,
//!   and `maybe` only for those that copy from an image that is built;
//! - the cause that it names is what was changed: the file, the argument, the instruction, the
//!   label - or, for what builds on it, the image where it was changed;
//! - the build that follows runs steps exactly where the plan said `build`, and gives the content
//!   of the build from nothing.

mod mutation;
mod stack;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bench::{BASE, Random, write_base};
use crate::error::ChoreError;
use crate::{command, workspace};
use mutation::Mutation;
use stack::Stack;

const USAGE: &str = "\
usage: cargo xtask oracle [OPTION...]

  --mutations N   changes to try (default: 200)
  --seed N        what stacks and changes are made from (default: 1)
  --dir DIR       where stacks and stores live (default: /var/tmp)
  --cairn FILE    the program to ask (default: the debug build)";

/// After so many changes another stack is made.
const MUTATIONS_PER_STACK: usize = 20;
/// So many disagreements are shown.
const SHOWN_MAX: usize = 20;

struct Options {
    mutations: usize,
    seed: u64,
    dir: PathBuf,
    cairn: Option<PathBuf>,
}

/// `cargo xtask oracle`.
pub(crate) fn main(arguments: &[String]) -> Result<(), ChoreError> {
    if arguments
        .iter()
        .any(|word| word == "--help" || word == "-h")
    {
        println!("{USAGE}");
        return Ok(());
    }
    let options = parse(arguments)?;
    let program = match &options.cairn {
        Some(program) => fs::canonicalize(program).map_err(ChoreError::file(program))?,
        None => debug_build()?,
    };
    let sum = run(&program, &options.dir, options.mutations, options.seed)?;
    println!("{}", sum.in_words());
    match sum.disagreements.is_empty() {
        true => Ok(()),
        false => Err(ChoreError::Unmet(
            "the plan was not always right".to_owned(),
        )),
    }
}

fn parse(arguments: &[String]) -> Result<Options, ChoreError> {
    let wrong = |text: &str| ChoreError::Usage(format!("{text}\n\n{USAGE}"));
    let mut options = Options {
        mutations: 200,
        seed: 1,
        dir: PathBuf::from("/var/tmp"),
        cairn: None,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next();
        let value = value.ok_or_else(|| wrong(&format!("{word} needs a value")))?;
        let number = || {
            value
                .parse::<u32>()
                .map_err(|_| wrong(&format!("{value}: not a number")))
        };
        match word.as_str() {
            "--mutations" => options.mutations = number()? as usize,
            "--seed" => options.seed = u64::from(number()?),
            "--dir" => options.dir = PathBuf::from(value),
            "--cairn" => options.cairn = Some(PathBuf::from(value)),
            other => return Err(wrong(&format!("there is no option `{other}`"))),
        }
    }
    Ok(options)
}

fn debug_build() -> Result<PathBuf, ChoreError> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root()).args([
        "build",
        "--locked",
        "--package",
        "cairn-cli",
        "--message-format=json-render-diagnostics",
    ]);
    command::built_program(&mut cargo)
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    mutations: usize,
    images: usize,
    maybe: usize,
    by_kind: BTreeMap<&'static str, usize>,
    pub(crate) disagreements: Vec<String>,
}

impl Sum {
    fn in_words(&self) -> String {
        let kinds: Vec<String> = self
            .by_kind
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let mut text = format!(
            "{} changes, {} decisions of which {} open, {} disagreements ({})",
            self.mutations,
            self.images,
            self.maybe,
            self.disagreements.len(),
            kinds.join(", ")
        );
        for disagreement in self.disagreements.iter().take(SHOWN_MAX) {
            text.push_str(&format!("\n- {disagreement}"));
        }
        text
    }
}

/// Tries so many changes.
pub(crate) fn run(
    program: &Path,
    dir: &Path,
    mutations: usize,
    seed: u64,
) -> Result<Sum, ChoreError> {
    let mut sum = Sum::default();
    let mut random = Random::new(seed);
    while sum.mutations < mutations {
        let place = tempfile::Builder::new()
            .prefix("cairn-oracle-")
            .tempdir_in(dir)
            .map_err(ChoreError::file(dir))?;
        let mut trial = Trial::new(program, place.path(), &mut random)?;
        for _ in 0..MUTATIONS_PER_STACK.min(mutations - sum.mutations) {
            trial.change(&mut random, &mut sum)?;
            sum.mutations += 1;
        }
    }
    Ok(sum)
}

/// One stack with two stores: one that remembers, one that builds from nothing.
struct Trial<'a> {
    program: &'a Path,
    place: PathBuf,
    stack: Stack,
    /// The content of each image after the last build.
    contents: BTreeMap<String, String>,
}

impl<'a> Trial<'a> {
    fn new(program: &'a Path, place: &Path, random: &mut Random) -> Result<Self, ChoreError> {
        let mut trial = Self {
            program,
            place: place.to_owned(),
            stack: Stack::new(random),
            contents: BTreeMap::new(),
        };
        trial.stack.write(&trial.place.join("stack"))?;
        let layout = format!("oci:{}", write_base(&place.join("base"))?.display());
        for store in ["remembering", "from-nothing"] {
            trial.cairn(store, &["load", "-t", BASE, &layout])?;
        }
        let built = trial.build("remembering", &[])?;
        trial.contents = built
            .into_iter()
            .map(|(name, it)| (name, it.content))
            .collect();
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

    fn build(&self, store: &str, more: &[&str]) -> Result<BTreeMap<String, Built>, ChoreError> {
        let arguments = [&["build", "--json", "--progress", "quiet"], more].concat();
        let report = json(&self.cairn(store, &arguments)?);
        let images = report["images"].as_array().cloned().unwrap_or_default();
        let built = images.iter().map(|image| {
            let built = Built {
                content: text(&image["content"]),
                ran: image["steps_ran"].as_u64().unwrap_or(u64::MAX),
            };
            (text(&image["image"]), built)
        });
        Ok(built.collect())
    }

    /// Makes one change, asks the plan, and looks what is true.
    fn change(&mut self, random: &mut Random, sum: &mut Sum) -> Result<(), ChoreError> {
        let mutation = Mutation::choose(&self.stack, random);
        let folder = self.place.join("stack");
        mutation.apply(&mut self.stack, &folder, random)?;
        *sum.by_kind.entry(mutation.kind()).or_default() += 1;
        let plan = json(&self.cairn("remembering", &["plan", "--json"])?);
        let truth = self.build("from-nothing", &["--no-cache"])?;
        let built = self.build("remembering", &[])?;
        let what = format!(
            "stack of seed step {}, {}",
            sum.mutations,
            mutation.in_words()
        );
        for image in plan["images"].as_array().into_iter().flatten() {
            let name = text(&image["image"]);
            let decision = text(&image["decision"]);
            sum.images += 1;
            let mut say = |told: String| {
                sum.disagreements
                    .push(format!("{what}: {name}: {told}\n  {image}"));
            };
            let (Some(truth), Some(built)) = (truth.get(&name), built.get(&name)) else {
                say("it was not built".to_owned());
                continue;
            };
            let is_same = self.contents.get(&name) == Some(&truth.content);
            if decision == "maybe" {
                sum.maybe += 1;
                if !self.stack.copies(&name) {
                    say("it copies from no other image, so it should be decided".to_owned());
                }
            } else if (decision == "reuse") != is_same {
                say(format!(
                    "the plan says {decision}, and the content is the same: {is_same}"
                ));
            }
            if decision != "maybe" && (decision == "build") != (built.ran > 0) {
                say(format!(
                    "the plan says {decision}, and {} steps ran",
                    built.ran
                ));
            }
            if built.content != truth.content {
                say("the build gives another image than one from nothing".to_owned());
            }
            if decision != "reuse" && !mutation.is_named(&name, &causes(image)) {
                say(format!(
                    "the cause does not name the change: {}",
                    causes(image)
                ));
            }
        }
        self.contents = truth
            .into_iter()
            .map(|(name, it)| (name, it.content))
            .collect();
        Ok(())
    }
}

/// An image that was built.
struct Built {
    content: String,
    ran: u64,
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
