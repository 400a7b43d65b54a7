//! The upper half of the parser: an instruction of the tree becomes a typed one, or an error.
//!
//! The rules and the wording of the errors are BuildKit's. What BuildKit checks only when a step
//! is lowered (mount values, ports, modes) is left to the modules that own those values.

mod files;
mod healthcheck;
mod run;

use cairn_diagnostic::{Diagnostic, Source, Span};

use crate::ast::{
    Arg, ArgDeclaration, CommandLine, FromClause, Instruction, InstructionKind, KeyValue, OnBuild,
    Spanned, Word,
};
use crate::device::DeviceError;
use crate::flags::{FlagError, FlagKind, FlagSpec, Flags};
use crate::mount::MountError;
use crate::suggest;
use crate::tree::{Arguments, Node};
use crate::value::DurationError;
use crate::words;

/// The names of all instructions.
pub const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const NO_FLAGS: FlagSpec = &[];

/// A typed instruction: the start of a stage, or a step of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    From(Instruction<FromClause>),
    Step(Instruction),
}

/// An instruction that says nothing sensible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstructionError {
    /// A name that does not exist.
    #[error("unknown instruction: {0}")]
    Unknown(String),
    /// A flag.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// Nothing where something is needed.
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    /// More or less than one.
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    /// A source without a destination.
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination(&'static str),
    /// `COPY x <<EOF`
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    /// `COPY --from=$x`
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG \
         from global scope as a workaround"
    )]
    VariableInFrom,
    /// `ENV =x`
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    /// `FROM a b`
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// `FROM a AS 1`
    #[error(
        "invalid name for build stage: {0:?}, name can't start with a number or contain symbols"
    )]
    StageName(String),
    /// `ONBUILD ONBUILD`
    #[error("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedOnBuild,
    /// `ONBUILD FROM`
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    Trigger(String),
    /// `VOLUME [""]`
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// `SHELL x`
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellNotJson,
    /// `RUN --network=x`
    #[error("unsupported network mode: {0:?}")]
    Network(String),
    /// `RUN --security=x`
    #[error("security {0:?} is not valid")]
    Security(String),
    /// `HEALTHCHECK NONE x`
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// `HEALTHCHECK CMD`
    #[error("missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    /// `HEALTHCHECK x`
    #[error("unknown type {0:?} in HEALTHCHECK (try CMD)")]
    HealthcheckType(String),
    /// `--interval=1ns`
    #[error("interval {0:?} cannot be less than 1ms")]
    ShortInterval(&'static str),
    /// `--retries=x`
    #[error("retries must be a whole number: {0:?}")]
    Retries(String),
    /// `--retries=-1`
    #[error("--retries cannot be negative ({0})")]
    NegativeRetries(i64),
}

type Fault = Spanned<InstructionError>;

impl From<Spanned<FlagError>> for Fault {
    fn from(error: Spanned<FlagError>) -> Self {
        error.map(InstructionError::Flag)
    }
}

impl InstructionError {
    fn at(self, span: Span) -> Fault {
        Fault::new(self, span)
    }

    /// What was probably meant, in BuildKit's words.
    fn suggestion(&self) -> String {
        let near = match self {
            Self::Unknown(name) => suggest::nearest(name, INSTRUCTIONS),
            Self::Flag(FlagError::Unknown { suggestion, .. }) => *suggestion,
            _ => None,
        };
        suggest::in_words(near)
    }
}

/// Gives a node its type.
pub(crate) fn typed(source: &Source, node: &Node) -> Result<Typed, Box<Diagnostic>> {
    classify(node).map_err(|fault| {
        let message = format!("{}{}", fault.value, fault.value.suggestion());
        let finding = Diagnostic::error(message).at(source, fault.span);
        let hint = match &fault.value {
            InstructionError::Mount(error) => error.hint(),
            _ => None,
        };
        Box::new(hint.into_iter().fold(finding, Diagnostic::hint))
    })
}

fn classify(node: &Node) -> Result<Typed, Fault> {
    if node.keyword.value.eq_ignore_ascii_case("FROM") {
        return Ok(Typed::From(frame(node, from(node)?)));
    }
    Ok(Typed::Step(frame(node, step(node)?)))
}

fn frame<K>(node: &Node, kind: K) -> Instruction<K> {
    Instruction {
        kind,
        keyword: node.keyword.clone(),
        span: node.span,
        text: node.line.trim().to_owned(),
        comments: node.comments.clone(),
    }
}

fn step(node: &Node) -> Result<InstructionKind, Fault> {
    Ok(match node.keyword.value.to_ascii_uppercase().as_str() {
        "ADD" => InstructionKind::Add(files::add(node)?),
        "ARG" => InstructionKind::Arg(arg(node)?),
        "CMD" => {
            flagless(node)?;
            InstructionKind::Cmd(command_line(node))
        }
        "COPY" => InstructionKind::Copy(files::copy(node)?),
        "ENTRYPOINT" => {
            flagless(node)?;
            InstructionKind::Entrypoint(command_line(node))
        }
        "ENV" => InstructionKind::Env(pairs(node, "ENV")?),
        "EXPOSE" => InstructionKind::Expose(expose(node)?),
        "HEALTHCHECK" => InstructionKind::Healthcheck(healthcheck::healthcheck(node)?),
        "LABEL" => InstructionKind::Label(pairs(node, "LABEL")?),
        "MAINTAINER" => InstructionKind::Maintainer(single(node, "MAINTAINER")?),
        "ONBUILD" => InstructionKind::OnBuild(Box::new(on_build(node)?)),
        "RUN" => InstructionKind::Run(run::run(node)?),
        "SHELL" => InstructionKind::Shell(shell(node)?),
        "STOPSIGNAL" => InstructionKind::StopSignal(single(node, "STOPSIGNAL")?),
        "USER" => InstructionKind::User(single(node, "USER")?),
        "VOLUME" => InstructionKind::Volume(volume(node)?),
        "WORKDIR" => InstructionKind::Workdir(single(node, "WORKDIR")?),
        _ => {
            let name = node.keyword.value.clone();
            return Err(InstructionError::Unknown(name).at(node.keyword.span));
        }
    })
}

fn flagless(node: &Node) -> Result<(), Fault> {
    Flags::check(&node.flags, NO_FLAGS)?;
    Ok(())
}

/// The arguments of an instruction that has words.
fn arguments(node: &Node) -> &[Word] {
    match &node.arguments {
        Arguments::Words(words) => words,
        _ => &[],
    }
}

fn single(node: &Node, name: &'static str) -> Result<Word, Fault> {
    flagless(node)?;
    match arguments(node) {
        [word] => Ok(word.clone()),
        _ => Err(InstructionError::ExactlyOne(name).at(node.span)),
    }
}

fn some(node: &Node, name: &'static str) -> Result<Vec<Word>, Fault> {
    flagless(node)?;
    match arguments(node) {
        [] => Err(InstructionError::AtLeastOne(name).at(node.span)),
        words => Ok(words.to_vec()),
    }
}

fn command_line(node: &Node) -> CommandLine {
    if node.is_json {
        return CommandLine::Exec(arguments(node).to_vec());
    }
    CommandLine::Shell(match arguments(node) {
        [text, ..] => text.clone(),
        [] => Word::new(String::new(), node.rest.span),
    })
}

const FROM_FLAGS: FlagSpec = &[("platform", FlagKind::Text)];

fn from(node: &Node) -> Result<FromClause, Fault> {
    let (image, alias) = match arguments(node) {
        [image] => (image, None),
        [image, keyword, name] if keyword.value.eq_ignore_ascii_case("as") => {
            (image, Some((keyword, name)))
        }
        _ => return Err(InstructionError::FromArguments.at(node.span)),
    };
    if let Some((_, name)) = alias {
        check_stage_name(name)?;
    }
    let flags = Flags::check(&node.flags, FROM_FLAGS)?;
    Ok(FromClause {
        platform: flags.text("platform"),
        image: image.clone(),
        name: alias.map(|(_, name)| name.clone().map(|name| name.to_lowercase())),
        written_name: alias.map(|(_, name)| name.clone()),
        as_keyword: alias.map(|(keyword, _)| keyword.clone()),
    })
}

fn check_stage_name(name: &Word) -> Result<(), Fault> {
    let lower = name.value.to_lowercase();
    let is_valid = lower.starts_with(|ch: char| ch.is_ascii_lowercase())
        && lower
            .chars()
            .all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || "-_.".contains(ch));
    if is_valid {
        return Ok(());
    }
    Err(InstructionError::StageName(name.value.clone()).at(name.span))
}

fn pairs(node: &Node, name: &'static str) -> Result<Vec<KeyValue>, Fault> {
    flagless(node)?;
    let Arguments::Pairs(pairs) = &node.arguments else {
        return Err(InstructionError::AtLeastOne(name).at(node.span));
    };
    if pairs.is_empty() {
        return Err(InstructionError::AtLeastOne(name).at(node.span));
    }
    match pairs.iter().find(|pair| pair.key.value.is_empty()) {
        Some(pair) => Err(InstructionError::BlankName(name).at(pair.value.span)),
        None => Ok(pairs.clone()),
    }
}

fn arg(node: &Node) -> Result<Arg, Fault> {
    let declarations = some(node, "ARG")?
        .into_iter()
        .map(|word| declaration(word, &node.comments))
        .collect::<Result<_, _>>()?;
    Ok(Arg { declarations })
}

fn declaration(word: Word, comments: &[Word]) -> Result<ArgDeclaration, Fault> {
    let (name, default) = match word.value.split_once('=') {
        Some(("", _)) => return Err(InstructionError::BlankName("ARG").at(word.span)),
        Some((name, value)) => {
            let (name_span, value_span) = words::split_span(&word, name.len());
            (
                Word::new(name.to_owned(), name_span),
                Some(Word::new(value.to_owned(), value_span)),
            )
        }
        None => (word, None),
    };
    let description = comments.iter().find_map(|comment| {
        let text = comment
            .value
            .strip_prefix(name.as_str())?
            .strip_prefix(' ')?;
        Some(text.to_owned())
    });
    Ok(ArgDeclaration {
        name,
        default,
        description,
    })
}

fn expose(node: &Node) -> Result<Vec<Word>, Fault> {
    let mut ports = some(node, "EXPOSE")?;
    ports.sort_by(|one, other| one.value.cmp(&other.value));
    Ok(ports)
}

fn volume(node: &Node) -> Result<Vec<Word>, Fault> {
    some(node, "VOLUME")?
        .into_iter()
        .map(|word| {
            let path = word.value.trim();
            if path.is_empty() {
                return Err(InstructionError::EmptyVolume.at(word.span));
            }
            Ok(Word::new(path.to_owned(), word.span))
        })
        .collect()
}

fn shell(node: &Node) -> Result<Vec<Word>, Fault> {
    let words = some(node, "SHELL")?;
    if node.is_json {
        return Ok(words);
    }
    Err(InstructionError::ShellNotJson.at(node.rest.span))
}

fn on_build(node: &Node) -> Result<OnBuild, Fault> {
    let Arguments::Instruction(Some(inner)) = &node.arguments else {
        return Err(InstructionError::AtLeastOne("ONBUILD").at(node.span));
    };
    flagless(node)?;
    match inner.keyword.value.to_ascii_uppercase().as_str() {
        "ONBUILD" => return Err(InstructionError::ChainedOnBuild.at(inner.keyword.span)),
        name @ ("MAINTAINER" | "FROM") => {
            return Err(InstructionError::Trigger(name.to_owned()).at(inner.keyword.span));
        }
        _ => {}
    }
    let mut trigger = node.line.trim_start()[node.keyword.value.len()..]
        .trim_start()
        .to_owned();
    for heredoc in &node.heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.content);
        trigger.push_str(&heredoc.name);
    }
    Ok(OnBuild {
        trigger,
        instruction: frame(inner, step(inner)?),
    })
}
