//! Where files land, and which value a variable has.

use crate::ast::InstructionKind;
use crate::lint::buildkit::workdir::is_absolute;
use crate::lint::facts::Facts;
use crate::lint::finding::{Findings, Level};
use crate::lint::rule::{Group, Rule};

/// Files are copied to a place that the file says.
pub(in crate::lint) static COPY_WITHOUT_WORKDIR: Rule = Rule {
    name: "CopyWithoutWorkdir",
    aliases: &["DL3045"],
    group: Group::Practice,
    level: Level::Info,
    is_experimental: false,
    summary: "Files should be copied to an absolute path, or below a WORKDIR of this file",
    why: "A relative destination starts from wherever the base image left off: mostly the root, \
          where files of an application lie among those of the system, and another place when the \
          base sets another one some day.",
    bad: "FROM python:3.13-slim\nCOPY . .\n",
    good: "FROM python:3.13-slim\nWORKDIR /app\nCOPY . .\n",
    check: relative,
};

fn relative(facts: &Facts<'_>, found: &mut Findings) {
    for stage in facts.reached() {
        let mut has_workdir = stage.starts_with_workdir();
        let is_windows = stage.is_windows;
        for step in &stage.steps {
            let dest = match &step.instruction.kind {
                InstructionKind::Workdir(_) => {
                    has_workdir = true;
                    continue;
                }
                InstructionKind::Copy(copy) => &copy.files.dest,
                InstructionKind::Add(add) => &add.files.dest,
                _ => continue,
            };
            let variables = stage.variables_at(step);
            let path = facts.expander.word(dest.as_str(), &variables);
            // What only a build knows may be anything.
            let Some(path) = path.ok().filter(|path| path.unmatched.is_empty()) else {
                continue;
            };
            let has_drive = path.text.get(1..2) == Some(":");
            if has_workdir || has_drive || is_absolute(&path.text, is_windows) {
                continue;
            }
            let detail = format!("{:?} lies wherever the base image left off", path.text);
            found.at(step.span, detail);
        }
    }
}

/// An `ENV` uses what was set before it.
pub(in crate::lint) static ENV_USES_ITSELF: Rule = Rule {
    name: "EnvUsesItself",
    aliases: &["DL3044"],
    group: Group::Practice,
    level: Level::Info,
    is_experimental: false,
    summary: "A variable should not be used in the ENV that sets it",
    why: "All values of one `ENV` are made of what was set before it: a variable that the same \
          instruction sets has its old value there, or none.",
    bad: "FROM debian:13-slim\nENV HOME=/root\nENV HOME=/opt/app CACHE=$HOME/cache\n",
    good: "FROM debian:13-slim\nENV HOME=/opt/app\nENV CACHE=$HOME/cache\n",
    check: uses_itself,
};

fn uses_itself(facts: &Facts<'_>, found: &mut Findings) {
    for (stage, step) in facts.steps() {
        if !matches!(step.instruction.kind, InstructionKind::Env(_)) {
            continue;
        }
        let words = stage.words(step, &facts.expander);
        let mut set: Vec<&str> = Vec::new();
        for pair in words.chunks_exact(2) {
            let mut used = pair[1].used.iter().chain(&pair[1].unmatched);
            if let Some(name) = used.find(|name| set.contains(&name.as_str())) {
                let detail = format!("${name} has the value from before this ENV");
                found.at(step.span, detail);
            }
            set.push(&pair[0].text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::count;

    #[test]
    fn relative_places_need_a_workdir() {
        let copies = |text: &str| count("CopyWithoutWorkdir", text);
        assert_eq!(copies("FROM a:1\nCOPY a \"b\"\n"), 1);
        assert_eq!(copies("FROM a:1\nADD a b\nWORKDIR /x\nADD a b\n"), 1);
        assert_eq!(copies("FROM a:1\nCOPY a \"/b\"\n"), 0);
        assert_eq!(copies("FROM a:1\nCOPY a ${WHERE}\n"), 0);
        assert_eq!(copies("FROM a:1\nARG D=/x\nCOPY a $D/b\n"), 0);
        assert_eq!(copies("FROM a:1\nCOPY a c:\\\\b\n"), 0);
        assert_eq!(copies("FROM a:1 AS x\nWORKDIR /x\nFROM x\nCOPY a b\n"), 0);
        assert_eq!(copies("FROM a:1 AS x\nWORKDIR /x\nFROM a:1\nCOPY a b\n"), 1);
        let triggers = "FROM a:1\nONBUILD WORKDIR /x\nONBUILD COPY a b\n";
        assert_eq!(copies(triggers), 0);
    }

    #[test]
    fn an_env_has_no_order_inside() {
        let envs = |env: &str| count("EnvUsesItself", &format!("FROM a:1\nENV {env}\n"));
        assert_eq!(envs("A=b C=\"$A/$D\""), 1);
        assert_eq!(envs("PATH=/a:$PATH PATH=/b:${PATH}"), 1);
        assert_eq!(envs("A=b C=$AB D=A"), 0);
        assert_eq!(envs("PATH=/a:$PATH"), 0);
        assert_eq!(envs("A=$B B=c"), 0);
        assert_eq!(envs("A=b\nENV C=$A"), 0);
    }
}
