//! Build arguments that change nothing, because no `ARG` takes them.

use std::collections::BTreeSet;

use cairn_build::graph::BuildArgs;
use cairn_dockerfile::ast::{Dockerfile, InstructionKind};
use cairn_dockerfile::predefined::{PLATFORM_ARGS, is_proxy};
use cairn_dockerfile::suggest::nearest;

/// A build argument that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedArg {
    /// Its name.
    pub name: String,
    /// The declared one that looks most like it.
    pub near: Option<String>,
}

/// Finds the build arguments that the file does not ask for anywhere and that need no asking.
pub(crate) fn unused_args(dockerfile: &Dockerfile, given: &BuildArgs) -> Vec<UnusedArg> {
    let in_stages = dockerfile.stages.iter().flat_map(|stage| {
        stage
            .instructions
            .iter()
            .filter_map(|line| match &line.kind {
                InstructionKind::Arg(arg) => Some(arg),
                _ => None,
            })
    });
    let global = dockerfile.global_args.iter().map(|line| &line.kind);
    let declared: BTreeSet<&str> = global
        .chain(in_stages)
        .flat_map(|arg| &arg.declarations)
        .map(|declaration| declaration.name.as_str())
        .collect();
    let near = |name: &str| {
        let mut known = declared.iter().copied();
        let in_other_case = known.find(|known| known.eq_ignore_ascii_case(name));
        in_other_case.or_else(|| nearest(name, declared.iter().copied()))
    };
    given
        .keys()
        .filter(|name| !declared.contains(name.as_str()) && !is_builtin(name))
        .map(|name| UnusedArg {
            name: name.clone(),
            near: near(name).map(str::to_owned),
        })
        .collect()
}

/// Arguments that mean something without an `ARG`.
fn is_builtin(name: &str) -> bool {
    is_proxy(name)
        || PLATFORM_ARGS.contains(&name)
        || name == "SOURCE_DATE_EPOCH"
        || name.starts_with("BUILDKIT_")
}
