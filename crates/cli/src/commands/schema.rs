//! `cairn schema`: the spec file's JSON Schema.

use clap::Args;

use crate::error::CommandError;
use crate::session::Session;

/// Print the JSON Schema of `cairn.toml`, for editors
#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {}

pub fn run(_: &SchemaArgs, session: &Session) -> Result<(), CommandError> {
    Ok(session.printer.json(&cairn_spec::schema())?)
}
