//! What the readers find, before it is a spec.

use std::collections::BTreeMap;

use super::machines::OnMachine;
use super::{Note, Verdict};
use crate::settings::EventKind;
use crate::stack::Affixes;

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) builds: Vec<Build>,
    /// Variables of the spec by name.
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) prefix: Option<String>,
    pub(super) main_branches: Vec<String>,
    pub(super) tags: BTreeMap<EventKind, Vec<String>>,
    pub(super) ignore: Vec<String>,
    pub(super) build_all: Vec<String>,
    /// Caches in registries that results of steps are taken from.
    pub(super) cache_from: Vec<String>,
    /// Commands about images by name, each with its heading and its line.
    pub(super) info: BTreeMap<String, (Option<String>, String)>,
    /// Which tag may come from which, as the spec has it.
    pub(super) promote: Vec<String>,
    /// Basic suites of every image, as the spec has them.
    pub(super) common_suites: Vec<String>,
    pub(super) from: Vec<String>,
    pub(super) notes: Vec<Note>,
}

/// A value that comes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) env: String,
    pub(super) default: String,
    /// Whether nobody said the default.
    pub(super) is_guessed: bool,
}

/// One image that somebody builds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Build {
    /// What it is called where it is described.
    pub(super) key: String,
    /// Where it is published: registry, namespace and name, without a tag.
    pub(super) names: Vec<String>,
    /// Tags it is given by name, for telling variants apart.
    pub(super) fixed_tags: Vec<String>,
    /// The context, from the root; empty for the root itself.
    pub(super) context: String,
    /// The Dockerfile, from the root.
    pub(super) dockerfile: String,
    pub(super) target: Option<String>,
    pub(super) args: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) platforms: Vec<String>,
    /// What is different on some of them.
    pub(super) on: BTreeMap<String, OnMachine>,
    /// The image it says it builds on.
    pub(super) parent: Option<String>,
    /// The track it is of: its name and its prefix.
    pub(super) track: Option<(String, Option<String>)>,
    /// Its suites of tests, as the spec has them, by their kind's key.
    pub(super) suites: BTreeMap<&'static str, Vec<String>>,
    /// The values of the matrix it is a combination of, by their axes.
    pub(super) values: BTreeMap<String, String>,
    /// The value of a substitution that names its Dockerfile: `latest` of `${_TAG}.Dockerfile`.
    pub(super) choice: Option<String>,
    /// The folder whose image it is, where folders below it hold variants.
    pub(super) family: Option<String>,
    /// Whether it is the variant that is meant where none is named.
    pub(super) is_default: bool,
    /// Whether docker/metadata-action names it.
    pub(super) takes_metadata: bool,
    /// Whether it is a service of Compose: how somebody runs it, not how it is published.
    pub(super) is_of_compose: bool,
    /// Whether a script or a Makefile builds it: nobody says that these are all there are.
    pub(super) is_by_hand: bool,
    /// What stands around its tags, where a pipeline says so.
    pub(super) affixes: Option<Affixes>,
    /// Further tags that it has on main, besides the one that is its variant.
    pub(super) further_tags: Vec<String>,
    /// Whether it is published nowhere in a stack that is.
    pub(super) is_internal: bool,
    /// Whether no other variant of its image is published.
    pub(super) is_only_published: bool,
    /// Names of the commands that tell what it holds.
    pub(super) info: Vec<String>,
    /// The file that describes it.
    pub(super) file: String,
}

/// An image of the spec to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DraftImage {
    pub(super) key: String,
    /// Where it is published, in full.
    pub(super) names: Vec<String>,
    pub(super) tests: Vec<String>,
    /// The image of the stack that its last stage builds on.
    pub(super) builds_on: Option<String>,
    /// One, or the variants with their names.
    pub(super) members: Vec<(Option<String>, Build)>,
}

impl Draft {
    pub(super) fn note(
        &mut self,
        verdict: Verdict,
        file: &str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.notes.push(Note {
            verdict,
            file: file.to_owned(),
            what: what.into(),
            why: why.into(),
        });
    }

    /// The way a variable is written in the spec; it is declared from now on.
    pub(super) fn variable(&mut self, env: &str, default: &str) -> String {
        self.declare(env, default, false)
    }

    /// The same for a value that somebody fills in, with a default that stands in for it.
    pub(super) fn unknown_variable(&mut self, env: &str, stand_in: &str) -> String {
        self.declare(env, stand_in, true)
    }

    fn declare(&mut self, env: &str, default: &str, is_guessed: bool) -> String {
        let name = env.trim_start_matches('_').to_ascii_lowercase();
        let variable = Variable {
            env: env.to_owned(),
            default: default.to_owned(),
            is_guessed,
        };
        self.variables.entry(name.clone()).or_insert(variable);
        format!("${{{name}}}")
    }

    /// A text with the defaults of the variables in it.
    pub(super) fn by_default(&self, text: &str) -> String {
        let mut made = text.to_owned();
        for (name, variable) in &self.variables {
            made = made.replace(&format!("${{{name}}}"), &variable.default);
        }
        made
    }

    /// Adds a rule to the tags of an event, once.
    pub(super) fn tag(&mut self, kind: EventKind, rule: &str) {
        let list = self.tags.entry(kind).or_default();
        if !list.iter().any(|it| it == rule) {
            list.push(rule.to_owned());
        }
    }
}
