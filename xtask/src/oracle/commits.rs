//! A copy of a stack in a repository, as a machine sees it that has built nothing: what
//! `cairn plan --since` says of each change once it is committed, by its files and by words in its
//! message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Random;
use crate::command;
use crate::error::ChoreError;

/// What a commit's message may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Everything again.
    Rebuild,
    /// Nothing at all.
    Skip,
}

/// The repository.
#[derive(Debug)]
pub(super) struct Commits {
    pub(super) folder: PathBuf,
}

impl Commits {
    pub(super) fn new(folder: PathBuf, stack: &Path) -> Result<Self, ChoreError> {
        fs::create_dir_all(&folder).map_err(ChoreError::file(&folder))?;
        let commits = Self { folder };
        commits.git(&["init", "-q", "-b", "main"])?;
        commits.commit(stack, "first")?;
        Ok(commits)
    }

    /// Commits the stack as it is now, in most cases without a word for Cairn.
    pub(super) fn change(
        &self,
        stack: &Path,
        random: &mut Random,
    ) -> Result<Option<Word>, ChoreError> {
        let word = match random.below(8) {
            0 => Some(Word::Rebuild),
            1 => Some(Word::Skip),
            _ => None,
        };
        let message = match word {
            Some(word) => format!("a change [{}]", word.text()),
            None => "a change".to_owned(),
        };
        self.commit(stack, &message)?;
        Ok(word)
    }

    fn commit(&self, stack: &Path, message: &str) -> Result<(), ChoreError> {
        let entries = fs::read_dir(&self.folder).map_err(ChoreError::file(&self.folder))?;
        for entry in entries.flatten().filter(|it| it.file_name() != ".git") {
            let mut remove = Command::new("rm");
            command::run(remove.arg("-rf").arg(entry.path()))?;
        }
        let mut copy = Command::new("cp");
        command::run(copy.arg("-a").arg(stack.join(".")).arg(&self.folder))?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", message])
    }

    fn git(&self, arguments: &[&str]) -> Result<(), ChoreError> {
        let mut git = Command::new("git");
        git.args([
            "-c",
            "user.name=oracle",
            "-c",
            "user.email=oracle@localhost",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(&self.folder);
        command::capture(&mut git).map(drop)
    }
}

impl Word {
    /// How the spec of a made-up stack has it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Rebuild => "full rebuild",
            Self::Skip => "skip ci",
        }
    }
}
