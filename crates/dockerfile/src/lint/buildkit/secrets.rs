//! Secrets by the names of variables.

use std::sync::LazyLock;

use regex::Regex;

use crate::ast::InstructionKind;
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// No secret in `ARG` or `ENV`.
pub(in crate::lint) static SECRETS_USED_IN_ARG_OR_ENV: Rule = Rule {
    name: "SecretsUsedInArgOrEnv",
    aliases: &[],
    group: Group::BuildKit,
    level: Level::Warning,
    is_experimental: false,
    summary: "Sensitive data should not be used in the ARG or ENV commands",
    why: "The values of ARG and ENV stand in the image's config or history, for everybody who can \
          pull the image. A secret belongs into `RUN --mount=type=secret`, which leaves no trace.",
    bad: "FROM debian:13-slim\nARG DATA_TOKEN\nRUN fetch --token $DATA_TOKEN\n",
    good: "FROM debian:13-slim\nRUN --mount=type=secret,id=data_token,env=DATA_TOKEN \\\n    fetch --token $DATA_TOKEN\n",
    check: secret_names,
};

fn secret_names(facts: &Facts<'_>, found: &mut Findings) {
    for (stage, step) in facts.steps() {
        let (instruction, names): (_, Vec<String>) = match &step.instruction.kind {
            InstructionKind::Env(_) => {
                let words = stage.words(step, &facts.expander);
                let names = words.into_iter().step_by(2);
                ("ENV", names.map(|word| word.text).collect())
            }
            InstructionKind::Arg(arg) => {
                let names = arg.declarations.iter();
                ("ARG", names.map(|arg| arg.name.value.clone()).collect())
            }
            _ => continue,
        };
        for name in names.iter().filter(|name| is_secret(name)) {
            let detail = format!(
                "Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})"
            );
            found.at(step.span, detail);
        }
    }
}

static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = "apikey|auth|credential|credentials|key|password|pword|passwd|secret|token";
    Regex::new(&format!("(?i)(?:_|^)(?:{words})(?:_|$)")).ok()
});

static HARMLESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?i)(?:_|^)(?:public|file|version)(?:_|$)").ok());

/// Whether a variable's name says that it holds a secret.
pub fn is_secret(name: &str) -> bool {
    let matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(name));
    matches(&SECRET) && !matches(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn whole_words_count() {
        for name in [
            "api_key",
            "DATABASE_PASSWORD",
            "GITHUB_TOKEN",
            "secret_x",
            "AUTH",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PUBLIC_KEY",
            "TOKEN_FILE",
            "KEYBOARD",
            "AUTHOR",
            "MONKEY",
            "KEY_VERSION",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
