//! What the named contexts of a lone build stand for.
//!
//! One that must be fetched is fetched only if the Dockerfile names it, as with BuildKit: scripts
//! give contexts to Dockerfiles that do not use them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use cairn_build::attest::Origin;
use cairn_build::context::Context;
use cairn_build::graph::ContextId;
use cairn_build::lower::names::{Given, Seen, external_names};
use cairn_build::request::Named;
use cairn_dockerfile::ast::Dockerfile;
use cairn_oci::{Platform, Reference};

use crate::contexts::{NamedContext, Opener, is_fetched};
use crate::epoch;
use crate::single::{SingleBuild, SingleError};

/// What is gathered of named contexts that are files.
pub(crate) struct NamedFiles<'a> {
    /// Their files.
    pub(crate) contexts: &'a mut Vec<Context>,
    /// Where they came from.
    pub(crate) origins: &'a mut Vec<Origin>,
    /// Their times, by name.
    pub(crate) times: &'a mut BTreeMap<String, Option<i64>>,
}

/// What the named contexts are for a platform. Files are the same for all, and opened once.
pub(crate) fn named_contexts(
    build: &SingleBuild,
    dockerfile: &Dockerfile,
    opener: &Opener<'_>,
    before: &BTreeMap<String, Named>,
    files: &mut NamedFiles<'_>,
) -> Result<BTreeMap<String, Named>, SingleError> {
    let mut names = BTreeMap::new();
    let used = used_names(build, dockerfile, opener.platform);
    for (name, source) in &build.contexts {
        if is_fetched(source) && !is_among(name, used.as_ref()) {
            continue;
        }
        let named = match before.get(name) {
            Some(Named::Files(id)) => Named::Files(*id),
            _ => match opener.named(name, source)? {
                NamedContext::Image(named) => named,
                NamedContext::Files(context, time, origin) => {
                    let id = ContextId(u32::try_from(files.contexts.len()).unwrap_or(u32::MAX));
                    files.contexts.push(*context);
                    files.origins.push(origin);
                    files.times.insert(name.clone(), time);
                    Named::Files(id)
                }
            },
        };
        names.insert(name.clone(), named);
    }
    Ok(names)
}

/// The names that the target's stages use or have, and the one that dates the image; `None` where the Dockerfile does not tell.
fn used_names(
    build: &SingleBuild,
    dockerfile: &Dockerfile,
    platform: &Platform,
) -> Option<BTreeSet<String>> {
    let seen = Seen {
        file: dockerfile,
        target: build.target.as_deref(),
        args: &build.args,
        platform,
        build_platform: &build.build_platform,
    };
    let asked = RefCell::new(BTreeSet::new());
    let given = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        Given::Nothing
    };
    let names = external_names(&seen, &given).ok()?;
    let mut asked = asked.into_inner();
    asked.extend(names.into_iter().map(|used| used.name));
    asked.extend(epoch::asked(&build.args, dockerfile));
    Some(asked)
}

/// Whether a name is among those that are used, as it stands or as a reference.
fn is_among(name: &str, used: Option<&BTreeSet<String>>) -> bool {
    let Some(used) = used else {
        return true;
    };
    let wanted = name.parse::<Reference>().ok();
    used.iter().any(|known| {
        known.eq_ignore_ascii_case(name)
            || wanted.is_some() && known.parse::<Reference>().ok() == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_used_as_it_stands_or_as_a_reference() {
        let used: BTreeSet<String> = ["alpine:latest", "Files"].map(str::to_owned).into();
        for (name, is_used) in [
            ("files", true),
            ("alpine", true),
            ("docker.io/library/alpine", true),
            ("alpine:3", false),
            ("other", false),
        ] {
            assert_eq!(is_among(name, Some(&used)), is_used, "{name}");
        }
        assert!(is_among("other", None), "nobody knows");
    }
}
