//! `--call`: what a Dockerfile can say of itself without being built.

use cairn_dockerfile::ast::{Dockerfile, Stage};
use serde::Serialize;

use crate::commands::options::fields;

/// What is asked of a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Call {
    /// To be built.
    #[default]
    Build,
    /// To be checked by BuildKit's rules.
    Check,
    /// Which stages it has.
    Targets {
        /// As JSON.
        json: bool,
    },
}

impl Call {
    /// Reads `build`, `check` or `targets[,format=json]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut call = None;
        let mut json = false;
        for (key, value) in fields(text)? {
            match (key.as_str(), value.as_str()) {
                ("format", "json") => json = true,
                ("format", "text") => json = false,
                ("format", other) => {
                    return Err(format!("`format={other}` is neither `text` nor `json`"));
                }
                ("build", "true") => call = Some(Self::Build),
                ("check" | "lint", "true") => call = Some(Self::Check),
                ("targets", "true") => call = Some(Self::Targets { json: false }),
                _ => return Err(format!("`{key}` is not one of build, check, targets")),
            }
        }
        match call {
            Some(Self::Targets { .. }) => Ok(Self::Targets { json }),
            Some(_) if json => Err(
                "`format=json` is for `targets`; `cairn lint --json` has the \
                                    findings"
                    .to_owned(),
            ),
            Some(call) => Ok(call),
            None => Err("one of build, check, targets is missing".to_owned()),
        }
    }
}

/// The stages of a Dockerfile, in BuildKit's form.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    targets: Vec<Target>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Target {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: String,
    base: String,
    location: Location,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Location {
    ranges: [Range; 1],
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Range {
    start: Place,
    end: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Place {
    line: usize,
}

impl Targets {
    /// Lists the stages.
    pub fn of(file: &Dockerfile) -> Self {
        let last = file.stages.len().saturating_sub(1);
        let line = |at: usize| Place {
            line: file.source.position(at).line,
        };
        let target = |stage: &Stage| Target {
            name: stage.name().unwrap_or_default().to_owned(),
            default: stage.index == last,
            description: description(stage),
            base: stage.from.kind.image.as_str().to_owned(),
            location: Location {
                ranges: [Range {
                    start: line(stage.from.span.start),
                    end: line(stage.from.span.end),
                }],
            },
        };
        Self {
            targets: file.stages.iter().map(target).collect(),
        }
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let name = |target: &Target| {
            let name = match target.name.as_str() {
                "" => "(default)",
                name if target.default => return format!("{name} (default)"),
                name => name,
            };
            name.to_owned()
        };
        // A stage without a name cannot be asked for, unless it is the last.
        let shown = self
            .targets
            .iter()
            .filter(|one| one.default || !one.name.is_empty());
        let rows: Vec<(String, &str)> = shown
            .map(|target| (name(target), target.description.as_str()))
            .collect();
        let heading = ("TARGET".to_owned(), "DESCRIPTION");
        let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or_default();
        let lines = rows.iter().map(|(name, text)| {
            let line = format!("{name:width$}  {text}");
            line.trim_end().to_owned() + "\n"
        });
        lines.collect()
    }
}

/// What the comment above a stage says of it: `# NAME text`.
fn description(stage: &Stage) -> String {
    let comment = stage.from.comments.last().map(|comment| comment.as_str());
    let split = comment.and_then(|comment| comment.split_once(' '));
    match (split, stage.name()) {
        (Some((first, text)), Some(name)) if first == name => text.trim().to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Source;

    use super::*;

    #[test]
    fn calls_are_read_as_buildx_reads_them() {
        assert_eq!(Call::parse("build"), Ok(Call::Build));
        assert_eq!(Call::parse("check"), Ok(Call::Check));
        assert_eq!(Call::parse("targets"), Ok(Call::Targets { json: false }));
        let json = Call::parse("targets,format=json");
        assert_eq!(json, Ok(Call::Targets { json: true }));
        for wrong in [
            "",
            "outline",
            "format=json",
            "targets,format=x",
            "check,format=json",
        ] {
            assert!(Call::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stages_are_listed_with_what_is_said_of_them() {
        let text = "# tools what is needed\nFROM base AS tools\nFROM tools\n\n\
                    # other a remark\nFROM tools AS end\n";
        let file = cairn_dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
        let targets = Targets::of(&file);
        assert_eq!(
            targets.table(),
            "TARGET         DESCRIPTION\ntools          what is needed\nend (default)\n"
        );
        let json = serde_json::to_value(&targets).unwrap();
        assert_eq!(json["targets"][0]["description"], "what is needed");
        assert_eq!(json["targets"][1]["base"], "tools");
        assert_eq!(json["targets"][2]["default"], true);
        let line = &json["targets"][2]["location"]["ranges"][0]["start"]["line"];
        assert_eq!(*line, 6);
    }
}
