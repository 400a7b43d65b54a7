//! All output of the process goes through one object, chosen at the start.
//!
//! Standard output carries the one thing a script wants; people are spoken to on standard error.
//! What goes to a terminal is cleaned first; what goes to a pipe keeps its bytes. A reader of
//! standard output that went away ends the command cleanly; standard error may be closed.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use cairn_build::event::{Event, EventSink};
use cairn_build::secrets::Secrets;
use cairn_diagnostic::{Diagnostic, Severity, Source};
use cairn_dockerfile::lint::masked;
use serde::Serialize;

use crate::error::{CommandError, Kind, OutputError};
use crate::sanitize;
use crate::settings::Settings;
use crate::style::{Line, Tone, paint};

/// A text with stars for its secrets.
struct Masked {
    of: Source,
    source: Source,
}

impl Masked {
    fn is_of(&self, source: &Source) -> bool {
        Arc::ptr_eq(&self.of.text, &source.text) && self.of.name == source.name
    }
}

/// Where words go, and how they look there.
#[derive(Debug, Clone)]
pub struct Printer {
    stdout_is_terminal: bool,
    color_stdout: bool,
    color_stderr: bool,
    /// Standard error speaks JSON lines: messages become events, too.
    json_events: bool,
    /// What no message says.
    secrets: OnceLock<Secrets>,
}

/// Where nothing is drawn, of all events only remarks are told.
impl EventSink for Printer {
    fn emit(&self, event: Event) {
        match event {
            Event::Notice {
                warning: true,
                text,
            } => self.warning(&text),
            Event::Notice { text, .. } => self.note(&text),
            _ => {}
        }
    }
}

impl Printer {
    /// Takes over what the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self {
            stdout_is_terminal: settings.terminals.stdout,
            color_stdout: settings.color_stdout,
            color_stderr: settings.color_stderr,
            json_events: false,
            secrets: OnceLock::new(),
        }
    }

    /// From now on messages do not say these values.
    pub fn hide<'a>(&self, secrets: impl Iterator<Item = &'a [u8]>) {
        // A process runs one command, which knows all its secrets at once.
        let _ = self.secrets.set(Secrets::new(secrets));
    }

    fn mask(&self, text: &str) -> String {
        match self.secrets.get() {
            Some(secrets) => secrets.mask(text),
            None => text.to_owned(),
        }
    }

    /// From now on messages to people are JSON lines, as `--progress json` promises.
    pub fn speak_json_events(&mut self) {
        self.json_events = true;
    }

    /// Prints data: text that ends with a line end.
    pub fn data(&self, text: &str) -> Result<(), OutputError> {
        if self.stdout_is_terminal {
            return self.bytes(sanitize::text(text).as_bytes());
        }
        self.bytes(text.as_bytes())
    }

    /// Prints lines of data that people read, such as a table.
    pub fn lines(&self, lines: &[Line]) -> Result<(), OutputError> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.render(self.color_stdout));
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// Prints findings as data, with the lines they point at.
    pub fn findings_data(
        &self,
        findings: impl Iterator<Item = Diagnostic>,
    ) -> Result<(), OutputError> {
        let mut last = None;
        for finding in findings {
            // An excerpt may hold anything, and who pipes this often shows it in the end.
            let text = cairn_diagnostic::render(&self.shown(&finding, &mut last));
            self.bytes(tinted(&sanitize::text(&text), self.color_stdout).as_bytes())?;
        }
        Ok(())
    }

    /// Prints a value as JSON, indented as people like to read it.
    pub fn json(&self, value: &impl Serialize) -> Result<(), OutputError> {
        let mut text = serde_json::to_string_pretty(value).map_err(|e| OutputError(e.into()))?;
        text.push('\n');
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to standard output as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), OutputError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(OutputError)
    }

    /// Tells people something in passing.
    pub fn note(&self, text: &str) {
        self.say("note", Tone::Strong, text);
    }

    /// Tells people of something that is probably wrong.
    pub fn warning(&self, text: &str) {
        self.say("warning", Tone::Warn, text);
    }

    /// Prints lines for people.
    pub fn tell(&self, lines: &[Line]) {
        if self.json_events {
            return;
        }
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.render(self.color_stderr));
            text.push('\n');
        }
        write_stderr(&text);
    }

    /// Prints a finding about a file, with the lines it points at.
    pub fn finding(&self, finding: &Diagnostic) {
        self.finding_after(finding, &mut None);
    }

    fn finding_after(&self, finding: &Diagnostic, last: &mut Option<Masked>) {
        let finding = self.shown(finding, last);
        if self.json_events {
            self.event(&Message::of(&finding));
            return;
        }
        let plain = cairn_diagnostic::render(&finding);
        write_stderr(&tinted(&sanitize::text(&plain), self.color_stderr));
    }

    /// Prints why a command failed: the message, its causes, hints.
    pub fn error(&self, error: &CommandError) {
        if error.kind == Kind::BrokenPipe {
            return;
        }
        let mut last = None;
        for finding in &error.findings {
            self.finding_after(finding, &mut last);
        }
        if error.messages.is_empty() && error.hints.is_empty() {
            return;
        }
        if self.json_events {
            let message = Message {
                event: "message",
                level: "error",
                text: self.mask(&error.messages.join(": ")),
                place: None,
                hints: error.hints.clone(),
            };
            self.event(&message);
            return;
        }
        let text = self.mask(&error_text(error));
        write_stderr(&tinted(&sanitize::text(&text), self.color_stderr));
    }

    /// A finding without the secrets that stand in the text it points into, or in its words. `last`
    /// is the text of the one before: a text with thousands of findings is read through once.
    fn shown(&self, finding: &Diagnostic, last: &mut Option<Masked>) -> Diagnostic {
        let mut shown = finding.clone();
        shown.message = self.mask(&finding.message);
        for hint in &mut shown.hints {
            *hint = self.mask(hint);
        }
        if let Some(label) = &mut shown.label {
            let is_known = |last: &mut Masked| last.is_of(&label.source);
            let masked = match last.take_if(is_known) {
                Some(known) => known,
                None => self.without_secrets(&label.source),
            };
            let masked = last.insert(masked);
            label.source = masked.source.clone();
        }
        shown
    }

    fn without_secrets(&self, of: &Source) -> Masked {
        let text = match self.secrets.get() {
            Some(secrets) => masked(&secrets.star_out(&of.text)),
            None => masked(&of.text),
        };
        Masked {
            of: of.clone(),
            source: Source::new(of.name.clone(), text),
        }
    }

    fn say(&self, word: &'static str, tone: Tone, text: &str) {
        if self.json_events {
            let message = Message {
                event: "message",
                level: word,
                text: text.to_owned(),
                place: None,
                hints: Vec::new(),
            };
            self.event(&message);
            return;
        }
        let word = paint(word, tone, self.color_stderr);
        write_stderr(&format!("{word}: {}\n", sanitize::text(text)));
    }

    fn event(&self, message: &Message) {
        // A message is strings only: serialising it cannot fail.
        if let Ok(line) = serde_json::to_string(message) {
            write_stderr(&format!("{line}\n"));
        }
    }
}

/// A message to people in the JSON line form.
#[derive(Serialize)]
struct Message {
    event: &'static str,
    level: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

impl Message {
    fn of(finding: &Diagnostic) -> Self {
        let place = finding.label.as_ref().zip(finding.position());
        Self {
            event: "message",
            level: match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            },
            text: finding.message.clone(),
            place: place
                .map(|(label, at)| format!("{}:{}:{}", label.source.name, at.line, at.column)),
            hints: finding.hints.clone(),
        }
    }
}

/// Colours the words that begin lines of an error or a finding.
fn tinted(text: &str, color: bool) -> String {
    if !color {
        return text.to_owned();
    }
    const WORDS: [(&str, Tone); 6] = [
        ("error", Tone::Bad),
        ("warning", Tone::Warn),
        ("note", Tone::Strong),
        ("hint", Tone::Busy),
        ("caused by", Tone::Strong),
        ("----", Tone::Dim),
    ];
    text.split_inclusive('\n')
        .map(|line| {
            let found = WORDS.iter().find(|(word, _)| line.starts_with(word));
            match found {
                Some((_, Tone::Dim)) => paint(line.trim_end(), Tone::Dim, true) + "\n",
                Some((word, tone)) => paint(word, *tone, true) + &line[word.len()..],
                None if line.contains(" | >>> ") => {
                    paint(line.trim_end(), Tone::Strong, true) + "\n"
                }
                None => line.to_owned(),
            }
        })
        .collect()
}

fn error_text(error: &CommandError) -> String {
    let mut text = String::new();
    for (depth, message) in error.messages.iter().enumerate() {
        let word = if depth == 0 { "error" } else { "caused by" };
        text.push_str(&format!("{word}: {message}\n"));
    }
    for hint in &error.hints {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// Standard error may be closed; there is nobody to tell then.
pub fn write_stderr(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Span;

    use super::*;

    #[test]
    fn an_error_is_told_with_causes_and_hints() {
        let mut error =
            CommandError::new(Kind::Environment, "cannot open the store").hint("free some space");
        error.messages.push("the disk is full".into());
        assert_eq!(
            error_text(&error),
            "error: cannot open the store\ncaused by: the disk is full\nhint: free some space\n"
        );
    }

    #[test]
    fn only_the_leading_word_is_coloured() {
        let text = "error: an error\n  2 | >>> RUN x\nplain\n";
        assert_eq!(
            tinted(text, true),
            "\u{1b}[1;31merror\u{1b}[0m: an error\n\u{1b}[1m  2 | >>> RUN x\u{1b}[0m\nplain\n"
        );
        assert_eq!(tinted(text, false), text);
    }

    #[test]
    fn a_text_is_read_through_once_for_all_its_findings() {
        let printer = Printer {
            stdout_is_terminal: false,
            color_stdout: false,
            color_stderr: false,
            json_events: false,
            secrets: OnceLock::new(),
        };
        let mut last = None;
        let mut text_of = |source: &Source| {
            let finding = Diagnostic::error("x").at(source, Span::new(0, 1));
            let shown = printer.shown(&finding, &mut last).label;
            shown.expect("it has a place").source.text
        };
        let source = Source::new("f", "curl https://ann:hunter2@x.org");
        let first = text_of(&source);
        assert!(!first.contains("hunter2"));
        assert!(Arc::ptr_eq(&first, &text_of(&source)));
        assert_eq!(&*text_of(&Source::new("f", "another")), "another");
    }
}
