//! `cairn test --list`: the tests of a stack, those that never run by themselves among them.

use cairn_spec::suite::SuiteKind;
use cairn_spec::{ImageId, SuitePlace};
use cairn_stack::load::LoadedStack;
use serde::Serialize;

use super::options::StackOption;
use crate::error::CommandError;
use crate::session::{Session, host_platform};
use crate::stack_run::select;
use crate::style::Tone;
use crate::table::{Align, Cell, Table};

/// One test file or suite.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    image: String,
    kind: &'static str,
    name: &'a str,
    path: &'a str,
    on: &'static str,
    runs: &'static str,
}

/// Lists the tests of the images.
pub fn run(
    stack: &StackOption,
    images: &[String],
    json: bool,
    session: &Session,
) -> Result<(), CommandError> {
    let loaded = stack.load(session, &host_platform())?;
    let selected = select(&loaded, images)?;
    let listed: Vec<Listed<'_>> = selected
        .iter()
        .flat_map(|id| listed(&loaded, *id))
        .collect();
    if json {
        return Ok(session.printer.json(&listed)?);
    }
    let mut table = Table::new(&[
        ("IMAGE", Align::Left),
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("PATH", Align::Left),
        ("ON", Align::Left),
        ("RUNS", Align::Left),
    ]);
    for test in &listed {
        table.row([
            Cell::new(Tone::Strong, test.image.as_str()),
            test.kind.into(),
            test.name.into(),
            test.path.into(),
            test.on.into(),
            test.runs.into(),
        ]);
    }
    Ok(session.printer.lines(&table.lines())?)
}

fn listed(loaded: &LoadedStack, id: ImageId) -> Vec<Listed<'_>> {
    let image = &loaded.stack[id];
    let structure = image.tests.structure.iter().map(|file| Listed {
        image: image.name.to_string(),
        kind: "structure",
        name: last(file),
        path: file,
        on: SuitePlace::Image.as_str(),
        runs: "always",
    });
    let suites = image.tests.suites.iter().map(|suite| Listed {
        image: image.name.to_string(),
        kind: suite.kind.key(),
        name: &suite.name,
        path: &suite.path,
        on: suite.place.as_str(),
        runs: match suite.kind {
            SuiteKind::Basic => "always",
            SuiteKind::Integration => "after the basic tests",
            SuiteKind::Workflow => "when named",
            SuiteKind::Manual => "by hand",
        },
    });
    structure.chain(suites).collect()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Refuses a workflow that no image of the run has: a misspelt name must not pass.
pub fn check_workflows(
    loaded: &LoadedStack,
    selected: &[ImageId],
    names: &[String],
) -> Result<(), CommandError> {
    let suites = selected
        .iter()
        .flat_map(|id| &loaded.stack[*id].tests.suites);
    let known: Vec<&str> = suites
        .filter(|suite| suite.kind == SuiteKind::Workflow)
        .map(|suite| suite.name.as_str())
        .collect();
    let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let error = CommandError::usage(format!(
        "no image of this run has workflow tests `{unknown}`"
    ));
    Err(match known.is_empty() {
        true => error.hint("they are written `tests.workflow = \"FOLDER\"` in cairn.toml"),
        false => {
            let mut known = known;
            known.sort_unstable();
            known.dedup();
            error.hint(format!("there are: {}", known.join(", ")))
        }
    })
}
