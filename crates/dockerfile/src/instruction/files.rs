//! `COPY` and `ADD`: flags, sources and destination.

use super::{Fault, InstructionError, arguments};
use crate::ast::{Add, Copy, CopySource, FileArguments, Word};
use crate::expand::{Expander, NoEnv};
use crate::flags::{FlagKind, FlagSpec, Flags};
use crate::heredoc;
use crate::tree::Node;

const COPY_FLAGS: FlagSpec = &[
    ("chmod", FlagKind::Text),
    ("chown", FlagKind::Text),
    ("exclude", FlagKind::List),
    ("from", FlagKind::Text),
    ("link", FlagKind::Bool),
    ("parents", FlagKind::Bool),
];

const ADD_FLAGS: FlagSpec = &[
    ("checksum", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("chown", FlagKind::Text),
    ("exclude", FlagKind::List),
    ("keep-git-dir", FlagKind::Bool),
    ("link", FlagKind::Bool),
    ("unpack", FlagKind::Bool),
];

pub(super) fn copy(node: &Node) -> Result<Copy, Fault> {
    let (sources, dest) = split(node, "COPY")?;
    let flags = Flags::check(&node.flags, COPY_FLAGS)?;
    let from = flags.text("from");
    if let Some(word) = from.as_ref().filter(|word| has_variable(word)) {
        return Err(InstructionError::VariableInFrom.at(word.span));
    }
    Ok(Copy {
        from,
        parents: flags.boolean("parents").unwrap_or(false),
        files: file_arguments(node, "COPY", sources, dest, &flags)?,
    })
}

pub(super) fn add(node: &Node) -> Result<Add, Fault> {
    let (sources, dest) = split(node, "ADD")?;
    let flags = Flags::check(&node.flags, ADD_FLAGS)?;
    Ok(Add {
        checksum: flags.text("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
        files: file_arguments(node, "ADD", sources, dest, &flags)?,
    })
}

/// Whether a word holds a variable, or something that tries to be one.
fn has_variable(word: &Word) -> bool {
    match Expander::new('\\').word(word.as_str(), &NoEnv) {
        Ok(expanded) => !expanded.unmatched.is_empty(),
        Err(_) => word.value.contains('$'),
    }
}

fn split<'a>(node: &'a Node, name: &'static str) -> Result<(&'a [Word], &'a Word), Fault> {
    match arguments(node) {
        [sources @ .., dest] if !sources.is_empty() => Ok((sources, dest)),
        _ => Err(InstructionError::NoDestination(name).at(node.span)),
    }
}

fn file_arguments(
    node: &Node,
    name: &'static str,
    sources: &[Word],
    dest: &Word,
    flags: &Flags,
) -> Result<FileArguments, Fault> {
    if heredoc::is_heredoc(dest.as_str()) {
        return Err(InstructionError::HeredocDestination(name).at(dest.span));
    }
    Ok(FileArguments {
        sources: sources.iter().map(|word| source(node, word)).collect(),
        dest: dest.clone(),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.boolean("link").unwrap_or(false),
        excludes: flags.list("exclude"),
    })
}

/// A word that opened a heredoc is that heredoc; of two with one name the last counts for both.
fn source(node: &Node, word: &Word) -> CopySource {
    let opened = match heredoc::parse_word(word.as_str()) {
        Ok(Some(opened)) => opened,
        _ => return CopySource::Path(word.clone()),
    };
    let body = node.heredocs.iter().rev();
    match body.clone().find(|heredoc| heredoc.name == opened.name) {
        Some(heredoc) => CopySource::Heredoc(heredoc.clone()),
        None => CopySource::Path(word.clone()),
    }
}
