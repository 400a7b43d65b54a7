//! `--call targets`: the stages of a Dockerfile.

use cairn_dockerfile::ast::{Dockerfile, Stage};
use serde::Serialize;

use super::place::{Location, bytes};
use super::table::table;

/// The stages, in BuildKit's form.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    targets: Vec<Target>,
    sources: [String; 1],
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
    #[serde(skip_serializing_if = "str::is_empty")]
    platform: String,
    location: Location,
}

impl Targets {
    /// Lists the stages.
    pub fn of(file: &Dockerfile) -> Self {
        let last = file.stages.len().saturating_sub(1);
        let target = |stage: &Stage| Target {
            name: stage.name().unwrap_or_default().to_owned(),
            default: stage.index == last,
            description: description(stage),
            base: stage.from.kind.image.as_str().to_owned(),
            platform: match &stage.from.kind.platform {
                Some(platform) => platform.as_str().to_owned(),
                None => String::new(),
            },
            location: Location::of(&file.source, stage.from.span),
        };
        Self {
            targets: file.stages.iter().map(target).collect(),
            sources: [bytes(&file.source)],
        }
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let name = |target: &Target| match target.name.as_str() {
            "" => "(default)".to_owned(),
            name if target.default => format!("{name} (default)"),
            name => name.to_owned(),
        };
        // A stage without a name cannot be asked for, unless it is the last.
        let shown = self
            .targets
            .iter()
            .filter(|one| one.default || !one.name.is_empty());
        let rows: Vec<(String, &str)> = shown
            .map(|target| (name(target), target.description.as_str()))
            .collect();
        let heading = vec!["TARGET", "DESCRIPTION"];
        let rows = rows.iter().map(|(name, text)| vec![name.as_str(), *text]);
        table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
    }
}

/// What a comment above a stage says of it: `# NAME text`.
pub fn description(stage: &Stage) -> String {
    let Some(name) = stage.name() else {
        return String::new();
    };
    let texts = stage.from.comments.iter().filter_map(|comment| {
        let (first, text) = comment.as_str().split_once(' ')?;
        (first == name).then(|| text.trim().to_owned())
    });
    texts.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::Source;

    use super::*;

    #[test]
    fn stages_are_listed_with_what_is_said_of_them() {
        let text = "# tools what is needed\n# and more\nFROM base AS tools\nFROM tools\n\n\
                    # other a remark\nFROM --platform=linux/arm64 tools AS end\n";
        let file = cairn_dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
        let targets = Targets::of(&file);
        assert_eq!(
            targets.table(),
            "TARGET          DESCRIPTION\ntools           what is needed\nend (default)\n"
        );
        let json = serde_json::to_value(&targets).unwrap();
        assert_eq!(json["targets"][0]["description"], "what is needed");
        assert_eq!(json["targets"][1]["base"], "tools");
        assert_eq!(json["targets"][2]["default"], true);
        assert_eq!(json["targets"][2]["platform"], "linux/arm64");
        let line = &json["targets"][2]["location"]["ranges"][0]["start"]["line"];
        assert_eq!(*line, 7);
        assert_eq!(json["sources"][0].as_str().unwrap()[..8], *"IyB0b29s");
    }
}
