//! Arguments that exist before the first `FROM`: predefined ones and `ARG`s at the top.

use cairn_diagnostic::{Diagnostic, Source};
use cairn_dockerfile::ast::{Arg, Instruction};
use cairn_dockerfile::expand::Expander;
use cairn_dockerfile::predefined::platform_args;
use cairn_oci::Platform;

use super::env::EnvList;
use crate::graph::BuildArgs;
use crate::lint::platform_parts;

/// The name of the argument that fixes an image's times.
pub(super) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The platform arguments of BuildKit; a build argument of the same name wins.
pub(super) fn predefined(
    build: &Platform,
    target: &Platform,
    stage: &str,
    given: &BuildArgs,
) -> EnvList {
    let stage = (!stage.is_empty()).then_some(stage);
    let mut globals = EnvList::default();
    for (name, value) in platform_args(&platform_parts(build), &platform_parts(target), stage) {
        globals.set(name, given.get(name).unwrap_or(&value));
    }
    globals
}

/// Adds the `ARG`s before the first `FROM`. Each sees those before it.
pub(super) fn add_global(
    globals: &mut EnvList,
    instructions: &[Instruction<Arg>],
    given: &BuildArgs,
    expander: &Expander,
    source: &Source,
) -> Result<(), Box<Diagnostic>> {
    for instruction in instructions {
        for declaration in &instruction.kind.declarations {
            let name = declaration.name.as_str();
            let value = match (given.get(name), &declaration.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => expander
                    .word(default.as_str(), globals)
                    .map(|word| word.text)
                    .map_err(|error| {
                        Diagnostic::error(error.to_string()).at(source, default.span)
                    })?,
                (None, None) => continue,
            };
            globals.set(name, &value);
        }
    }
    Ok(())
}

/// Reads `SOURCE_DATE_EPOCH` from build arguments or the file's own `ARG`.
pub(super) fn epoch(given: &BuildArgs, globals: &EnvList) -> Result<Option<i64>, Box<Diagnostic>> {
    let value = given
        .get(SOURCE_DATE_EPOCH)
        .map(String::as_str)
        .or(globals.get(SOURCE_DATE_EPOCH));
    // `context` asks for the commit of a context from git; one from a directory has none, and the
    // image's own time counts.
    let Some(value) = value.filter(|value| !matches!(*value, "" | "context")) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| {
        Box::new(
            Diagnostic::error(format!("invalid SOURCE_DATE_EPOCH: {value}"))
                .hint("Give whole seconds since 1970-01-01, for example the commit's time."),
        )
    })
}
