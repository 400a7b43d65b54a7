//! Users: whom an image runs as, and how accounts are made.

use crate::ast::InstructionKind;
use crate::lint::facts::{Base, Facts};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::shell::Invocation;

/// The last `USER` is not root.
pub(in crate::lint) static LAST_USER_IS_ROOT: Rule = Rule {
    name: "LastUserIsRoot",
    aliases: &["DL3002"],
    group: Group::Practice,
    level: Level::Info,
    is_experimental: false,
    summary: "The last USER of an image should not be root",
    why: "What breaks out of a program that runs as root may change everything in the container, \
          and what it writes into mounted directories belongs to root. Steps that need root come \
          before; the last `USER` is for the program.",
    bad: "FROM debian:13-slim\nUSER root\nRUN make install\n",
    good: "FROM debian:13-slim\nUSER root\nRUN make install\nUSER 1000\n",
    check: last_user,
};

fn last_user(facts: &Facts<'_>, found: &mut Findings) {
    let mut is_base = vec![false; facts.stages.len()];
    for stage in &facts.stages {
        if let Some(Base::Stage(below)) = stage.base {
            is_base[below] = true;
        }
    }
    for stage in facts.reached().filter(|stage| stage.is_shipped) {
        let mut own = stage.steps.iter().rev().filter(|step| !step.is_trigger);
        let last = own.find(|step| matches!(step.instruction.kind, InstructionKind::User(_)));
        let Some(step) = last else {
            continue;
        };
        let words = stage.words(step, &facts.expander);
        let user = words.first().map_or("", |word| word.text.as_str());
        let name = user.split(':').next().unwrap_or_default();
        if matches!(name, "root" | "0") && !is_base[stage.stage.index] {
            found.at(step.span, format!("the image runs as {user}"));
        }
    }
}

/// No giant logs of logins.
pub(in crate::lint) static HIGH_USER_ID: Rule = Rule {
    name: "HighUserId",
    aliases: &["DL3046"],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "A user with a high number should be made with `useradd -l`",
    why: "`useradd` writes into /var/log/lastlog and /var/log/faillog at the place of the user's \
          number. With a number of six digits and more these files have gigabytes of holes, which \
          layers and registries do not know.",
    bad: "FROM debian:13-slim\nRUN useradd -u 1234567 ann\n",
    good: "FROM debian:13-slim\nRUN useradd -l -u 1234567 ann\n",
    check: high_id,
};

/// Numbers with so many digits make the files large.
const DIGITS_MIN: usize = 6;

fn high_id(facts: &Facts<'_>, found: &mut Findings) {
    for run in facts.runs() {
        for command in run.work.commands() {
            let invocation = &command.invocation;
            let has_logs =
                !invocation.has_option(&["-l", "--no-log-init"]) && !invocation.has_letter('l');
            if invocation.program == "useradd" && has_logs && has_high_id(invocation) {
                found.at(
                    command.span,
                    "`useradd` without `-l` and with a high number",
                );
            }
        }
    }
}

fn has_high_id(invocation: &Invocation<'_>) -> bool {
    let words = invocation.arguments.iter().map(|word| word.text.as_str());
    let behind = words.clone().zip(words.clone().skip(1));
    let behind = behind.filter(|(option, _)| matches!(*option, "-u" | "--uid"));
    let joined = words.filter_map(|word| {
        let long = word.strip_prefix("--uid=");
        long.or_else(|| word.strip_prefix("-u"))
    });
    behind
        .map(|(_, value)| value)
        .chain(joined)
        .any(|value| value.len() >= DIGITS_MIN && value.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[test]
    fn only_an_image_that_ends_as_root_is_told() {
        let roots = |text: &str| count("LastUserIsRoot", text);
        assert_eq!(roots("FROM a:1\nUSER root\n"), 1);
        assert_eq!(roots("FROM a:1\nUSER 0:0\n"), 1);
        assert_eq!(roots("FROM a:1\nARG U=0\nUSER $U\n"), 1);
        assert_eq!(roots("FROM a:1\nUSER root\nUSER ann\n"), 0);
        assert_eq!(roots("FROM a:1\n"), 0);
        assert_eq!(roots("FROM a:1 AS b\nUSER root\nFROM b\nUSER ann\n"), 0);
        let copied = "FROM a:1 AS b\nUSER root\nFROM a:1\nCOPY --from=b /x /x\n";
        assert_eq!(roots(copied), 0);
    }

    #[test]
    fn high_numbers_need_a_flag() {
        for (run, expected) in [
            ("useradd -u 123456 ann", 1),
            ("useradd --uid=1234567 ann", 1),
            ("useradd -u1234567 ann", 1),
            ("useradd -l -u 123456 ann", 0),
            ("useradd -ml -u 123456 ann", 0),
            ("useradd --no-log-init -u 123456 ann", 0),
            ("useradd -u 1000 ann", 0),
            ("useradd 123456789", 0),
        ] {
            let text = format!("FROM debian:13\nRUN {run}\n");
            assert_eq!(count("HighUserId", &text), expected, "{run}");
        }
    }
}
