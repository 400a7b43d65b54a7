//! `cairn man`: the manual pages, made from the same text as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Cairn;
use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Write the manual pages into a directory
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The directory; it is made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(args: &ManArgs, _: &Session) -> Result<(), CommandError> {
    std::fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(Cairn::command(), &args.directory))
        .map_err(|error| {
            CommandError::from_error(Kind::Environment, &error)
                .while_doing(format!("cannot write to {}", args.directory.display()))
        })
}
