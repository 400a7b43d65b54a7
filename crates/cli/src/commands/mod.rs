//! The commands: one file each, its arguments first, then `run`.

mod annotations;
pub mod build;
mod cache;
mod cache_retention;
mod completions;
pub mod devices;
mod doctor;
mod export;
mod gc;
pub mod generations;
pub mod images;
mod import;
mod init;
mod inspect;
mod lint;
mod load;
mod lock;
mod log;
mod man;
pub mod options;
mod output;
mod packing;
mod plan;
mod promote;
mod publish;
mod pull;
mod push;
mod registry;
mod retention;
mod rm;
mod rollback;
mod run;
mod schema;
mod serve;
mod show;
pub mod signatures;
mod tag;
mod tags;
mod test_list;
mod testify;
pub mod up;
mod why;
mod yank;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::error::CommandError;
use crate::session::Session;
use crate::settings::ColorChoice;

/// Build, test and run stacks of container images
#[derive(Debug, Parser)]
#[command(
    name = "cairn",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cairn {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command has.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// The store's directory [default: $CAIRN_HOME, or cairn in $XDG_DATA_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Import(import::ImportArgs),
    Up(up::UpArgs),
    Plan(plan::PlanArgs),
    Why(why::WhyArgs),
    Show(show::ShowArgs),
    Tags(tags::TagsArgs),
    Build(Box<build::BuildArgs>),
    Test(up::TestArgs),
    Publish(publish::PublishArgs),
    Promote(promote::PromoteArgs),
    Rollback(rollback::RollbackArgs),
    Log(log::LogArgs),
    Yank(yank::YankArgs),
    Serve(serve::ServeArgs),
    Run(run::RunArgs),
    Images(images::ImagesArgs),
    Tag(tag::TagArgs),
    #[command(visible_alias = "rmi")]
    Rm(rm::RmArgs),
    Inspect(inspect::InspectArgs),
    Pull(pull::PullArgs),
    Push(push::PushArgs),
    Registry(registry::RegistryArgs),
    Load(load::LoadArgs),
    Export(export::ExportArgs),
    Lint(lint::LintArgs),
    Lock(lock::LockArgs),
    Gc(gc::GcArgs),
    Cache(cache::CacheArgs),
    Doctor(doctor::DoctorArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Man(man::ManArgs),
}

impl Cairn {
    /// Carries the command out.
    pub fn run(&self, session: &mut Session) -> Result<(), CommandError> {
        match &self.command {
            Command::Init(args) => init::run(args, session),
            Command::Import(args) => import::run(args, session),
            Command::Up(args) => up::up(args, session),
            Command::Plan(args) => plan::run(args, session),
            Command::Why(args) => why::run(args, session),
            Command::Show(args) => show::run(args, session),
            Command::Tags(args) => tags::run(args, session),
            Command::Build(args) => build::run(args, session),
            Command::Test(args) => up::test(args, session),
            Command::Publish(args) => publish::run(args, session),
            Command::Promote(args) => promote::run(args, session),
            Command::Rollback(args) => rollback::run(args, session),
            Command::Log(args) => log::run(args, session),
            Command::Yank(args) => yank::run(args, session),
            Command::Serve(args) => serve::run(args, session),
            Command::Run(args) => run::run(args, session),
            Command::Images(args) => images::run(args, session),
            Command::Tag(args) => tag::run(args, session),
            Command::Rm(args) => rm::run(args, session),
            Command::Inspect(args) => inspect::run(args, session),
            Command::Pull(args) => pull::run(args, session),
            Command::Push(args) => push::run(args, session),
            Command::Registry(args) => registry::run(args, session),
            Command::Load(args) => load::run(args, session),
            Command::Export(args) => export::run(args, session),
            Command::Lint(args) => lint::run(args, session),
            Command::Lock(args) => lock::run(args, session),
            Command::Gc(args) => gc::run(args, session),
            Command::Cache(args) => cache::run(args, session),
            Command::Doctor(args) => doctor::run(args, session),
            Command::Schema(args) => schema::run(args, session),
            Command::Completions(args) => completions::run(args, session),
            Command::Man(args) => man::run(args, session),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cairn::command().debug_assert();
    }

    /// One grammar for all help: an imperative first line without a full stop.
    #[test]
    fn help_speaks_with_one_voice() {
        fn check(command: &clap::Command) {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            let name = command.get_name();
            assert!(!about.is_empty(), "`{name}` says nothing of itself");
            assert!(!about.ends_with('.'), "`{name}`: {about}");
            // What is hidden is taken for the habits of other programs.
            let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
            for argument in shown {
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let id = argument.get_id();
                assert!(!help.is_empty(), "`{name}`: `{id}` has no help");
                assert!(!help.ends_with('.'), "`{name}`: `{id}`: {help}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cairn::command());
    }
}
