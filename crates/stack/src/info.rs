//! What images hold, told by commands that are run in them: the sections of an image's page
//! (DH-66 to DH-68).
//!
//! A command runs as the image's user in a new container that is thrown away, without the image's
//! entrypoint. What it printed is known by the image's content and the command, and is not asked
//! for again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_build::event::{Event, EventSink};
use cairn_build::image::ImageRecord;
use cairn_sandbox::{Cancel, Exit, SandboxError};
use cairn_spec::info::InfoCommand;
use cairn_store::{CacheKey, CacheRecord, KeyHasher, Store};

use crate::structure::{CheckError, Conditions};
use crate::suite::container::{Container, Wanted};
use crate::suite::image::ended;
use crate::suite::{Stop, SuiteError, tail};

/// Changes when an equal command would be run differently.
const FORMAT: &str = "1";
/// What a command may take.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Of what it prints, so much is kept.
const OUTPUT_MAX: usize = 1 << 20;
const OUTPUT: &str = "output";

/// The means of asking.
pub struct InfoMeans<'a> {
    /// Where images and what is known of them are.
    pub store: &'a Store,
    /// The circumstances, as for structure tests.
    pub conditions: &'a Conditions,
    /// Who is told.
    pub events: &'a dyn EventSink,
    /// Asks to stop.
    pub cancel: &'a Cancel,
}

/// One section of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoSection {
    /// Its heading.
    pub title: String,
    /// What the command printed, or why there is nothing.
    pub said: Said,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It ended well and printed this.
    Text(String),
    /// It failed; how, and what it printed last. The page says so, and the run goes on.
    Failed(String),
}

/// Runs the commands of an image, those first that are asked for first. Names that nobody knows
/// are told and left out.
pub fn gather(
    commands: &[InfoCommand],
    image: &str,
    record: &ImageRecord,
    means: &InfoMeans<'_>,
) -> Result<Vec<InfoSection>, SuiteError> {
    let mut sections = Vec::new();
    for command in commands {
        let Some(words) = &command.command else {
            means.events.emit(Event::Notice {
                warning: true,
                text: unknown(image, &command.name),
            });
            continue;
        };
        sections.push(InfoSection {
            title: command.title.clone(),
            said: ask(words, record, means)?,
        });
    }
    Ok(sections)
}

fn unknown(image: &str, name: &str) -> String {
    let text = format!("{image}: `info` names `{name}`, which is no command of `[info]`");
    match InfoCommand::nearest_built_in(name) {
        Some(near) => format!("{text}; did you mean `{near}`?"),
        None => text,
    }
}

fn ask(words: &[String], record: &ImageRecord, means: &InfoMeans<'_>) -> Result<Said, SuiteError> {
    let key = key(words, record);
    if let Some(known) = means.store.get_record(&key) {
        let output = known.inputs.into_iter().find(|(name, _)| name == OUTPUT);
        return Ok(Said::Text(output.map(|(_, text)| text).unwrap_or_default()));
    }
    let started = Instant::now();
    let said = match run(words, record, means) {
        Ok(said) => said,
        Err(Stop::Failed(reason)) => Said::Failed(reason),
        Err(Stop::Error(error)) => return Err(error),
    };
    if let Said::Text(text) = &said {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        means.store.put_record(&CacheRecord {
            key,
            snapshot: None,
            content: record.content(),
            created: i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX),
            cost_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            description: format!("about an image: {}", words.join(" ")),
            inputs: vec![(OUTPUT.to_owned(), text.clone())],
        })?;
    }
    Ok(said)
}

fn key(words: &[String], record: &ImageRecord) -> CacheKey {
    let mut hasher = KeyHasher::new("cairn info");
    hasher.field("format", FORMAT.as_bytes());
    hasher.field("image", record.content().as_bytes());
    hasher.list("command", words.iter().map(String::as_bytes));
    hasher.finish_key()
}

fn run(words: &[String], record: &ImageRecord, means: &InfoMeans<'_>) -> Result<Said, Stop> {
    let wanted = Wanted {
        user: None,
        env: &BTreeMap::new(),
        read_only: false,
    };
    let mut container = Container::new(record, &wanted, means.store, means.conditions)?;
    container.sandbox.argv = words.to_vec();
    container.sandbox.timeout = Some(TIMEOUT);
    let mut output = Vec::new();
    let ran = container.sandbox.run(means.cancel, &mut |_, bytes| {
        let room = OUTPUT_MAX.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    });
    let exit = match ran {
        Ok(Exit::Cancelled) => return Err(SuiteError::from(CheckError::Cancelled).into()),
        Ok(exit) => exit,
        Err(SandboxError::Exec(failure)) => {
            return Ok(Said::Failed(format!("it could not be started: {failure}")));
        }
        Err(source) => {
            let test = words.join(" ");
            return Err(SuiteError::from(CheckError::Sandbox { test, source }).into());
        }
    };
    Ok(match ended(exit, TIMEOUT) {
        None => Said::Text(String::from_utf8_lossy(&output).into_owned()),
        Some(end) => Said::Failed(format!("{end}\n{}", tail(&output)).trim_end().to_owned()),
    })
}
