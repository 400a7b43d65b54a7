//! Dockerfiles: any text.
//!
//! - nothing panics, overflows or runs away;
//! - every place lies in the text and cuts no character; instructions do not overlap;
//! - a keyword stands where its place says, and so does a heredoc's body;
//! - a refusal has errors with places, and they can be shown;
//! - a tree that is printed with one instruction a line is read as the same tree, and what it
//!   means is the same: the same instructions, or refused both times. (Not so where what is left
//!   of an instruction ends with the escape character: in print it continues.)
#![no_main]

use cairn_diagnostic::Source;
use cairn_dockerfile::ast::{
    CommandLine, CopySource, FileArguments, Healthcheck, InstructionKind, Word,
};
use cairn_dockerfile::tree::{self, Arguments, Node, Tree};
use cairn_dockerfile::{Dockerfile, parse, parse_trigger};
use cairn_fuzz::{assert_inside, assert_shown};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(source) = cairn_fuzz::source("Dockerfile", data) else {
        return;
    };
    match tree::read(&source) {
        Ok(tree) => check_tree(&source, &tree),
        Err(errors) => assert_shown(&errors),
    }
    match parse(&source) {
        Ok(file) => check_file(&source, &file),
        Err(errors) => assert_shown(&errors),
    }
    if let Err(errors) = parse_trigger(&source) {
        assert_shown(&errors);
    }
});

fn check_tree(source: &Source, tree: &Tree) {
    let mut end = 0;
    for node in &tree.nodes {
        assert!(node.span.start >= end, "instructions overlap");
        end = node.span.end;
        check_node(source, node);
    }
    for span in &tree.blank_continuations {
        assert_inside(source, *span);
    }
    let escape = tree.directives.escape;
    let continues = |node: &Node| node.line.trim_end().ends_with(escape);
    if tree.nodes.iter().any(continues) {
        return;
    }
    let again = Source::new("printed", printed(tree));
    let same = tree::read(&again).unwrap_or_else(|errors| panic!("{:?}: {errors:?}", again.text));
    assert_eq!(shown(tree), shown(&same), "printed as {:?}", again.text);
    let kinds = |source| parse(source).map(|file| keywords(&file)).ok();
    assert_eq!(kinds(source), kinds(&again), "printed as {:?}", again.text);
}

fn check_node(source: &Source, node: &Node) {
    assert_inside(source, node.span);
    assert_inside(source, node.keyword.span);
    let written = &source.text[node.keyword.span.start..node.keyword.span.end];
    let first = node.keyword.value.chars().next();
    assert!(written.starts_with(|ch| Some(ch) == first), "{written:?}");
    let words = match &node.arguments {
        Arguments::Words(words) => words.iter().collect(),
        Arguments::Pairs(pairs) => pairs
            .iter()
            .flat_map(|pair| [&pair.key, &pair.value])
            .collect(),
        Arguments::Instruction(Some(inner)) => {
            check_node(source, inner);
            Vec::new()
        }
        Arguments::Instruction(None) | Arguments::Unknown => Vec::new(),
    };
    for word in words
        .into_iter()
        .chain(&node.flags)
        .chain(&node.comments)
        .chain([&node.rest])
    {
        assert_inside(source, word.span);
    }
    for heredoc in &node.heredocs {
        assert_inside(source, heredoc.span);
        assert_eq!(
            &source.text[heredoc.span.start..heredoc.span.end],
            heredoc.content
        );
    }
}

fn check_file(source: &Source, file: &Dockerfile) {
    assert!(!file.stages.is_empty(), "accepted without a stage");
    for argument in &file.global_args {
        assert_inside(source, argument.span);
    }
    for stage in &file.stages {
        assert_inside(source, stage.span);
        assert_inside(source, stage.from.kind.image.span);
        for instruction in &stage.instructions {
            assert_inside(source, instruction.span);
            for word in words_of(&instruction.kind) {
                assert_inside(source, word.span);
            }
        }
    }
}

fn words_of(kind: &InstructionKind) -> Vec<&Word> {
    match kind {
        InstructionKind::Run(run) => {
            let _ = run.script();
            command(&run.command)
        }
        InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => command(line),
        InstructionKind::Copy(copy) => files(&copy.files),
        InstructionKind::Add(add) => files(&add.files),
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => pairs
            .iter()
            .flat_map(|pair| [&pair.key, &pair.value])
            .collect(),
        InstructionKind::Arg(arg) => arg
            .declarations
            .iter()
            .flat_map(|one| std::iter::once(&one.name).chain(&one.default))
            .collect(),
        InstructionKind::User(word)
        | InstructionKind::Workdir(word)
        | InstructionKind::StopSignal(word)
        | InstructionKind::Maintainer(word) => vec![word],
        InstructionKind::Expose(words)
        | InstructionKind::Volume(words)
        | InstructionKind::Shell(words) => words.iter().collect(),
        InstructionKind::OnBuild(inner) => words_of(&inner.instruction.kind),
        InstructionKind::Healthcheck(Healthcheck::Command { command: line, .. }) => command(line),
        InstructionKind::Healthcheck(Healthcheck::None) => Vec::new(),
    }
}

fn command(line: &CommandLine) -> Vec<&Word> {
    match line {
        CommandLine::Shell(text) => vec![text],
        CommandLine::Exec(words) => words.iter().collect(),
    }
}

fn files(files: &FileArguments) -> Vec<&Word> {
    let paths = files.sources.iter().filter_map(|source| match source {
        CopySource::Path(word) => Some(word),
        CopySource::Heredoc(_) => None,
    });
    let flags = [&files.chown, &files.chmod];
    paths
        .chain([&files.dest])
        .chain(flags.into_iter().flatten())
        .chain(&files.excludes)
        .collect()
}

/// The tree with one instruction a line: continuations joined, comments gone.
fn printed(tree: &Tree) -> String {
    let mut text = format!("# escape={}\n", tree.directives.escape);
    for node in &tree.nodes {
        text.push_str(&node.line);
        text.push('\n');
        for heredoc in &node.heredocs {
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
            text.push('\n');
        }
    }
    text
}

/// What a tree says, without its places.
fn shown(tree: &Tree) -> (String, Vec<(String, bool, String)>) {
    let heredocs = tree.nodes.iter().flat_map(|node| &node.heredocs);
    let heredocs = heredocs.map(|one| (one.name.clone(), one.expand, one.text()));
    (tree.to_string(), heredocs.collect())
}

fn keywords(file: &Dockerfile) -> Vec<String> {
    file.keywords().map(|word| word.value.clone()).collect()
}
