//! Secrets that an image would show (EPI-09).

use std::sync::LazyLock;

use cairn_diagnostic::Span;
use regex::Regex;

use crate::ast::{Instruction, InstructionKind};
use crate::lint::buildkit::secrets::is_secret;
use crate::lint::facts::{Facts, RunStep};
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// No token in the text, the history or a repository's settings.
pub(in crate::lint) static SECRET_IN_IMAGE: Rule = Rule {
    name: "SecretInImage",
    aliases: &[],
    group: Group::Practice,
    level: Level::Warning,
    is_experimental: false,
    summary: "A secret must not come with the image",
    why: "Build arguments stand in the image's history, and whatever a command writes stands in a \
          layer: `git clone` keeps the address with its token in `.git/config`. Everybody who can \
          pull the image can read them, also when a later layer deletes the file. Give the secret \
          to the step alone, with `RUN --mount=type=secret`, and tell git by a header or a \
          credential helper.",
    bad: "FROM debian:13-slim\nARG GITHUB_PAT\nRUN git clone https://${GITHUB_PAT}@github.com/lab/data.git\n",
    good: "FROM debian:13-slim\nRUN --mount=type=secret,id=pat,env=PAT \\\n    git -c http.extraHeader=\"Authorization: Bearer $PAT\" clone https://github.com/lab/data.git\n",
    check,
};

fn check(facts: &Facts<'_>, found: &mut Findings) {
    for line in &facts.file.global_args {
        literals(facts, line, found);
        for declaration in &line.kind.declarations {
            let name = declaration.name.as_str();
            if is_secret(name) || is_token(name) {
                named("ARG", name, line.span, found);
            }
        }
    }
    for (_, step) in facts.steps().filter(|(_, step)| !step.is_trigger) {
        literals(facts, step.instruction, found);
        let (instruction, names): (_, Vec<&str>) = match &step.instruction.kind {
            InstructionKind::Env(pairs) => {
                ("ENV", pairs.iter().map(|pair| pair.key.as_str()).collect())
            }
            InstructionKind::Arg(arg) => {
                let names = arg.declarations.iter();
                ("ARG", names.map(|one| one.name.as_str()).collect())
            }
            _ => continue,
        };
        // The others are reported by BuildKit's rule.
        for name in names
            .into_iter()
            .filter(|name| is_token(name) && !is_secret(name))
        {
            named(instruction, name, step.span, found);
        }
    }
    for run in facts.runs() {
        addresses(&run, found);
    }
}

fn named(instruction: &str, name: &str, span: Span, found: &mut Findings) {
    let detail = format!("the value of {instruction} {name} can be read in the image's history");
    found.at(span, detail);
}

/// Names of secrets that BuildKit's rule does not know.
fn is_token(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let mut words = upper.split('_');
    let is_file = ["FILE", "PATH", "DIR", "NAME", "ID", "URL"]
        .iter()
        .any(|end| upper.ends_with(&format!("_{end}")));
    !is_file
        && words.any(|word| {
            matches!(
                word,
                "PAT" | "PASSPHRASE" | "PASS" | "CREDS" | "PRIVATEKEY" | "APITOKEN" | "ACCESSTOKEN"
            )
        })
}

/// What a secret looks like, and what it is.
static LITERALS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\bgh[pousr]_[A-Za-z0-9]{36}\b", "a token of GitHub"),
        (r"\bgithub_pat_[A-Za-z0-9_]{40,}", "a token of GitHub"),
        (r"\bglpat-[A-Za-z0-9_-]{20,}", "a token of GitLab"),
        (r"\bAKIA[0-9A-Z]{16}\b", "an access key of AWS"),
        (r"\bxox[abprs]-[A-Za-z0-9-]{20,}", "a token of Slack"),
        (r"\bhf_[A-Za-z0-9]{34}\b", "a token of Hugging Face"),
        (r"\bnpm_[A-Za-z0-9]{36}\b", "a token of npm"),
        (r"\bpypi-AgE[A-Za-z0-9_-]{40,}", "a token of PyPI"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----", "a private key"),
    ]
    .into_iter()
    .filter_map(|(pattern, what)| Some((Regex::new(pattern).ok()?, what)))
    .collect()
});

/// The text with stars in the place of every secret that stands in it; all else keeps its place.
pub fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let literals = LITERALS.iter().flat_map(|(regex, _)| regex.find_iter(text));
    let addresses = ADDRESS.iter().flat_map(|regex| regex.captures_iter(text));
    let logins = LOGIN.iter().flat_map(|regex| regex.captures_iter(text));
    let written = addresses
        .filter_map(|found| found.get(2))
        .chain(logins.filter_map(|found| found.get(1)))
        .filter(|secret| !secret.as_str().starts_with(['$', '<']));
    for hit in literals.chain(written) {
        bytes[hit.range()].fill(b'*');
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Secrets that stand in the text itself. Messages never repeat them.
fn literals<K>(facts: &Facts<'_>, instruction: &Instruction<K>, found: &mut Findings) {
    let text = &facts.file.source.text[instruction.span.start..instruction.span.end];
    for (regex, what) in LITERALS.iter() {
        for hit in regex.find_iter(text) {
            let start = instruction.span.start + hit.start();
            let span = Span::new(start, start + hit.len());
            found.certain(span, format!("{what} stands in the Dockerfile"));
        }
    }
}

static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"[a-z+]+://(?:([^\s/:@'"]*):)?(\$\([^)]*\)|[^\s/@'"]+)@[A-Za-z0-9.\[-]"#).ok()
});

/// A user and a password before a registry, as in `me:secret@ghcr.io/lab`. A tag before a digest is
/// none: no path follows.
static LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let user = r#"(?:^|[\s"'=,])[^\s"'/:@=,]+"#;
    let host = r"[A-Za-z0-9.\[\]-]+(?::[0-9]+)?/";
    Regex::new(&format!(r#"(?m){user}:([^\s"'/]+)@{host}"#)).ok()
});

/// Addresses with a password that a command leaves behind.
fn addresses(run: &RunStep<'_, '_>, found: &mut Findings) {
    let Some(regex) = ADDRESS.as_ref() else {
        return;
    };
    for command in run.work.commands() {
        let invocation = &command.invocation;
        let is_clone = invocation.program == "git"
            && invocation
                .operands()
                .any(|word| matches!(word.text.as_str(), "clone" | "remote" | "submodule"));
        for word in invocation.arguments {
            let Some(hit) = regex.captures(&word.text) else {
                continue;
            };
            let has_user = hit.get(1).is_some_and(|user| !user.is_empty());
            let secret = hit.get(2).map_or("", |secret| secret.as_str());
            let variable = secret.starts_with('$');
            // `git@host` and `user@host` name a user.
            if !has_user && !variable && hit.get(1).is_none() {
                continue;
            }
            let is_declared = variable
                && run.stage.declares(
                    run.step,
                    secret.trim_start_matches(['$', '{']).trim_end_matches('}'),
                );
            let is_written = !variable && !secret.starts_with('<');
            let detail = match (is_clone, is_written || is_declared) {
                (true, _) => "git keeps this address with its secret in the clone's settings",
                (false, true) => "an address with a secret stands in the image's history",
                (false, false) => continue,
            };
            found.at(command.span, detail);
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[track_caller]
    fn check(text: &str, expected: usize) {
        let text = format!("FROM debian:13\n{text}\n");
        assert_eq!(count("SecretInImage", &text), expected, "{text}");
    }

    #[test]
    fn names() {
        check("ARG GITHUB_PAT", 1);
        check("ENV DB_PASS=x", 1);
        assert_eq!(count("SecretInImage", "ARG API_TOKEN\nFROM debian:13\n"), 1);
        check("ARG PATCH\nENV COMPASS=1 PATH=/x PASSWORD_FILE=/y", 0);
        check("ARG SSH_PASS_FILE\nENV MY_PAT_DIR=/x", 0);
        check("ARG TOKEN", 0);
    }

    #[test]
    fn literals() {
        let token = format!("ghp_{}", "a".repeat(36));
        check(&format!("RUN x {token}"), 1);
        check(&format!("COPY <<E /x\n{token}\nE"), 1);
        check("ENV K=AKIAABCDEFGHIJKLMNOP", 1);
        check("RUN echo ghp_short", 0);
    }

    #[test]
    fn secrets_are_masked_and_nothing_moves() {
        let token = format!("ghp_{}", "a".repeat(36));
        let text =
            format!("RUN x {token} \u{e4}\nRUN curl https://ann:hunter2@x.org https://u:$T@y\n");
        let hidden = super::masked(&text);
        assert!(!hidden.contains("aaa") && !hidden.contains("hunter2"));
        assert!(hidden.contains("https://ann:*******@x.org https://u:$T@y"));
        assert_eq!(hidden.len(), text.len());
        let spec = "registries = [\"me:geheim@localhost:7104/sm\", 'a:ge@heim@ghcr.io/lab']";
        let hidden = super::masked(spec);
        assert!(!hidden.contains("heim") && hidden.contains("me:******@localhost:7104/sm"));
        let pinned = "FROM ghcr.io/lab/base:1@sha256:abc AS x\nFROM debian:13@sha256:abc\n";
        assert_eq!(super::masked(pinned), pinned);
    }

    #[test]
    fn addresses() {
        check("ARG T\nRUN git clone https://$T@github.com/x", 1);
        check(
            "RUN git clone https://x:$(cat /run/secrets/t)@github.com/y",
            1,
        );
        check("ARG T\nRUN pip install git+https://u:${T}@x.org/y", 1);
        check("RUN curl https://ann:hunter2@x.org/y", 1);
        check("RUN git clone git@github.com:x/y", 0);
        check("RUN git clone ssh://git@github.com/x/y", 0);
        check("RUN git clone https://github.com/x/y@v1", 0);
        check(
            "RUN --mount=type=secret,id=t,env=T curl https://u:$T@x.org",
            0,
        );
        check("RUN npm install x@1.2 https://x.org/@scope/y", 0);
    }
}
