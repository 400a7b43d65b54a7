//! The words of an instruction that are expanded, each with what became of it.

use crate::ast::{CopySource, FileArguments, Instruction, InstructionKind, KeyValue, Word};
use crate::expand::{Env, Expanded, Expander};

/// Expands what BuildKit expands before it looks at an instruction, in its order. `ARG` and
/// `EXPOSE` are not among it: their words are expanded in ways of their own.
pub(super) fn expanded(
    instruction: &Instruction,
    env: &dyn Env,
    expander: &Expander,
) -> Vec<Expanded> {
    let mut words = Words {
        env,
        expander,
        found: Vec::new(),
    };
    match &instruction.kind {
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => words.pairs(pairs),
        InstructionKind::Copy(copy) => words.files(&copy.files, None),
        InstructionKind::Add(add) => words.files(&add.files, add.checksum.as_ref()),
        InstructionKind::User(word)
        | InstructionKind::Workdir(word)
        | InstructionKind::StopSignal(word) => words.word(word),
        InstructionKind::Volume(paths) => paths.iter().for_each(|path| words.word(path)),
        InstructionKind::Run(run) => {
            for mount in &run.mounts {
                // What is wrong with a mount is the builder's to say.
                let _ = mount.resolve(&mut |value| {
                    let expanded = expander.word(value, env)?;
                    let text = expanded.text.clone();
                    words.found.push(expanded);
                    Ok(text)
                });
            }
        }
        _ => {}
    }
    words.found
}

struct Words<'a> {
    env: &'a dyn Env,
    expander: &'a Expander,
    found: Vec<Expanded>,
}

impl Words<'_> {
    fn word(&mut self, word: &Word) {
        self.text(word.as_str(), self.expander);
    }

    fn text(&mut self, text: &str, expander: &Expander) {
        // A word that cannot be expanded is the builder's to refuse; here it is empty.
        let expanded = expander.word(text, self.env).unwrap_or_default();
        self.found.push(expanded);
    }

    fn pairs(&mut self, pairs: &[KeyValue]) {
        for pair in pairs {
            self.word(&pair.key);
            self.word(&pair.value);
        }
    }

    fn files(&mut self, files: &FileArguments, checksum: Option<&Word>) {
        let flags = [files.chown.as_ref(), checksum, files.chmod.as_ref()];
        flags.into_iter().flatten().for_each(|word| self.word(word));
        files.excludes.iter().for_each(|word| self.word(word));
        for source in &files.sources {
            if let CopySource::Path(word) = source {
                self.word(word);
            }
        }
        self.word(&files.dest);
        for source in &files.sources {
            if let CopySource::Heredoc(heredoc) = source
                && heredoc.expand
            {
                self.text(&heredoc.content, &Expander::for_heredoc());
            }
        }
    }
}
