//! Forms that are left over from earlier years.

use crate::ast::{InstructionKind, KeyValue};
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Fix, Level};
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
        if let InstructionKind::Maintainer(name) = &step.kind {
            let detail = "Maintainer instruction is deprecated in favor of using label";
            let fix = quoted(&name.value).map(|value| {
                let label = format!("LABEL org.opencontainers.image.authors={value}");
                Fix::replace(step.span, label).with_effect(
                    "the image has a label and no longer the author field of its config",
                )
            });
            found.fixable(step.span, detail, fix);
        }
    }
}

/// A text in quotes, if nothing in it needs more than that.
fn quoted(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    (!text.contains(['"', '\\', '$', '\n'])).then(|| format!("\"{text}\""))
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
        for pair in pairs.iter().filter(|pair| pair.legacy) {
            let detail = format!(
                "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
            );
            let fix = (!step.is_trigger).then(|| assigned(pair)).flatten();
            found.fixable(step.span, detail, fix);
        }
    }
}

/// The pair with `=`. The old form keeps quotes and spaces as they are, so only a value without
/// any of them means the same in both.
fn assigned(pair: &KeyValue) -> Option<Fix> {
    let value = pair.value.as_str();
    let is_same = !value.contains(['"', '\'', '\\', '=']);
    let value = match value.contains(char::is_whitespace) {
        true => format!("\"{value}\""),
        false => value.to_owned(),
    };
    let text = format!("{}={value}", pair.key.value);
    is_same.then(|| Fix::replace(pair.key.span.to(pair.value.span), text))
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
