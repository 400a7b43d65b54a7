//! `--call`: what a Dockerfile can say of itself without being built, as BuildKit's subrequests.

mod check;
mod describe;
mod outline;
mod place;
mod table;
mod targets;

use std::path::Path;

use cairn_stack::single::{SingleBuild, dockerfile_path};
use serde::Serialize;
use serde_json::json;

use super::metadata;
use crate::commands::lint::Subject;
use crate::commands::options::fields;
use crate::error::{CommandError, Kind};
use crate::printer::Printer;

/// What is asked of a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Whether the answer is JSON.
    json: bool,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Request {
    /// To be built.
    #[default]
    Build,
    /// To be checked by BuildKit's rules.
    Check,
    /// What a target takes from outside.
    Outline,
    /// Which stages it has.
    Targets,
    /// Which questions there are.
    Describe,
}

/// The questions by name, as docker knows them.
const REQUESTS: [(&str, Request); 10] = [
    ("build", Request::Build),
    ("check", Request::Check),
    ("lint", Request::Check),
    ("frontend.lint", Request::Check),
    ("outline", Request::Outline),
    ("frontend.outline", Request::Outline),
    ("targets", Request::Targets),
    ("frontend.targets", Request::Targets),
    ("subrequests.describe", Request::Describe),
    ("frontend.subrequests.describe", Request::Describe),
];

impl Call {
    /// What `--check` asks.
    pub const CHECK: Self = Self {
        request: Request::Check,
        json: false,
    };

    /// Reads `build`, `check`, `outline`, `targets` or `subrequests.describe`, each perhaps with
    /// `,format=json`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut request = None;
        let mut json = false;
        for (key, value) in fields(text)? {
            let known = REQUESTS.iter().find(|(name, _)| *name == key);
            match (key.as_str(), value.as_str(), known) {
                ("format", "json", _) => json = true,
                ("format", "text", _) => json = false,
                ("format", other, _) => {
                    return Err(format!("`format={other}` is neither `text` nor `json`"));
                }
                (_, "true", Some((_, known))) => request = Some(*known),
                _ => return Err(format!("`{key}` is not one of {}", names())),
            }
        }
        match request {
            Some(request) => Ok(Self { request, json }),
            None => Err(format!("one of {} is missing", names())),
        }
    }

    /// Answers; a file of metadata gets the answer, too.
    pub fn answer(
        self,
        build: &SingleBuild,
        file: Option<&Path>,
        printer: &Printer,
    ) -> Result<(), CommandError> {
        if self.request == Request::Describe {
            let requests = describe::requests();
            return self.tell(&requests, describe::table_of_requests, file, printer);
        }
        let dockerfile = dockerfile_path(build)?;
        if self.request == Request::Check {
            return check::answer(build, &dockerfile, self.json, file, printer);
        }
        let (subject, errors) = Subject::of_build(build, &dockerfile)?;
        let Some(subject) = subject.filter(|_| errors.is_empty()) else {
            return Err(CommandError::from_findings(Kind::Usage, errors));
        };
        match self.request {
            Request::Outline => {
                let outline = outline::Outline::of(&subject.file, build)?;
                self.tell(&outline, || outline.tables(), file, printer)
            }
            _ => {
                let targets = targets::Targets::of(&subject.file);
                self.tell(&targets, || targets.table(), file, printer)
            }
        }
    }

    fn tell(
        self,
        answer: &impl Serialize,
        in_words: impl Fn() -> String,
        file: Option<&Path>,
        printer: &Printer,
    ) -> Result<(), CommandError> {
        keep(answer, file)?;
        match self.json {
            true => Ok(printer.json(answer)?),
            false => Ok(printer.data(&in_words())?),
        }
    }
}

/// Writes an answer to the file of metadata, if one is wanted.
fn keep(answer: &impl Serialize, file: Option<&Path>) -> Result<(), CommandError> {
    match file {
        Some(path) => metadata::write(path, &json!({ "result.json": answer })),
        None => Ok(()),
    }
}

fn names() -> String {
    let short = REQUESTS.iter().map(|(name, _)| *name);
    let short = short.filter(|name| !name.starts_with("frontend.") && *name != "lint");
    short.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_buildx_reads_them() {
        let call = |request, json| Ok(Call { request, json });
        assert_eq!(Call::parse("build"), call(Request::Build, false));
        assert_eq!(Call::parse("check"), Ok(Call::CHECK));
        assert_eq!(Call::parse("lint,format=json"), call(Request::Check, true));
        assert_eq!(Call::parse("outline"), call(Request::Outline, false));
        let json = Call::parse("targets,format=json");
        assert_eq!(json, call(Request::Targets, true));
        let describe = Call::parse("subrequests.describe");
        assert_eq!(describe, call(Request::Describe, false));
        for wrong in ["", "inline", "format=json", "targets,format=x", "check=no"] {
            assert!(Call::parse(wrong).is_err(), "{wrong}");
        }
        let told = Call::parse("inline").unwrap_err();
        assert!(
            told.ends_with("build, check, outline, targets, subrequests.describe"),
            "{told}"
        );
    }
}
