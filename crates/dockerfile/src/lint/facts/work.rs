//! What a `RUN` does: its commands, each with its place in the Dockerfile.

use std::ops::Range;

use cairn_diagnostic::{Source, Span};

use crate::ast::{CommandLine, Heredoc, Instruction, Run, Word};
use crate::heredoc;
use crate::shell::{Invocation, Script};

/// The commands of a `RUN`.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Its script, then the scripts that it hands to `sh -c`.
    pub(crate) scripts: Vec<PlacedScript>,
}

/// A script and where it stands.
#[derive(Debug)]
pub(crate) struct PlacedScript {
    pub(crate) script: Script,
    /// Whether a failing command ends it.
    pub(crate) stops_at_failure: bool,
    /// Whether a pipeline fails with any of its commands.
    pub(crate) has_pipefail: bool,
    places: Places,
}

/// A command and where it stands.
pub(crate) struct Found<'a> {
    pub(crate) invocation: Invocation<'a>,
    pub(crate) span: Span,
    script: &'a PlacedScript,
}

impl PlacedScript {
    /// Looks at what the shell is told: `flags` when it is started, `set` in the script.
    fn new(script: Script, places: Places, flags: &str) -> Self {
        let mut options: Vec<&str> = flags.split(' ').collect();
        for simple in script.simple_commands() {
            if simple.program() == Some("set") {
                let words = simple.words.iter().skip(1);
                options.extend(words.map(|word| word.text.as_str()));
            }
        }
        let stops = |option: &&str| is_letter_in(option, 'e') || *option == "errexit";
        Self {
            stops_at_failure: options.iter().any(stops),
            has_pipefail: options.contains(&"pipefail"),
            script,
            places,
        }
    }

    /// Where a part of the script stands.
    pub(crate) fn span(&self, range: &Range<usize>) -> Span {
        self.places.span(range)
    }
}

impl<'a> Found<'a> {
    /// The program whose output a pipeline gives to it.
    pub(crate) fn feeder(&self) -> Option<&'a str> {
        let before = self.script.script.feeder(self.invocation.simple)?;
        before.program()
    }

    /// Where a part of the command stands, if that is known to the byte.
    pub(crate) fn exact(&self, range: &Range<usize>) -> Option<Span> {
        match &self.script.places {
            Places::Pieces(_) => Some(self.script.span(range)),
            Places::Whole(_) => None,
        }
    }
}

impl Work {
    /// Reads the command of a `RUN`. `shell` is the last `SHELL`. Nothing is known of a script
    /// that is no POSIX shell's.
    pub(super) fn read(
        run: &Run,
        instruction: &Instruction,
        shell: Option<&[Word]>,
        source: &Source,
        escape: char,
    ) -> Self {
        let mut work = Self::default();
        if escape != '\\' {
            return work;
        }
        let flags = match shell.map(posix_flags) {
            Some(None) if matches!(run.command, CommandLine::Shell(_)) => return work,
            Some(Some(flags)) => flags,
            _ => String::new(),
        };
        let Some((text, places)) = script_text(run, instruction, source) else {
            return work;
        };
        if let CommandLine::Exec(words) = &run.command {
            work.add_exec(words);
        } else if let Ok(script) = Script::parse(&text) {
            // A script with a first line of its own is not run by the shell of `SHELL`.
            let own = text.strip_prefix("#!").and_then(|text| text.lines().next());
            let flags = own.unwrap_or(&flags);
            work.scripts.push(PlacedScript::new(script, places, flags));
        }
        work.add_inner();
        work
    }

    /// All commands it runs, in order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = Found<'_>> {
        self.scripts.iter().flat_map(|script| {
            let commands = script.script.simple_commands().into_iter();
            commands.filter_map(move |simple| {
                Some(Found {
                    span: script.span(&simple.range),
                    invocation: Invocation::of(simple)?,
                    script,
                })
            })
        })
    }

    /// An argument vector, which is one command; a shell's `-c` is its script.
    fn add_exec(&mut self, words: &[Word]) {
        let Some((first, last)) = words.first().zip(words.last()) else {
            return;
        };
        let span = first.span.to(last.span);
        if let [program, flag, script] = words
            && is_posix(&program.value)
            && is_script_flag(&flag.value)
        {
            if let Ok(parsed) = Script::parse(&script.value) {
                let places = Places::Whole(span);
                self.scripts
                    .push(PlacedScript::new(parsed, places, &flag.value));
            }
            return;
        }
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("'{}'", word.value.replace('\'', "'\\''")))
            .collect();
        if let Ok(script) = Script::parse(&quoted.join(" ")) {
            self.scripts
                .push(PlacedScript::new(script, Places::Whole(span), ""));
        }
    }

    /// Scripts given to `sh -c` inside the script; those inside these are left alone.
    fn add_inner(&mut self) {
        let mut inner = Vec::new();
        for found in self.commands() {
            let arguments = found.invocation.arguments;
            let at = arguments.iter().position(|word| is_script_flag(&word.text));
            if let Some((flags, [word, ..])) = at.map(|at| arguments.split_at(at + 1))
                && is_posix(found.invocation.program)
                && let Ok(script) = Script::parse(&word.text)
            {
                let flags: Vec<&str> = flags.iter().map(|word| word.text.as_str()).collect();
                let places = Places::Whole(found.script.span(&word.range));
                inner.push(PlacedScript::new(script, places, &flags.join(" ")));
            }
        }
        self.scripts.extend(inner);
    }
}

/// The text of a `RUN`'s script, and where its bytes stand.
fn script_text(run: &Run, instruction: &Instruction, source: &Source) -> Option<(String, Places)> {
    let text = match &run.command {
        CommandLine::Exec(_) => return Some((String::new(), Places::Whole(instruction.span))),
        CommandLine::Shell(text) => text,
    };
    let Some(first) = run.heredocs.first() else {
        let places = Places::of_line(text, source, instruction.span);
        return Some((text.value.clone(), places));
    };
    if heredoc::is_heredoc(text.as_str()) {
        return shell_body(first).then(|| (first.text(), Places::of_heredoc(first)));
    }
    let mut full = text.value.clone();
    for heredoc in &run.heredocs {
        full.push('\n');
        full.push_str(&heredoc.content);
        full.push_str(&heredoc.name);
    }
    Some((full, Places::of_line(text, source, instruction.span)))
}

/// Whether a here-document is a script for a shell: it names none, or one of these.
fn shell_body(heredoc: &Heredoc) -> bool {
    let text = heredoc.text();
    let Some(first) = text.strip_prefix("#!") else {
        return true;
    };
    let line = first.lines().next().unwrap_or_default();
    line.split(['/', ' ']).any(is_posix)
}

fn is_posix(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh")
}

fn is_script_flag(flag: &str) -> bool {
    is_letter_in(flag, 'c')
}

fn is_letter_in(flag: &str, letter: char) -> bool {
    flag.strip_prefix('-').is_some_and(|letters| {
        letters.chars().all(|ch| ch.is_ascii_alphabetic()) && letters.contains(letter)
    })
}

/// The options of a shell given by `SHELL`; `None` if it is another kind of shell.
fn posix_flags(shell: &[Word]) -> Option<String> {
    let at = shell.iter().position(|word| is_posix(&word.value))?;
    let flags = shell[at + 1..].iter().map(|word| word.value.as_str());
    Some(flags.collect::<Vec<_>>().join(" "))
}

/// Where the bytes of a script stand in the Dockerfile.
#[derive(Debug)]
enum Places {
    /// Stretches that are the same here and there: where each starts in the script and in the
    /// file.
    Pieces(Vec<(usize, usize)>),
    /// It is not known more exactly.
    Whole(Span),
}

impl Places {
    /// The places of a command line, whose continuations were joined and comments dropped.
    fn of_line(text: &Word, source: &Source, instruction: Span) -> Self {
        let written = &source.text[text.span.start..text.span.end];
        let mut pieces = Vec::new();
        let mut joined = String::new();
        let mut start = text.span.start;
        for (index, line) in written.split_inclusive('\n').enumerate() {
            let bare = line.trim_end_matches(['\n', '\r']);
            let is_dropped =
                index > 0 && (bare.trim_start().starts_with('#') || bare.trim_start().is_empty());
            if !is_dropped {
                let trimmed = bare.trim_end_matches([' ', '\t']);
                let kept = match trimmed.strip_suffix('\\') {
                    Some(before) if !before.ends_with('\\') => before,
                    _ => bare,
                };
                pieces.push((joined.len(), start));
                joined.push_str(kept);
            }
            start += line.len();
        }
        // What was not joined this way is only known as a whole.
        match joined == text.value {
            true => Self::Pieces(pieces),
            false => Self::Whole(instruction),
        }
    }

    fn of_heredoc(heredoc: &Heredoc) -> Self {
        let mut pieces = Vec::new();
        let (mut at, mut start) = (0, heredoc.span.start);
        for line in heredoc.content.split_inclusive('\n') {
            let kept = match heredoc.strip_tabs {
                true => line.trim_start_matches('\t'),
                false => line,
            };
            pieces.push((at, start + line.len() - kept.len()));
            at += kept.len();
            start += line.len();
        }
        Self::Pieces(pieces)
    }

    fn span(&self, range: &Range<usize>) -> Span {
        let pieces = match self {
            Self::Whole(span) => return *span,
            Self::Pieces(pieces) => pieces,
        };
        let offset = |at: usize| {
            let index = pieces.partition_point(|&(start, _)| start <= at);
            let piece = index.checked_sub(1).and_then(|index| pieces.get(index));
            piece.map_or(0, |&(start, source)| source + (at - start))
        };
        match range.end.checked_sub(1) {
            Some(last) if last >= range.start => Span::new(offset(range.start), offset(last) + 1),
            _ => Span::new(offset(range.start), offset(range.start)),
        }
    }
}
