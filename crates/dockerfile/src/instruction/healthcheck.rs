//! `HEALTHCHECK`: its two types and its timing.

use std::time::Duration;

use super::{Fault, InstructionError, arguments};
use crate::ast::{CommandLine, Healthcheck, HealthcheckTiming, Word};
use crate::flags::{FlagKind, FlagSpec, Flags};
use crate::tree::Node;
use crate::value;

const FLAGS: FlagSpec = &[
    ("interval", FlagKind::Text),
    ("retries", FlagKind::Text),
    ("start-interval", FlagKind::Text),
    ("start-period", FlagKind::Text),
    ("timeout", FlagKind::Text),
];

/// An interval other than zero is not shorter than this.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

pub(super) fn healthcheck(node: &Node) -> Result<Healthcheck, Fault> {
    let Some((kind, command)) = arguments(node).split_first() else {
        return Err(InstructionError::AtLeastOne("HEALTHCHECK").at(node.span));
    };
    let flags = Flags::check(&node.flags, FLAGS)?;
    match kind.value.to_uppercase().as_str() {
        "NONE" if command.is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(InstructionError::HealthcheckNone.at(node.span)),
        "CMD" => Ok(Healthcheck::Command {
            command: command_line(node, command)?,
            timing: timing(&flags)?,
        }),
        _ => Err(InstructionError::HealthcheckType(kind.value.clone()).at(kind.span)),
    }
}

fn command_line(node: &Node, words: &[Word]) -> Result<CommandLine, Fault> {
    match words {
        [] => Err(InstructionError::HealthcheckCommand.at(node.span)),
        words if node.is_json => Ok(CommandLine::Exec(words.to_vec())),
        [text, ..] => Ok(CommandLine::Shell(text.clone())),
    }
}

fn timing(flags: &Flags) -> Result<HealthcheckTiming, Fault> {
    Ok(HealthcheckTiming {
        interval: interval(flags, "interval")?,
        timeout: interval(flags, "timeout")?,
        start_period: interval(flags, "start-period")?,
        start_interval: interval(flags, "start-interval")?,
        retries: flags.text("retries").map(retries).transpose()?,
    })
}

fn interval(flags: &Flags, name: &'static str) -> Result<Option<Duration>, Fault> {
    let Some(word) = flags.text(name) else {
        return Ok(None);
    };
    let interval = value::duration(word.as_str())
        .map_err(|error| InstructionError::Duration(error).at(word.span))?;
    if !interval.is_zero() && interval < INTERVAL_MIN {
        return Err(InstructionError::ShortInterval(name).at(word.span));
    }
    Ok(Some(interval))
}

fn retries(word: Word) -> Result<u32, Fault> {
    let number: i64 = match word.value.parse::<i32>() {
        Ok(number) => number.into(),
        Err(_) => return Err(InstructionError::Retries(word.value).at(word.span)),
    };
    u32::try_from(number).map_err(|_| InstructionError::NegativeRetries(number).at(word.span))
}
