//! `cairn build`: images of the stack, or of one Dockerfile.

mod agents;
mod args;
mod attests;
mod borrowed;
mod call;
mod foreign;
mod input;
mod lone;
mod metadata;
mod outputs;
mod refusals;
mod results;
mod secrets;
pub mod spelling;

pub use args::BuildArgs;
use args::Wanted;
pub use attests::AttestArgs;

use crate::error::CommandError;
use crate::session::Session;

pub fn run(args: &BuildArgs, session: &mut Session) -> Result<(), CommandError> {
    args.foreign.check()?;
    let wish = args.attests.wish()?;
    match args.wanted()? {
        Wanted::Context(_) if args.since.since.is_some() => Err(CommandError::usage(
            "`--since` is about the images of a stack",
        )),
        Wanted::Context(_) if args.records.records.is_some() => Err(CommandError::usage(
            "`--records` is about the images of a stack",
        )),
        Wanted::Context(context) => lone::build(args, &wish, &context, session),
        Wanted::Images(images) => super::up::build(args, &images, session),
    }
}
