//! Variables in `FROM`.

use crate::expand::Expanded;
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::reference;
use crate::lint::rule::{Group, Rule};
use crate::suggest;

/// `FROM` sees only `ARG`s that stand before the first `FROM`.
pub(in crate::lint) static UNDEFINED_ARG_IN_FROM: Rule = Rule {
    name: "UndefinedArgInFrom",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "FROM command must use declared ARGs",
    why: "A name that no `ARG` above the first `FROM` declares is empty, whatever `--build-arg` \
          says. Most often it is a slip of the pen, and another image is built than was meant.",
    bad: "ARG VARIANT=-slim\nFROM debian:13${VARIAN}\n",
    good: "ARG VARIANT=-slim\nFROM debian:13${VARIANT}\n",
    check: undefined,
};

fn undefined(facts: &Facts<'_>, found: &mut Findings) {
    let declared = facts.file.global_args.iter();
    let declared = declared
        .flat_map(|arg| &arg.kind.declarations)
        .map(|declaration| declaration.name.as_str());
    let set = facts.globals.iter().map(|(name, _)| name.as_str());
    let known: Vec<&str> = set.chain(declared).collect();
    for stage in &facts.stages {
        let words = [stage.image.as_ref(), stage.platform.as_ref()];
        for name in words.into_iter().flatten().flat_map(|word| &word.unmatched) {
            if known.contains(&name.as_str()) {
                continue;
            }
            let mut detail = format!("FROM argument '{name}' is not declared");
            if let Some(near) = suggest::nearest_variable(name, known.iter().copied()) {
                detail.push_str(&format!(" (did you mean {near}?)"));
            }
            found.at(stage.stage.from.span, detail);
        }
    }
}

/// The defaults alone make a usable image name.
pub(in crate::lint) static INVALID_DEFAULT_ARG_IN_FROM: Rule = Rule {
    name: "InvalidDefaultArgInFrom",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Default value for global ARG results in an empty or invalid base image name",
    why: "A Dockerfile should build without any `--build-arg`; a base whose name is empty or ends \
          in `:` cannot be found.",
    bad: "ARG RELEASE\nFROM debian:${RELEASE}\n",
    good: "ARG RELEASE=13\nFROM debian:${RELEASE}\n",
    check: invalid_default,
};

fn invalid_default(facts: &Facts<'_>, found: &mut Findings) {
    let globals = facts.default_globals.as_slice();
    for stage in &facts.file.stages {
        let image = stage.from.kind.image.as_str();
        let Ok(name) = facts.expander.word(image, &globals) else {
            return;
        };
        if !reference::is_valid(&name.text) {
            let detail = format!(
                "Default value for ARG {image} results in empty or invalid base image name"
            );
            found.at(stage.from.span, detail);
        }
    }
}

/// `--platform=$TARGETPLATFORM` says what is so anyway.
pub(in crate::lint) static REDUNDANT_TARGET_PLATFORM: Rule = Rule {
    name: "RedundantTargetPlatform",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    why: "A stage is for the target's platform unless it says otherwise.",
    bad: "FROM --platform=$TARGETPLATFORM debian:13-slim\n",
    good: "FROM debian:13-slim\n",
    check: redundant_platform,
};

fn redundant_platform(facts: &Facts<'_>, found: &mut Findings) {
    const NAME: &str = "TARGETPLATFORM";
    let target = facts.globals.iter().rev().find(|(name, _)| name == NAME);
    let target = target.map(|(_, value)| value.as_str());
    let is_target = |word: &Expanded| {
        word.unmatched.is_empty()
            && word.used.len() == 1
            && word.used.contains(NAME)
            && Some(word.text.as_str()) == target
    };
    for stage in &facts.stages {
        let written = stage.stage.from.kind.platform.as_ref();
        if let (Some(word), Some(written)) = (&stage.platform, written)
            && is_target(word)
        {
            let detail = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                written.value
            );
            found.at(stage.stage.from.span, detail);
        }
    }
}
