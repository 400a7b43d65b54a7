//! `SOURCE_DATE_EPOCH` that names a source of files in place of a time.
//!
//! | value | the time of |
//! | --- | --- |
//! | `context` | the main context |
//! | the name of a named context | that context |
//! | the name of a stage | the one file or repository that `ADD` puts on nothing there |
//!
//! A repository has the time of its commit, a file of the web what its server says, else that of
//! the newest file in the archive; a directory has none.

use std::collections::BTreeMap;

use cairn_build::graph::BuildArgs;
use cairn_diagnostic::{Diagnostic, Span};
use cairn_dockerfile::ast::{CopySource, Dockerfile, InstructionKind, Stage};

use crate::contexts::{Opener, is_remote};
use crate::single::SingleError;

/// The name of the argument.
const NAME: &str = "SOURCE_DATE_EPOCH";

/// Puts a time in the place of the name of a source, if the argument is one.
pub(crate) fn settle_epoch(
    args: &mut BuildArgs,
    dockerfile: &Dockerfile,
    context: Option<i64>,
    named: &BTreeMap<String, Option<i64>>,
    opener: &Opener<'_>,
) -> Result<(), SingleError> {
    let Some(value) = asked(args, dockerfile) else {
        return Ok(());
    };
    let time = if value == "context" {
        context
    } else if let Some(time) = named.get(&value) {
        *time
    } else if let Some(stage) = dockerfile.stage(&value).filter(|_| !is_number(&value)) {
        time_of_stage(stage, dockerfile, opener)?
    } else {
        return Ok(());
    };
    let time = time.map_or_else(String::new, |time| time.to_string());
    args.insert(NAME.to_owned(), time);
    Ok(())
}

/// What the argument is: a time, or the name of a source.
pub(crate) fn asked(args: &BuildArgs, dockerfile: &Dockerfile) -> Option<String> {
    args.get(NAME).cloned().or_else(|| default(dockerfile))
}

/// A stage has a number, too, but a number is a time here.
fn is_number(value: &str) -> bool {
    value.parse::<i64>().is_ok()
}

fn default(dockerfile: &Dockerfile) -> Option<String> {
    let mut declared = dockerfile.global_args.iter();
    let mut found = declared.find_map(|arg| {
        let mut declarations = arg.kind.declarations.iter();
        declarations.find(|declaration| declaration.name.as_str() == NAME)
    });
    let default = found.take()?.default.as_ref()?;
    Some(default.as_str().trim_matches(['"', '\'']).to_owned())
}

fn time_of_stage(
    stage: &Stage,
    dockerfile: &Dockerfile,
    opener: &Opener<'_>,
) -> Result<Option<i64>, SingleError> {
    let refused = |why: String, span: Span| {
        let text = format!("SOURCE_DATE_EPOCH stage does not meet source-only requirements: {why}");
        let finding = Diagnostic::error(text).at(&dockerfile.source, span).hint(
            "Give seconds since 1970-01-01, `context`, or a stage that is `FROM scratch` with one \
             `ADD` of an address.",
        );
        SingleError::Findings(vec![finding])
    };
    let base = &stage.from.kind.image;
    if base.as_str() != "scratch" {
        let why = format!("its base is {}", base.as_str());
        return Err(refused(why, base.span));
    }
    let mut source = None;
    for instruction in &stage.instructions {
        let InstructionKind::Add(add) = &instruction.kind else {
            let why = format!("unsupported {} instruction", instruction.kind.name());
            return Err(refused(why, instruction.span));
        };
        match (add.files.sources.as_slice(), source) {
            ([CopySource::Path(path)], None) if is_remote(path.as_str()) => source = Some(path),
            _ => {
                let why = "one ADD of one address is what it may have".to_owned();
                return Err(refused(why, instruction.span));
            }
        }
    }
    match source {
        Some(path) => Ok(opener.remote(path.as_str(), false)?.time),
        None => Err(refused("nothing is added".to_owned(), stage.from.span)),
    }
}
