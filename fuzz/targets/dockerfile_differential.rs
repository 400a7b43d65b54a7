//! Cairn's parser beside another one, the crate `parse-dockerfile`.
//!
//! - both take a text, or both refuse it;
//! - what both take has the same instructions in the same order; the same images and names in
//!   `FROM`, the same arguments in exec forms, the same commands in shell forms.
//!
//! Where the two differ, BuildKit says who is right. What is left out of the comparison, all of it
//! Cairn following BuildKit:
//!
//! - texts with other characters than printable ASCII, blanks and line feeds, with directives or
//!   with heredocs, flags with quotes, two backslashes in a row, or a continuation that nothing follows: the other
//!   cuts those in its own way;
//! - [`ONLY_OURS`]: refusals of what the other does not look at;
//! - [`ONLY_THEIRS`]: refusals of what BuildKit takes.
#![no_main]

use cairn_dockerfile::ast::{CommandLine, Healthcheck, InstructionKind};
use cairn_dockerfile::{Dockerfile, parse};
use libfuzzer_sys::fuzz_target;
use parse_dockerfile::{Command, HealthcheckArguments, Instruction};

/// What ours refuses and the other does not look at: flags, names and values. Parts of messages.
const ONLY_OURS: &[&str] = &[
    " flag",
    "must have two arguments",
    "can't find = in",
    "FROM requires either one or three arguments",
    "names can not be blank",
    "invalid name for build stage",
    "isn't allowed",
    "variable expansion is not supported for --from",
    "not be an empty string",
    "unsupported network mode",
    "is not valid",
    "requires exactly one argument",
    "requires at least one argument",
    "HEALTHCHECK",
    "interval",
    "retries",
    "duration",
    "mount",
];

/// What the other refuses and BuildKit takes. Parts of messages.
const ONLY_THEIRS: &[&str] = &[
    // The last stage of a name wins.
    "duplicate stage name",
    // An empty shell form is a command that takes nothing over.
    "requires at least one argument",
];

fuzz_target!(|data: &[u8]| {
    let Some(source) = cairn_fuzz::source("Dockerfile", data) else {
        return;
    };
    if !is_common(&source.text) {
        return;
    }
    let text = &*source.text;
    match (parse(&source), parse_dockerfile::parse(text)) {
        (Ok(ours), Ok(theirs)) => {
            let theirs: Vec<_> = theirs.instructions.iter().map(their_instruction).collect();
            assert_eq!(our_instructions(&ours), theirs, "{text}");
        }
        (Ok(_), Err(error)) => {
            let message = error.to_string();
            let is_known = ONLY_THEIRS.iter().any(|part| message.contains(part));
            assert!(is_known, "only theirs refuses: {message}\n{text}");
        }
        (Err(errors), Ok(_)) => {
            let message = &errors[0].message;
            let is_known = ONLY_OURS.iter().any(|part| message.contains(part));
            assert!(is_known, "only ours refuses: {message}\n{text}");
        }
        (Err(_), Err(_)) => {}
    }
});

/// Whether a text is of the part of the language that both cut in the same way.
fn is_common(text: &str) -> bool {
    let is_plain = |byte| matches!(byte, b' '..=b'~' | b'\n');
    // The other does not know that quotes and backslashes have a meaning in flags.
    let quotes_flags = |line: &str| line.contains("--") && line.contains(['"', '\'', '\\']);
    let mut head = text
        .lines()
        .take_while(|line| line.trim_start().starts_with('#'));
    text.bytes().all(is_plain)
        && !head.any(|line| line.contains('='))
        && !text.contains("<<")
        && !text.lines().any(quotes_flags)
        && !text.trim_end().ends_with('\\')
        && !text.contains("\\\\")
}

/// An instruction as both can tell it.
#[derive(Debug, PartialEq)]
struct Told {
    keyword: &'static str,
    /// What it says, where both keep that in the same form.
    says: Option<Says>,
}

#[derive(Debug, PartialEq)]
enum Says {
    From(String, Option<String>),
    Exec(Vec<String>),
    Shell(String),
}

fn our_instructions(file: &Dockerfile) -> Vec<Told> {
    let arguments = file.global_args.iter().map(|_| Told {
        keyword: "ARG",
        says: None,
    });
    let stages = file.stages.iter().flat_map(|stage| {
        let from = &stage.from.kind;
        let name = from.written_name.as_ref().map(|name| name.value.clone());
        let from = Told {
            keyword: "FROM",
            says: Some(Says::From(from.image.value.clone(), name)),
        };
        let rest = stage.instructions.iter().map(|instruction| Told {
            keyword: instruction.kind.name(),
            says: our_command(&instruction.kind),
        });
        std::iter::once(from).chain(rest)
    });
    arguments.chain(stages).collect()
}

fn our_command(kind: &InstructionKind) -> Option<Says> {
    let line = match kind {
        InstructionKind::Run(run) => &run.command,
        InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => line,
        InstructionKind::Healthcheck(Healthcheck::Command { command, .. }) => command,
        InstructionKind::Shell(words) => {
            return Some(Says::Exec(
                words.iter().map(|word| word.value.clone()).collect(),
            ));
        }
        _ => return None,
    };
    Some(match line {
        CommandLine::Exec(_) => Says::Exec(line.arguments()),
        CommandLine::Shell(text) => Says::Shell(text.value.clone()),
    })
}

fn their_instruction(instruction: &Instruction<'_>) -> Told {
    let (keyword, says) = match instruction {
        Instruction::Add(_) => ("ADD", None),
        Instruction::Arg(_) => ("ARG", None),
        Instruction::Cmd(cmd) => ("CMD", Some(their_command(&cmd.arguments))),
        Instruction::Copy(_) => ("COPY", None),
        Instruction::Entrypoint(entrypoint) => {
            ("ENTRYPOINT", Some(their_command(&entrypoint.arguments)))
        }
        Instruction::Env(_) => ("ENV", None),
        Instruction::Expose(_) => ("EXPOSE", None),
        Instruction::From(from) => {
            let name = from.as_.as_ref().map(|(_, name)| name.value.to_string());
            ("FROM", Some(Says::From(from.image.value.to_string(), name)))
        }
        Instruction::Healthcheck(healthcheck) => {
            let says = match &healthcheck.arguments {
                HealthcheckArguments::Cmd { arguments, .. } => Some(their_command(arguments)),
                _ => None,
            };
            ("HEALTHCHECK", says)
        }
        Instruction::Label(_) => ("LABEL", None),
        Instruction::Maintainer(_) => ("MAINTAINER", None),
        Instruction::Onbuild(_) => ("ONBUILD", None),
        Instruction::Run(run) => ("RUN", Some(their_command(&run.arguments))),
        Instruction::Shell(shell) => {
            let words = shell.arguments.iter().map(|word| word.value.to_string());
            ("SHELL", Some(Says::Exec(words.collect())))
        }
        Instruction::Stopsignal(_) => ("STOPSIGNAL", None),
        Instruction::User(_) => ("USER", None),
        Instruction::Volume(_) => ("VOLUME", None),
        Instruction::Workdir(_) => ("WORKDIR", None),
        other => panic!("an instruction that did not exist: {other:?}"),
    };
    Told { keyword, says }
}

fn their_command(command: &Command<'_>) -> Says {
    match command {
        Command::Exec(words) => Says::Exec(
            words
                .value
                .iter()
                .map(|word| word.value.to_string())
                .collect(),
        ),
        Command::Shell(text) => Says::Shell(joined(text.value)),
        other => panic!("a form that did not exist: {other:?}"),
    }
}

/// Their shell forms are slices of the text; this takes the continuations and comments out.
fn joined(text: &str) -> String {
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        let start = line.trim_start();
        if index > 0 && (start.is_empty() || start.starts_with('#')) {
            continue;
        }
        out.push_str(line.trim_end().strip_suffix('\\').unwrap_or(line));
    }
    out.trim().to_owned()
}
