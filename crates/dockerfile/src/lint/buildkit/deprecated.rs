//! Forms that are left over from earlier years.

use crate::ast::InstructionKind;
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// A label instead of `MAINTAINER`.
pub(in crate::lint) static MAINTAINER_DEPRECATED: Rule = Rule {
    name: "MaintainerDeprecated",
    aliases: &["DL4000"],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    why: "Labels are kept in the image's config where every tool can read them; the author field \
          is read by few.",
    bad: "FROM debian:13-slim\nMAINTAINER ann@example.org\n",
    good: "FROM debian:13-slim\nLABEL org.opencontainers.image.authors=\"ann@example.org\"\n",
    check: maintainer,
};

fn maintainer(facts: &Facts<'_>, found: &mut Findings) {
    let steps = facts
        .file
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    for step in steps {
        if matches!(step.kind, InstructionKind::Maintainer(_)) {
            found.at(
                step.span,
                "Maintainer instruction is deprecated in favor of using label",
            );
        }
    }
}

/// `ENV name=value`, not `ENV name value`.
pub(in crate::lint) static LEGACY_KEY_VALUE_FORMAT: Rule = Rule {
    name: "LegacyKeyValueFormat",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Legacy key/value format with whitespace separator should not be used",
    why: "In the old form the whole rest of the line is the value of one name. Who adds a second \
          `name=value` to such a line changes the first value instead.",
    bad: "FROM debian:13-slim\nENV LANG C.UTF-8\n",
    good: "FROM debian:13-slim\nENV LANG=C.UTF-8\n",
    check: legacy_pairs,
};

fn legacy_pairs(facts: &Facts<'_>, found: &mut Findings) {
    for (_, step) in facts.steps() {
        let pairs = match &step.instruction.kind {
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => pairs,
            _ => continue,
        };
        let name = &step.instruction.keyword.value;
        for _ in pairs.iter().filter(|pair| pair.legacy) {
            let detail = format!(
                "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
            );
            found.at(step.span, detail);
        }
    }
}

/// No blank line inside an instruction.
pub(in crate::lint) static NO_EMPTY_CONTINUATION: Rule = Rule {
    name: "NoEmptyContinuation",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Empty continuation lines will become errors in a future release",
    why: "A blank line looks like the end of an instruction and is not: what follows still belongs \
          to it.",
    bad: "FROM debian:13-slim\nRUN make \\\n\n    install\n",
    good: "FROM debian:13-slim\nRUN make \\\n    install\n",
    check: empty_continuation,
};

fn empty_continuation(facts: &Facts<'_>, found: &mut Findings) {
    for last in &facts.file.blank_continuations {
        found.at(*last, "Empty continuation line");
    }
}
