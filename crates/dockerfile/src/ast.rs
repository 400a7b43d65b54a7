//! What a Dockerfile means: stages of typed instructions, every word with its place.
//!
//! Words are kept as written, quotes and variables included; whoever lowers an instruction
//! expands them with [`crate::expand::Expander`] and the environment of that moment. The words
//! that BuildKit never expands are marked so in their docs.

use std::time::Duration;

use cairn_diagnostic::{Source, Span};

use crate::device::Device;
use crate::mount::MountFlag;

/// A value and the part of the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Joins a value with its place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// Makes another value of the same place.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned::new(make(self.value), self.span)
    }
}

/// An argument as written: not expanded, quotes kept (JSON strings are decoded).
pub type Word = Spanned<String>;

impl Word {
    /// The text of the word.
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text that all spans point into.
    pub source: Source,
    /// The parser directives at its top.
    pub directives: Directives,
    /// The `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Instruction<Arg>>,
    /// The stages in order; never empty.
    pub stages: Vec<Stage>,
    /// The last lines of instructions that have a blank line inside a continuation.
    pub blank_continuations: Vec<Span>,
}

impl Dockerfile {
    /// Finds a stage by its name (in any case), or by its number.
    pub fn stage(&self, name_or_index: &str) -> Option<&Stage> {
        self.stages
            .iter()
            .rev()
            .find(|stage| {
                stage
                    .name()
                    .is_some_and(|name| name.eq_ignore_ascii_case(name_or_index))
            })
            .or_else(|| self.stages.get(name_or_index.parse::<usize>().ok()?))
    }

    /// All instructions' keywords in the order of the text, as written.
    pub fn keywords(&self) -> impl Iterator<Item = &Spanned<String>> {
        let before = self.global_args.iter().map(|line| &line.keyword);
        let stages = self.stages.iter().flat_map(|stage| {
            std::iter::once(&stage.from.keyword)
                .chain(stage.instructions.iter().map(|line| &line.keyword))
        });
        before.chain(stages)
    }
}

/// The parser directives (`# key=value` lines at the very top).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# escape=`: the character that escapes and that continues a line.
    pub escape: char,
    /// `# syntax=`: the frontend the author asked for.
    pub syntax: Option<Word>,
    /// `# check=`: settings of the checker.
    pub check: Option<Word>,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            escape: '\\',
            syntax: None,
            check: None,
        }
    }
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The position among the stages, from 0.
    pub index: usize,
    /// The `FROM` line.
    pub from: Instruction<FromClause>,
    /// The instructions after it.
    pub instructions: Vec<Instruction>,
    /// From `FROM` to the end of the last instruction.
    pub span: Span,
}

impl Stage {
    /// The name after `AS`, in lower case.
    pub fn name(&self) -> Option<&str> {
        self.from.kind.name.as_ref().map(Word::as_str)
    }
}

/// What a `FROM` line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromClause {
    /// `--platform=`; sees the global args only.
    pub platform: Option<Word>,
    /// A stage, a named context, or an image; sees the global args only.
    pub image: Word,
    /// The name after `AS`, in lower case; never expanded.
    pub name: Option<Word>,
    /// The name as the author wrote it.
    pub written_name: Option<Word>,
    /// The word `AS` as the author wrote it.
    pub as_keyword: Option<Word>,
}

/// One instruction with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction<K = InstructionKind> {
    /// What it says.
    pub kind: K,
    /// Its first word as written.
    pub keyword: Spanned<String>,
    /// From its keyword to its last byte, heredoc bodies and their terminators included.
    pub span: Span,
    /// The instruction on one line: continuations joined, comments gone, heredocs left out.
    pub text: String,
    /// The comment lines right above it, without `#` and surrounding space.
    pub comments: Vec<Word>,
}

impl<K> Instruction<K> {
    /// Puts another content in the same frame.
    pub fn with_kind<L>(self, kind: L) -> Instruction<L> {
        Instruction {
            kind,
            keyword: self.keyword,
            span: self.span,
            text: self.text,
            comments: self.comments,
        }
    }
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstructionKind {
    /// `RUN`
    Run(Run),
    /// `COPY`
    Copy(Copy),
    /// `ADD`
    Add(Add),
    /// `ENV`
    Env(Vec<KeyValue>),
    /// `LABEL`
    Label(Vec<KeyValue>),
    /// `ARG`
    Arg(Arg),
    /// `USER`
    User(Word),
    /// `WORKDIR`
    Workdir(Word),
    /// `EXPOSE`, sorted by text as BuildKit keeps them; each word may expand to several.
    Expose(Vec<Word>),
    /// `VOLUME`
    Volume(Vec<Word>),
    /// `STOPSIGNAL`
    StopSignal(Word),
    /// `HEALTHCHECK`; never expanded.
    Healthcheck(Healthcheck),
    /// `SHELL`; never expanded.
    Shell(Vec<Word>),
    /// `ONBUILD`; expanded when it triggers.
    OnBuild(Box<OnBuild>),
    /// `ENTRYPOINT`; never expanded.
    Entrypoint(CommandLine),
    /// `CMD`; never expanded.
    Cmd(CommandLine),
    /// `MAINTAINER`; never expanded.
    Maintainer(Word),
}

impl InstructionKind {
    /// The instruction's name in upper case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "RUN",
            Self::Copy(_) => "COPY",
            Self::Add(_) => "ADD",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Arg(_) => "ARG",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::Expose(_) => "EXPOSE",
            Self::Volume(_) => "VOLUME",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Shell(_) => "SHELL",
            Self::OnBuild(_) => "ONBUILD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Cmd(_) => "CMD",
            Self::Maintainer(_) => "MAINTAINER",
        }
    }
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Text for the stage's `SHELL`; may be empty.
    Shell(Word),
    /// An argument vector from a JSON array; may be empty.
    Exec(Vec<Word>),
}

impl CommandLine {
    /// The text or the arguments, as BuildKit hands them on: a shell form is one argument.
    pub fn arguments(&self) -> Vec<String> {
        match self {
            Self::Shell(text) if text.value.is_empty() => Vec::new(),
            Self::Shell(text) => vec![text.value.clone()],
            Self::Exec(words) => words.iter().map(|word| word.value.clone()).collect(),
        }
    }
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command as written on the line; see [`Run::script`] for what is executed.
    pub command: CommandLine,
    /// The heredocs that belong to the line, in order.
    pub heredocs: Vec<Heredoc>,
    /// `--mount=`, each still to be resolved.
    pub mounts: Vec<MountFlag>,
    /// `--network=`
    pub network: Option<Spanned<RunNetwork>>,
    /// `--security=`
    pub security: Option<Spanned<RunSecurity>>,
    /// `--device=`
    pub devices: Vec<Spanned<Device>>,
}

/// What a `RUN` executes once its heredocs are put in their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunScript {
    /// An argument vector.
    Exec(Vec<String>),
    /// Text for the shell.
    Shell(String),
    /// A heredoc that starts with `#!`: an executable file to put at `/dev/pipes/<name>`, whose
    /// path is then the text for the shell.
    File {
        /// The heredoc's name.
        name: String,
        /// The file's content.
        content: String,
    },
}

impl Run {
    /// Puts the heredocs in their places: a lone heredoc is the script itself, others are
    /// appended so that the shell reads them.
    pub fn script(&self) -> RunScript {
        let text = match &self.command {
            CommandLine::Exec(_) => return RunScript::Exec(self.command.arguments()),
            CommandLine::Shell(text) => text.as_str(),
        };
        let Some(first) = self.heredocs.first() else {
            return RunScript::Shell(text.to_owned());
        };
        if crate::heredoc::is_heredoc(text) {
            if first.text().starts_with("#!") {
                return RunScript::File {
                    name: first.name.clone(),
                    content: first.text(),
                };
            }
            return RunScript::Shell(first.text());
        }
        let mut full = text.to_owned();
        for heredoc in &self.heredocs {
            full.push('\n');
            full.push_str(&heredoc.content);
            full.push_str(&heredoc.name);
        }
        RunScript::Shell(full)
    }
}

/// `RUN --network=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// The build's network.
    Default,
    /// No network.
    None,
    /// The host's network.
    Host,
}

/// `RUN --security=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSecurity {
    /// The usual confinement.
    Sandbox,
    /// Without confinement.
    Insecure,
}

/// A heredoc: its word on the line and the body below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, and the file's name in `COPY` and `ADD`.
    pub name: String,
    /// The body, byte for byte; see [`Heredoc::text`].
    pub content: String,
    /// Whether variables in it are expanded (the terminator had no quotes). `COPY` and `ADD` do
    /// so with [`crate::expand::Expander::for_heredoc`]; for `RUN` the shell does.
    pub expand: bool,
    /// Whether leading tabs are stripped (`<<-`).
    pub strip_tabs: bool,
    /// The number before `<<`, 0 if none.
    pub file_descriptor: u32,
    /// The place of the body, without the terminator line.
    pub span: Span,
}

impl Heredoc {
    /// The body with its leading tabs stripped if `<<-` asks for it.
    pub fn text(&self) -> String {
        if self.strip_tabs {
            crate::heredoc::strip_tabs(&self.content)
        } else {
            self.content.clone()
        }
    }
}

/// What `COPY` and `ADD` share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileArguments {
    /// Where from, in order.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub dest: Word,
    /// `--chown=`
    pub chown: Option<Word>,
    /// `--chmod=`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--exclude=`, in order.
    pub excludes: Vec<Word>,
}

/// One source of a `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path, a wildcard, or for `ADD` an address.
    Path(Word),
    /// A file whose content stands in the Dockerfile.
    Heredoc(Heredoc),
}

/// `COPY`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Sources, destination and the flags shared with `ADD`.
    pub files: FileArguments,
    /// `--from=`: stage, number, named context or image; never expanded.
    pub from: Option<Word>,
    /// `--parents`
    pub parents: bool,
}

/// `ADD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Sources, destination and the flags shared with `COPY`.
    pub files: FileArguments,
    /// `--checksum=`
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, when given.
    pub unpack: Option<bool>,
}

/// A pair of `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The name; expanded too.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Whether it is in the old form, `ENV name the rest of the line`.
    pub legacy: bool,
}

/// `ARG`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// What it declares; never empty.
    pub declarations: Vec<ArgDeclaration>,
}

/// One name that an `ARG` declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name; expanded too.
    pub name: Word,
    /// The default, if any.
    pub default: Option<Word>,
    /// What a comment above says of it (`# NAME text`).
    pub description: Option<String>,
}

/// `HEALTHCHECK`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: an inherited check is switched off.
    None,
    /// `HEALTHCHECK CMD ...`
    Command {
        /// The command.
        command: CommandLine,
        /// The flags.
        timing: HealthcheckTiming,
    },
}

/// The flags of `HEALTHCHECK`; what is not given is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthcheckTiming {
    /// `--interval=`
    pub interval: Option<Duration>,
    /// `--timeout=`
    pub timeout: Option<Duration>,
    /// `--start-period=`
    pub start_period: Option<Duration>,
    /// `--start-interval=`
    pub start_interval: Option<Duration>,
    /// `--retries=`
    pub retries: Option<u32>,
}

/// `ONBUILD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBuild {
    /// The instruction as the image's config stores it, heredocs included; read it back with
    /// [`crate::parse_trigger`].
    pub trigger: String,
    /// The same, parsed.
    pub instruction: Instruction,
}
