//! What a failed step's last words tell of the cause.
//!
//! An exit code says little; the line above it often says all. Read here are only the sentences of
//! shells and of the C library, which are the same everywhere.

/// The likely cause of a failure, read from its code and its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clue {
    /// A program was not found.
    NoProgram {
        /// Its name, as the shell tells it.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// Something was not allowed.
    Denied {
        /// The line that says so.
        line: String,
        /// `USER` as written; empty for root.
        user: String,
        /// The number of that user.
        uid: u32,
    },
    /// Something was to be written where nothing can be.
    ReadOnly {
        /// The line that says so.
        line: String,
    },
    /// What looks like a list of words is none, so the shell was given it.
    NotJson,
    /// A step that went without something failed.
    Without {
        /// What it was not given: a secret or an agent, with the flag that gives it.
        what: String,
        /// That flag.
        flag: String,
    },
    /// A program wanted to become another user where there is none to become.
    OnlyOneId {
        /// The line that says so.
        line: String,
    },
}

/// What a step was, as far as its failure may come from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) code: i32,
    pub(crate) argv: &'a [String],
    /// Secrets and agents that it may go without, and did.
    pub(crate) without: &'a [Missing],
    /// The last lines of its output, oldest first.
    pub(crate) last_lines: &'a [String],
    pub(crate) path: &'a str,
    pub(crate) user: &'a str,
    pub(crate) uid: u32,
}

/// A secret or an agent that was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// `secret` or `ssh agent`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Missing {
    /// The flag that gives it, and for a stack, which takes no such flag, its spec's word.
    pub(crate) fn flag(&self) -> String {
        let name = &self.name;
        match (self.kind, name.as_str()) {
            ("secret", _) => format!(
                "`--secret id={name},src=FILE` or `,env=VARIABLE`; in a stack, a line `{name} = \
                 \"value\"` of the file that `build.secrets` names"
            ),
            (_, "default") => "`--ssh default`, with an agent that runs".to_owned(),
            _ => format!("`--ssh {name}=SOCKET|KEY`"),
        }
    }
}

impl Clue {
    /// Finds a clue, if there is one.
    pub(crate) fn find(step: &Circumstances<'_>) -> Option<Self> {
        let mut lines = step.last_lines.iter().rev();
        if is_like_json(step.argv) {
            return Some(Clue::NotJson);
        }
        if step.code == 127 {
            let program = lines.find_map(|line| missing_program(line))?;
            return Some(Clue::NoProgram {
                program: program.to_owned(),
                path: step.path.to_owned(),
            });
        }
        // 126 and the codes of signals have hints of their own, and these say more.
        if step.code >= 126 {
            return None;
        }
        // What sudo says where set-uid programs have no power, which is so with a single id only.
        let only_one_id = |line: &&String| line.contains("no new privileges");
        if let Some(line) = lines.clone().find(only_one_id) {
            return Some(Clue::OnlyOneId {
                line: line.trim().to_owned(),
            });
        }
        let says_denied =
            |line: &&String| line.contains("ermission denied") || line.contains("not permitted");
        if let Some(line) = lines.clone().find(says_denied) {
            return Some(Clue::Denied {
                line: line.trim().to_owned(),
                user: step.user.to_owned(),
                uid: step.uid,
            });
        }
        if let Some(line) = lines.find(|line| line.contains("Read-only file system")) {
            return Some(Clue::ReadOnly {
                line: line.trim().to_owned(),
            });
        }
        let missing = step.without.first()?;
        Some(Clue::Without {
            what: format!("the {} `{}`", missing.kind, missing.name),
            flag: missing.flag(),
        })
    }

    /// What to tell people.
    pub fn hint(&self) -> String {
        match self {
            Clue::NoProgram { program, path } if program.contains('/') => {
                format!(
                    "`{program}` is not in this stage (PATH, which is not used for a name with a slash, is {path})."
                )
            }
            Clue::NoProgram { program, path } => format!(
                "`{program}` is in no directory of PATH, which is {path}. Install it in this \
                 stage, or put its directory into PATH with ENV."
            ),
            Clue::Denied { line, user, uid: 0 } => format!(
                "`{}`: the step runs as {}, so what denies it is the file's own attributes, a \
                 read-only mount, or something that no build step may do.",
                cut(line),
                named(user, 0)
            ),
            Clue::Denied { line, user, uid } => format!(
                "`{}`: the step runs as {}, who may change only what belongs to that user: COPY \
                 with --chown, or do it before USER.",
                cut(line),
                named(user, *uid)
            ),
            Clue::ReadOnly { line } => format!(
                "`{}`: a bind mount is read-only unless it says `rw` (what is written there is \
                 thrown away), and so are /proc and /sys. Copy what is to be changed to another \
                 place.",
                cut(line)
            ),
            Clue::NotJson => "The command begins like a JSON list and is none, so the shell was \
                              given it as it stands: words need double quotes, and no comma stands \
                              behind the last."
                .to_owned(),
            Clue::Without { what, flag } => {
                format!("The step went without {what}, which was not given: {flag}.")
            }
            Clue::OnlyOneId { line } => format!(
                "`{}`: this account has no range of subordinate ids, so that nothing inside can \
                 become another user. Put `USER root` before the line instead of `sudo`, or have \
                 an administrator give the account a range; `cairn doctor` says how.",
                cut(line)
            ),
        }
    }
}

/// Whether a shell was given what looks like the exec form. `[ -f x ]` and `[[ ... ]]` are tests.
fn is_like_json(argv: &[String]) -> bool {
    let [_, _, command] = argv else {
        return false;
    };
    let inside = command.trim_start().strip_prefix('[');
    inside.is_some_and(|rest| rest.trim_start().starts_with(['"', '\'']) && command.contains(','))
}

/// As much of a line as a hint has room for.
fn cut(line: &str) -> String {
    const SHOWN: usize = 120;
    let shown: String = line.chars().take(SHOWN).collect();
    match shown.len() < line.len() {
        true => shown + "...",
        false => shown,
    }
}

fn named(user: &str, uid: u32) -> String {
    match user {
        "" => format!("root (uid {uid})"),
        user => format!("user `{user}` (uid {uid})"),
    }
}

/// The program in `sh: 1: x: not found`, `/bin/sh: x: not found`, `bash: line 1: x: command not
/// found` and `env: 'x': No such file or directory`.
fn missing_program(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let before = [
        ": command not found",
        ": not found",
        ": No such file or directory",
    ]
    .iter()
    .find_map(|end| line.strip_suffix(end))?;
    let (shell, program) = before.rsplit_once(": ")?;
    let program = program.trim_matches(['\'', '"', '\u{2018}', '\u{2019}']);
    let is_one_word = !program.is_empty() && !program.contains(char::is_whitespace);
    (is_one_word && !shell.is_empty()).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clue(code: i32, lines: &[&str]) -> Option<Clue> {
        clue_of("true", &[], code, lines)
    }

    fn clue_of(command: &str, without: &[Missing], code: i32, lines: &[&str]) -> Option<Clue> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Clue::find(&Circumstances {
            code,
            argv: &["/bin/sh", "-c", command].map(str::to_owned),
            without,
            last_lines: &lines,
            path: "/bin:/opt",
            user: "ann",
            uid: 1000,
        })
    }

    fn program(line: &str) -> Option<String> {
        match clue(127, &[line])? {
            Clue::NoProgram { program, .. } => Some(program),
            _ => None,
        }
    }

    #[test]
    fn shells_name_the_missing_program() {
        let gcc = Some("gcc".to_owned());
        assert_eq!(program("/bin/sh: gcc: not found"), gcc);
        assert_eq!(program("/bin/sh: 1: gcc: not found"), gcc);
        assert_eq!(program("bash: line 1: gcc: command not found"), gcc);
        assert_eq!(program("env: 'gcc': No such file or directory"), gcc);
        assert_eq!(program("page not found"), None);
        assert_eq!(clue(1, &["/bin/sh: gcc: not found"]), None, "another code");
        let hint = clue(127, &["sh: gcc: not found", "bye"]).unwrap().hint();
        assert!(hint.contains("`gcc`") && hint.contains("/bin:/opt"));
    }

    #[test]
    fn sudo_with_a_single_id_is_told_apart() {
        let lines = [
            "sudo: /etc/sudo.conf is owned by uid 1000, should be 0",
            "sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.",
            "sudo: If sudo is running in a container, you may need to adjust the configuration.",
        ];
        let hint = clue(1, &lines).unwrap().hint();
        assert!(
            hint.contains("`USER root`") && hint.contains("`cairn doctor`"),
            "{hint}"
        );
    }

    #[test]
    fn a_list_that_is_no_json_is_told() {
        for command in ["[\"echo\", 'hi']", "['a', 'b']", "[ \"a\", \"b\", ]"] {
            let found = clue_of(command, &[], 127, &["/bin/sh: [echo,: not found"]);
            assert_eq!(found, Some(Clue::NotJson), "{command}");
        }
        for command in ["[ -f a ] && b", "[[ a ]]", "[ \"a\" = b ]"] {
            assert_eq!(clue_of(command, &[], 1, &[]), None, "{command}");
        }
    }

    #[test]
    fn what_a_step_went_without_is_told_last() {
        let missing = |kind, name: &str| Missing {
            kind,
            name: name.to_owned(),
        };
        let secret = [missing("secret", "token")];
        let hint = |without: &[Missing], lines: &[&str]| {
            clue_of("true", without, 1, lines).unwrap().hint()
        };
        let told = hint(&secret, &["no such file"]);
        assert!(told.contains("--secret id=token"), "{told}");
        assert!(told.contains("`build.secrets`"), "{told}");
        assert!(hint(&secret, &["x: Read-only file system"]).contains("`rw`"));
        assert!(hint(&[missing("ssh agent", "default")], &[]).contains("--ssh default"));
    }

    #[test]
    fn a_denial_names_the_user() {
        let hint = clue(1, &["touch: /x: Permission denied", "done"])
            .unwrap()
            .hint();
        assert!(hint.starts_with("`touch: /x: Permission denied`"), "{hint}");
        assert!(hint.contains("`ann` (uid 1000)"));
        for code in [126, 137] {
            assert_eq!(clue(code, &["x: Permission denied"]), None, "{code}");
        }
        assert!(clue(2, &["chown: Operation not permitted"]).is_some());
        assert_eq!(clue(1, &["all is well"]), None);
    }
}
