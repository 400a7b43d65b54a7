//! What is shown of steps that failed, once, at the end of a run.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cairn_build::failure::Failure;

use crate::error::{CommandError, Kind};
use crate::printer::Printer;
use crate::sanitize;
use crate::settings::ProgressChoice;
use crate::style::{Line, Tone};

/// Where all of a log stands further up already, so many last lines are repeated.
const TAIL_LINES: usize = 20;
/// Lines are handed to the terminal in pieces of so many: a log may be long.
const CHUNK_LINES: usize = 512;
const RULE: &str = "--------------------";

/// Shows failures and gives the error that the command ends with.
///
/// `progress` tells what was seen already: the plain view has printed every line, the others none.
pub fn tell(printer: &Printer, failures: &[Failure], progress: ProgressChoice) -> CommandError {
    for failure in failures {
        if let Some(log) = &failure.log {
            match progress {
                ProgressChoice::Json => {}
                ProgressChoice::Plain => tail(printer, failure, log),
                ProgressChoice::Auto | ProgressChoice::Tty | ProgressChoice::Quiet => {
                    whole(printer, failure, log);
                }
            }
        }
        printer.finding(&failure.diagnostic);
    }
    let is_environment = !failures.is_empty() && failures.iter().all(|failure| failure.environment);
    CommandError::told(match is_environment {
        true => Kind::Environment,
        false => Kind::Work,
    })
}

fn whole(printer: &Printer, failure: &Failure, log: &Path) {
    let heading = format!("{RULE} output of the failed step of {}", failure.image);
    printer.tell(&[Line::new(Tone::Dim, sanitize::name(&heading))]);
    let mut chunk = Vec::new();
    let read = each_line(log, &mut |line| {
        chunk.push(line);
        if chunk.len() == CHUNK_LINES {
            printer.tell(&chunk);
            chunk.clear();
        }
    });
    printer.tell(&chunk);
    end(printer, log, read);
}

fn tail(printer: &Printer, failure: &Failure, log: &Path) {
    let mut last = VecDeque::new();
    let read = each_line(log, &mut |line| {
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(line);
    });
    let vertex = failure.vertex.0;
    printer.tell(&[Line::new(Tone::Dim, format!("{RULE} the end of #{vertex}"))]);
    printer.tell(last.make_contiguous());
    end(printer, log, read);
}

fn end(printer: &Printer, log: &Path, read: std::io::Result<()>) {
    if let Err(error) = read {
        let text = format!("cannot read the step's log {}: {error}", log.display());
        printer.warning(&text);
    }
    printer.tell(&[Line::new(Tone::Dim, RULE)]);
}

fn each_line(log: &Path, each: &mut dyn FnMut(Line)) -> std::io::Result<()> {
    let mut reader = BufReader::new(File::open(log)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        each(Line::new(Tone::Plain, sanitize::output_line(text)));
        line.clear();
    }
    Ok(())
}
