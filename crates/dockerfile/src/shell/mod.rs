//! The commands in a shell script, as far as a checker needs them: no expansion, no execution.
//!
//! Lists, pipelines, groups, the compound commands of POSIX and here-documents are understood;
//! words keep their variables as written. A script that is something else (or of another shell)
//! is an error, and who asked knows nothing of it rather than something wrong.

mod brace;
mod invocation;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use brace::braces;
pub use invocation::{Invocation, Wrapper};

/// How deeply groups and compound commands may nest.
const DEPTH_MAX: usize = 60;

/// A sequence of lists, each of which runs whatever became of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The lists in order.
    pub lists: Vec<AndOr>,
}

/// Pipelines with `&&` and `||` between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AndOr {
    /// The first pipeline.
    pub first: Pipeline,
    /// The others, each with what stands before it.
    pub rest: Vec<(Connector, Pipeline)>,
    /// Whether it ends with `&`: nobody waits for it.
    pub is_background: bool,
}

/// What stands between two pipelines of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    /// `&&`
    And,
    /// `||`
    Or,
}

/// Commands with `|` between them; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Whether `!` stands before it.
    pub is_negated: bool,
    /// The commands.
    pub commands: Vec<Command>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program with its arguments.
    Simple(Simple),
    /// A group, a loop, a condition or a function.
    Compound(Compound),
}

/// A program with its arguments, or assignments alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simple {
    /// `NAME=value` before the program.
    pub assignments: Vec<(String, Word)>,
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// Redirections.
    pub redirects: Vec<Redirect>,
    /// Where it stands in the script.
    pub range: Range<usize>,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text without quotes; variables and substitutions as written.
    pub text: String,
    /// Whether there is nothing in it to be expanded.
    pub is_literal: bool,
    /// Where it stands in the script.
    pub range: Range<usize>,
}

/// A redirection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The operator: `>`, `2>>`, `<<`.
    pub operator: String,
    /// The file, or the end mark of a here-document.
    pub target: Word,
    /// The body of a here-document.
    pub body: Option<String>,
}

/// A group, a loop, a condition or a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compound {
    /// What it is.
    pub kind: CompoundKind,
    /// The scripts in it, in order.
    pub parts: Vec<Script>,
    /// Where it stands in the script.
    pub range: Range<usize>,
}

/// What a compound command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompoundKind {
    /// `{ ...; }`
    Group,
    /// `( ... )`
    Subshell,
    /// `if`, `while` and `until`: the first part is a condition.
    Condition,
    /// `for` and `case`.
    Other,
    /// `name() { ...; }`: its commands do not run here.
    Function,
}

/// A text that is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// A quote, brace or substitution without an end.
    #[error("`{0}` without an end")]
    Unclosed(&'static str),
    /// Something stands where it may not.
    #[error("`{0}` is not expected here")]
    Unexpected(String),
    /// The text ends too early.
    #[error("the script ends too early")]
    Unfinished,
    /// Groups in groups without measure.
    #[error("groups are nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, ShellError> {
        parser::parse(text)
    }

    /// All simple commands that the script itself runs, in order: those of functions are not
    /// among them.
    pub fn simple_commands(&self) -> Vec<&Simple> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    /// The command that a pipeline puts before this one of the script's.
    pub fn feeder<'a>(&'a self, of: &Simple) -> Option<&'a Simple> {
        let pipelines = self.lists.iter().flat_map(AndOr::pipelines);
        pipelines.into_iter().find_map(|pipeline| {
            let pairs = pipeline.commands.windows(2);
            let fed = pairs.into_iter().find_map(|pair| match pair {
                [Command::Simple(before), Command::Simple(it)] if std::ptr::eq(it, of) => {
                    Some(before)
                }
                _ => None,
            });
            let parts = pipeline.commands.iter().flat_map(|command| match command {
                Command::Compound(compound) => compound.parts.as_slice(),
                Command::Simple(_) => &[],
            });
            fed.or_else(|| parts.into_iter().find_map(|part| part.feeder(of)))
        })
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a Simple>) {
        for command in self.lists.iter().flat_map(AndOr::commands) {
            match command {
                Command::Simple(simple) => found.push(simple),
                Command::Compound(compound) if compound.kind == CompoundKind::Function => {}
                Command::Compound(compound) => {
                    compound.parts.iter().for_each(|part| part.collect(found));
                }
            }
        }
    }
}

impl AndOr {
    /// Its pipelines in order.
    pub fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        std::iter::once(&self.first).chain(self.rest.iter().map(|(_, pipeline)| pipeline))
    }

    /// The commands of all its pipelines.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.pipelines().flat_map(|pipeline| &pipeline.commands)
    }
}

impl Simple {
    /// The program as written, if there is one.
    pub fn program(&self) -> Option<&str> {
        self.words.first().map(|word| word.text.as_str())
    }
}
