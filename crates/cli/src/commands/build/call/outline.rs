//! `--call outline`: the arguments, secrets and agents that a target takes.

use cairn_build::lint::platform_parts;
use cairn_diagnostic::Diagnostic;
use cairn_dockerfile::ast::{Dockerfile, Stage};
use cairn_dockerfile::outline::{OutlineArg, OutlineMount, outline};
use cairn_dockerfile::predefined::platform_args;
use cairn_dockerfile::suggest::{self, nearest};
use cairn_stack::single::SingleBuild;
use serde::Serialize;

use super::place::{Location, bytes};
use super::table::table;
use super::targets::description;
use crate::error::{CommandError, Kind};

/// What a target takes, in BuildKit's form.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Outline {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Arg>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Mount>,
    sources: [String; 1],
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Arg {
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: String,
    location: Location,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Mount {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

impl Outline {
    /// Tells what the target of a build takes.
    pub fn of(file: &Dockerfile, build: &SingleBuild) -> Result<Self, CommandError> {
        let stage = target(file, build.target.as_deref())?;
        let platforms = (&build.build_platform, &build.platforms[0]);
        let predefined = platform_args(
            &platform_parts(platforms.0),
            &platform_parts(platforms.1),
            build.target.as_deref().or(stage.name()),
        );
        let found = outline(file, stage, &build.args, &predefined).map_err(|error| {
            let error = Diagnostic::error(error.to_string()).at(&file.source, stage.from.span);
            CommandError::from_findings(Kind::Usage, vec![error])
        })?;
        let place = |span| Location::of(&file.source, span);
        let arg = |arg: OutlineArg| Arg {
            location: place(arg.span),
            name: arg.name,
            description: arg.description,
            value: arg.value,
        };
        let mount = |mount: OutlineMount| Mount {
            location: place(mount.span),
            name: mount.name,
            required: mount.required,
        };
        Ok(Self {
            name: stage.name().unwrap_or_default().to_owned(),
            description: description(stage),
            args: found.args.into_iter().map(arg).collect(),
            secrets: found.secrets.into_iter().map(mount).collect(),
            ssh: found.agents.into_iter().map(mount).collect(),
            sources: [bytes(&file.source)],
        })
    }

    /// Tables for people, as docker prints them.
    pub fn tables(&self) -> String {
        let mut parts = Vec::new();
        if !self.name.is_empty() || !self.description.is_empty() {
            let mut rows = vec![vec!["TARGET:", self.name.as_str()]];
            if !self.description.is_empty() {
                rows.push(vec!["DESCRIPTION:", &self.description]);
            }
            parts.push(table(&rows));
        }
        if !self.args.is_empty() {
            let row = |arg: &'_ Arg| [arg.name.clone(), arg.value.clone(), arg.description.clone()];
            let rows: Vec<_> = self.args.iter().map(row).collect();
            let rows = rows
                .iter()
                .map(|row| row.iter().map(String::as_str).collect());
            let heading = vec!["BUILD ARG", "VALUE", "DESCRIPTION"];
            parts.push(table(
                &std::iter::once(heading).chain(rows).collect::<Vec<_>>(),
            ));
        }
        for (heading, mounts) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            if mounts.is_empty() {
                continue;
            }
            let mut rows = vec![vec![heading, "REQUIRED"]];
            rows.extend(mounts.iter().map(|mount| {
                let required = if mount.required { "true" } else { "" };
                vec![mount.name.as_str(), required]
            }));
            parts.push(table(&rows));
        }
        parts.join("\n")
    }
}

fn target<'a>(file: &'a Dockerfile, wanted: Option<&str>) -> Result<&'a Stage, CommandError> {
    let Some(wanted) = wanted else {
        // A Dockerfile that was parsed has a stage.
        return Ok(&file.stages[file.stages.len() - 1]);
    };
    file.stage(wanted).ok_or_else(|| {
        let names = file.stages.iter().filter_map(Stage::name);
        let near = suggest::in_words(nearest(wanted, names));
        CommandError::usage(format!(
            "target stage \"{wanted}\" could not be found{near}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::{Source, Span};

    use super::*;

    #[test]
    fn an_outline_is_told_in_dockers_tables() {
        let source = Source::new("Dockerfile", "FROM x\n");
        let location = || Location::of(&source, Span::new(0, 1));
        let outline = Outline {
            name: "end".into(),
            description: "is the end".into(),
            args: vec![Arg {
                name: "VERSION".into(),
                description: String::new(),
                value: "1.2".into(),
                location: location(),
            }],
            secrets: vec![Mount {
                name: "key".into(),
                required: true,
                location: location(),
            }],
            ssh: Vec::new(),
            sources: [bytes(&source)],
        };
        assert_eq!(
            outline.tables(),
            "TARGET:        end\nDESCRIPTION:   is the end\n\n\
             BUILD ARG   VALUE   DESCRIPTION\nVERSION     1.2\n\n\
             SECRET   REQUIRED\nkey      true\n"
        );
        let json = serde_json::to_value(&outline).unwrap();
        assert_eq!(json["secrets"][0]["required"], true);
        assert!(json.get("ssh").is_none() && json["args"][0].get("description").is_none());
    }
}
