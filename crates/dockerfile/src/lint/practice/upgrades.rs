//! Upgrades of the whole system.

use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::shell::Invocation;

/// No upgrade of everything.
pub(in crate::lint) static SYSTEM_UPGRADE: Rule = Rule {
    name: "SystemUpgrade",
    aliases: &["DL3005", "DL3017", "DL3031", "DL3035", "DL3039"],
    group: Group::Science,
    level: Level::Info,
    is_experimental: false,
    summary: "The system should not be upgraded in a build; a newer base is",
    why: "An upgrade gives other packages on each day, and stores every one that it replaces a \
          second time. A newer tag or digest of the base brings the same packages, for everybody.",
    bad: "FROM debian:13-slim\nRUN apt-get update && apt-get upgrade -y && rm -rf /var/lib/apt/lists/*\n",
    good: "FROM debian:13.1-slim\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        for command in run.work.commands() {
            if let Some(verb) = upgrade(&command.invocation) {
                let detail = format!(
                    "`{} {verb}` gives other packages on each day: take a newer base instead",
                    command.invocation.program
                );
                found.at(command.span, detail);
            }
        }
    }
}

/// The word that upgrades everything, if a command does.
fn upgrade<'a>(invocation: &Invocation<'a>) -> Option<&'a str> {
    let mut operands = invocation.operands().map(|word| word.text.as_str());
    let verb = operands.next()?;
    // With names behind it, it is about these packages.
    let is_all = operands.next().is_none();
    let upgrades = match invocation.program {
        "apt-get" | "apt" | "aptitude" => {
            matches!(
                verb,
                "upgrade" | "dist-upgrade" | "full-upgrade" | "safe-upgrade"
            )
        }
        "apk" => verb == "upgrade",
        "dnf" | "dnf5" | "yum" | "microdnf" => {
            matches!(verb, "update" | "upgrade" | "distro-sync")
        }
        "zypper" => matches!(verb, "update" | "up" | "dist-upgrade" | "dup"),
        _ => false,
    };
    (upgrades && is_all).then_some(verb)
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[test]
    fn upgrades_of_everything_are_found() {
        for (run, expected) in [
            ("apt-get update && apt-get -y dist-upgrade", 1),
            ("apk upgrade", 1),
            ("yum -y update", 1),
            ("zypper dup", 1),
            ("dnf upgrade -y openssl", 0),
            ("apt-get update", 0),
            ("zypper update -y openssl", 0),
            ("apk update", 0),
        ] {
            let text = format!("FROM debian:13\nRUN {run}\n");
            assert_eq!(count("SystemUpgrade", &text), expected, "{run}");
        }
    }
}
