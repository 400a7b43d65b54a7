//! Comments to the checker itself.

use crate::ast::Word;
use crate::lint::facts::Facts;
use crate::lint::filter::silenced;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};
use crate::lint::rules::{RULES, rule};
use crate::suggest::nearest;

/// `# cairn ignore=` names rules that there are.
pub(in crate::lint) static UNKNOWN_RULE: Rule = Rule {
    name: "UnknownRule",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "A comment silences a rule that does not exist",
    why: "What is misspelt silences nothing, and where the rule it means finds nothing today, \
          nobody notices until it does.",
    bad: "FROM debian:13-slim\n# cairn ignore=AptListLeft\nRUN true\n",
    good: "FROM debian:13-slim\n# cairn ignore=AptListsLeft\nRUN true\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    let globals = facts.file.global_args.iter().flat_map(|it| &it.comments);
    let stages = facts.file.stages.iter().flat_map(|stage| {
        let lines = stage.instructions.iter().flat_map(|it| &it.comments);
        stage.from.comments.iter().chain(lines)
    });
    let comments: Vec<&Word> = globals.chain(stages).collect();
    for comment in comments {
        for name in silenced(comment.as_str()) {
            if rule(&name).is_some() {
                continue;
            }
            let known = RULES.iter().map(|rule| rule.name);
            let detail = match nearest(&name, known) {
                Some(near) => format!("there is no rule `{name}`; did you mean `{near}`?"),
                None => format!("there is no rule `{name}`; `cairn lint --explain` lists all"),
            };
            found.at(comment.span, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[test]
    fn only_our_own_comments_and_unknown_names() {
        for (comment, expected) in [
            ("cairn ignore=NoSuchRule", 1),
            ("cairn ignore=NoSuchRule, Sudo, Nor", 2),
            ("cairn ignore=sudo # it is needed", 0),
            ("cairn ignore=all", 0),
            ("cairn ignore=DL3009", 0),
            ("hadolint ignore=DL9999", 0),
            ("check=skip=NoSuchRule", 0),
            ("we ignore=that", 0),
        ] {
            let text = format!("FROM a:1\n# {comment}\nRUN true\n");
            assert_eq!(count("UnknownRule", &text), expected, "{comment}");
        }
    }
}
