//! Package managers that ask, and the one that is for people.

use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::practice::apt_flags::is_answered;
use crate::lint::rule::{Group, Rule};
use crate::shell::Invocation;

/// `dnf install -y`
pub(in crate::lint) static DNF_INSTALL_ASKS: Rule = Rule {
    name: "DnfInstallAsks",
    aliases: &["DL3030", "DL3034", "DL3038"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "dnf, yum and zypper should not ask",
    why: "Nobody answers in a build: without `-y` (or zypper's `--non-interactive`) the command \
          takes the silence for a no and fails.",
    bad: "FROM fedora:42\nRUN dnf install gcc && dnf clean all\n",
    good: "FROM fedora:42\nRUN dnf install -y gcc && dnf clean all\n",
    check: asks,
};

fn asks(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        for command in run.work.commands() {
            let invocation = &command.invocation;
            if changes(invocation) && !has_answer(invocation) && !is_answered(&command) {
                let detail = format!("`{}` without `-y` waits for an answer", invocation.program);
                found.at(command.span, detail);
            }
        }
    }
}

fn changes(invocation: &Invocation<'_>) -> bool {
    let mut operands = invocation.operands().map(|word| word.text.as_str());
    match invocation.program {
        "dnf" | "dnf5" | "yum" | "microdnf" => operands.any(|word| {
            matches!(
                word,
                "install" | "groupinstall" | "localinstall" | "reinstall"
            )
        }),
        "zypper" => operands
            .any(|word| matches!(word, "install" | "in" | "source-install" | "si" | "patch")),
        _ => false,
    }
}

fn has_answer(invocation: &Invocation<'_>) -> bool {
    let by_zypper = invocation.program == "zypper"
        && (invocation.has_letter('n')
            || invocation.has_option(&["--non-interactive", "--no-confirm"]));
    by_zypper
        || invocation.has_letter('y')
        || invocation.has_option(&["--assumeyes", "--assumeno", "--downloadonly", "--setopt"])
        // A variable may hold the option.
        || invocation.arguments.iter().any(|word| word.text.starts_with('$'))
}

/// `apt-get`, not `apt`.
pub(in crate::lint) static APT_IN_SCRIPT: Rule = Rule {
    name: "AptInScript",
    aliases: &["DL3027"],
    group: Group::Practice,
    level: Level::Info,
    is_experimental: false,
    summary: "A script should use `apt-get` or `apt-cache`, not `apt`",
    why: "`apt` is for people: it warns in scripts that its options and what it prints may change \
          from one release to the next.",
    bad: "FROM debian:13-slim\nRUN apt list --installed >/packages\n",
    good: "FROM debian:13-slim\nRUN dpkg-query -W >/packages\n",
    check: apt,
};

fn apt(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        let mut commands = run.work.commands();
        if let Some(command) = commands.find(|command| command.invocation.program == "apt") {
            found.at(
                command.span,
                "`apt` is for people: use `apt-get` or `apt-cache`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[test]
    fn who_asks() {
        for (run, expected) in [
            ("dnf install gcc", 1),
            ("yum -q install gcc", 1),
            ("zypper install gcc", 1),
            ("dnf -y install gcc", 0),
            ("yum install -qy gcc", 0),
            ("microdnf install --assumeyes gcc", 0),
            ("zypper -n in gcc", 0),
            ("zypper --non-interactive install gcc", 0),
            ("zypper install -y gcc", 0),
            ("yes | dnf install gcc", 0),
            ("dnf $OPTIONS install gcc", 0),
            ("dnf clean all", 0),
            ("notdnf install gcc", 0),
        ] {
            let text = format!("FROM fedora:42\nRUN {run}\n");
            assert_eq!(count("DnfInstallAsks", &text), expected, "{run}");
        }
    }
}
