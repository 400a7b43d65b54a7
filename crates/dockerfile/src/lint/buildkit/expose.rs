//! `EXPOSE`.

use crate::ast::InstructionKind;
use crate::expose::Exposed;
use crate::lint::facts::{Facts, Step};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// `80/tcp`, not `80/TCP`.
pub(in crate::lint) static EXPOSE_PROTO_CASING: Rule = Rule {
    name: "ExposeProtoCasing",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Protocol in EXPOSE instruction should be lowercase",
    why: "Protocols are written in lower case everywhere else.",
    bad: "FROM debian:13-slim\nEXPOSE 8080/TCP\n",
    good: "FROM debian:13-slim\nEXPOSE 8080/tcp\n",
    check: protocol,
};

fn protocol(facts: &Facts<'_>, found: &mut Findings) {
    for (step, word) in ports(facts) {
        let protocol = word.split_once('/').map_or("", |(_, protocol)| protocol);
        if protocol.to_lowercase() != protocol {
            let detail =
                format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
            found.at(step.span, detail);
        }
    }
}

/// A port, not an address or a mapping.
pub(in crate::lint) static EXPOSE_INVALID_FORMAT: Rule = Rule {
    name: "ExposeInvalidFormat",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    why: "EXPOSE tells which ports the program listens on. To which port and address of the host \
          they lead is decided when a container is run.",
    bad: "FROM debian:13-slim\nEXPOSE 127.0.0.1:80:8080\n",
    good: "FROM debian:13-slim\nEXPOSE 8080\n",
    check: mapping,
};

fn mapping(facts: &Facts<'_>, found: &mut Findings) {
    for (step, word) in ports(facts) {
        if Exposed::parse(&word).is_ok_and(|exposed| exposed.has_mapping) {
            let detail = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
            );
            found.at(step.span, detail);
        }
    }
}

/// The ports of all `EXPOSE`, variables expanded.
fn ports<'f>(facts: &'f Facts<'_>) -> impl Iterator<Item = (&'f Step<'f>, String)> {
    facts.steps().flat_map(move |(stage, step)| {
        let words = match &step.instruction.kind {
            InstructionKind::Expose(words) => words.as_slice(),
            _ => &[],
        };
        let variables = stage.variables_at(step);
        words
            .iter()
            .filter_map(move |word| facts.expander.words(word.as_str(), &variables).ok())
            .flatten()
            .map(move |word| (step, word))
    })
}
