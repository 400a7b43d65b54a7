//! From typed instructions to stages, and the entry points of the parser.

use cairn_diagnostic::{Diagnostic, Source, Span};

use crate::ast::{Arg, Dockerfile, Instruction, InstructionKind, Stage};
use crate::instruction::{self, Typed};
use crate::tree;

/// Reads a Dockerfile.
pub fn parse(source: &Source) -> Result<Dockerfile, Vec<Diagnostic>> {
    let tree = tree::read(source)?;
    let mut file = Dockerfile {
        source: source.clone(),
        directives: tree.directives,
        global_args: Vec::new(),
        stages: Vec::new(),
        blank_continuations: tree.blank_continuations,
    };
    let mut errors = Vec::new();
    for node in &tree.nodes {
        if errors.len() >= tree::ERRORS_MAX {
            break;
        }
        match instruction::typed(source, node) {
            Ok(Typed::From(from)) => file.stages.push(Stage {
                index: file.stages.len(),
                span: from.span,
                from,
                instructions: Vec::new(),
            }),
            Ok(Typed::Step(step)) => {
                errors.extend(place(&mut file, step).err().map(|error| *error))
            }
            Err(error) => errors.push(in_words_of_buildkit(*error)),
        }
    }
    if errors.is_empty() && file.stages.is_empty() {
        let error = Diagnostic::error("dockerfile contains no stages to build")
            .at(source, Span::new(0, source.text.trim_end().len()))
            .hint("Start a stage with `FROM image`.");
        errors.push(error);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(file)
}

/// Reads what stands before the first mistake, for those who have something to say of it.
pub fn parse_leading(source: &Source) -> Option<Dockerfile> {
    let errors = parse(source).err()?;
    let first = errors.iter().filter_map(|error| error.label.as_ref());
    let start = first.map(|label| label.span.start).min()?;
    let line_start = source.text[..start].rfind('\n').map_or(0, |at| at + 1);
    let leading = Source::new(source.name.clone(), &source.text[..line_start]);
    let mut file = parse(&leading).ok()?;
    file.source = source.clone();
    Some(file)
}

/// An instruction that means nothing, in BuildKit's words.
fn in_words_of_buildkit(mut error: Diagnostic) -> Diagnostic {
    if let Some(place) = error.position() {
        let (line, message) = (place.line, &error.message);
        error.message = format!("dockerfile parse error on line {line}: {message}");
    }
    error
}

/// Reads an `ONBUILD` trigger as an image's config holds it.
pub fn parse_trigger(source: &Source) -> Result<Instruction, Vec<Diagnostic>> {
    let tree = tree::read(source)?;
    let [node] = tree.nodes.as_slice() else {
        return Err(vec![
            Diagnostic::error("onbuild trigger should be a single expression")
                .at(source, Span::new(0, source.text.len())),
        ]);
    };
    match instruction::typed(source, node).map_err(|error| vec![*error])? {
        Typed::Step(step) if !is_forbidden_trigger(&step.kind) => Ok(step),
        Typed::Step(Instruction { keyword, .. }) | Typed::From(Instruction { keyword, .. }) => {
            Err(vec![
                Diagnostic::error(format!(
                    "{} isn't allowed as an ONBUILD trigger",
                    keyword.value.to_uppercase()
                ))
                .at(source, keyword.span),
            ])
        }
    }
}

fn is_forbidden_trigger(kind: &InstructionKind) -> bool {
    matches!(
        kind,
        InstructionKind::OnBuild(_) | InstructionKind::Maintainer(_)
    )
}

/// Puts a step into the stage it belongs to; before the first stage only `ARG` may stand.
fn place(file: &mut Dockerfile, step: Instruction) -> Result<(), Box<Diagnostic>> {
    if let Some(stage) = file.stages.last_mut() {
        stage.span.end = step.span.end;
        stage.instructions.push(step);
        return Ok(());
    }
    if let InstructionKind::Arg(arg) = &step.kind {
        let arg: Arg = arg.clone();
        file.global_args.push(step.with_kind(arg));
        return Ok(());
    }
    let error = Diagnostic::error("no build stage in current context")
        .at(&file.source, step.span)
        .hint("Only `ARG` may stand before the first `FROM`.");
    Err(Box::new(error))
}

#[cfg(test)]
mod tests;
