//! The arguments of `cairn build`, and what they ask for: images of a stack or one Dockerfile.

use std::net::IpAddr;
use std::path::PathBuf;

use cairn_build::image::annotated::Annotation;
use cairn_sandbox::Ulimit;
use cairn_stack::contexts::is_remote;
use clap::{ArgAction, Args, ValueEnum};

use super::attests::AttestArgs;
use super::borrowed::BorrowedArgs;
use super::call::Call;
use super::foreign::ForeignArgs;
use super::outputs::BuildOutput;
use super::secrets::Secret;
use crate::commands::annotations::annotation;
use crate::commands::devices::DeviceArgs;
use crate::commands::options::{
    BuildOptions, JsonOption, ProgressOption, StackOption, host_line, label, memory, pair, ulimit,
    variable,
};
use crate::commands::up::{RecordsOption, SinceOption};
use crate::error::CommandError;

/// Build images: of the stack, or of one Dockerfile
///
/// An argument with a slash, `.` or `..` is the context of a Dockerfile, as for `docker build`.
/// Bare words are images of the stack. Without arguments the whole stack is built.
#[derive(Debug, Clone, Args)]
#[command(mut_arg("overlay", |env| env.action(ArgAction::Append)))]
#[command(after_help = "\
Examples:
  cairn build                      all images of the stack here
  cairn build model:cloud          one image and what it builds on
  cairn build -t app .             the Dockerfile here, as image `app`
  cairn build -o type=oci,dest=app.tar ./app")]
pub struct BuildArgs {
    /// Images of the stack, or one context
    #[arg(value_name = "IMAGE|CONTEXT")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub stack: StackOption,
    #[command(flatten)]
    pub options: BuildOptions,
    #[command(flatten)]
    pub since: SinceOption,
    #[command(flatten)]
    pub records: RecordsOption,
    #[command(flatten)]
    pub lone: LoneArgs,
    #[command(flatten)]
    pub attests: AttestArgs,
    #[command(flatten)]
    pub borrowed: BorrowedArgs,
    #[command(flatten)]
    pub devices: DeviceArgs,
    #[command(flatten)]
    pub foreign: ForeignArgs,
    /// Print only the image's id
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub progress: ProgressOption,
    #[command(flatten)]
    pub json: JsonOption,
}

/// Flags for a lone Dockerfile.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options for a lone Dockerfile")]
pub struct LoneArgs {
    /// The Dockerfile, or `-` for standard input; several are read as one, one after the other
    /// [default: CONTEXT/Dockerfile]
    #[arg(long, short, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Name the image (can be repeated)
    #[arg(long, short, value_name = "NAME")]
    pub tag: Vec<String>,
    /// Build this stage [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Run every step of this stage, whatever the store holds (can be repeated)
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Set a build argument; without a value, from the environment (can be repeated)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub build_arg: Vec<(String, Option<String>)>,
    /// Set a label; without a value it is empty (can be repeated)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Set an annotation of the image's manifest, or of `index:`, `manifest-descriptor:`,
    /// `index-descriptor:`; for one platform with `manifest[linux/arm64]:` (can be repeated)
    #[arg(long, value_name = "[LEVEL:]NAME=VALUE", value_parser = AnnotationFlag::parse)]
    pub annotation: Vec<AnnotationFlag>,
    /// Give a name in FROM or COPY --from a meaning: a directory, an archive, a repository,
    /// `https://...`, `docker-image://NAME`, `oci-layout://DIR[:TAG][@DIGEST]`, or a stage of this
    /// file as `target:STAGE` (can be repeated)
    #[arg(long, value_name = "NAME=SOURCE", value_parser = pair)]
    pub build_context: Vec<(String, String)>,
    /// Give RUN --mount=type=secret a value: `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`
    /// (can be repeated)
    #[arg(long, value_name = "SECRET", value_parser = Secret::parse)]
    pub secret: Vec<Secret>,
    /// Give RUN --mount=type=ssh an agent: `default`, `ID=SOCKET` or `ID=KEY[,KEY]` (can be
    /// repeated)
    #[arg(long, value_name = "AGENT")]
    pub ssh: Vec<String>,
    /// Let steps reach the network
    #[arg(long, value_enum, default_value_t, alias = "net")]
    pub network: NetworkChoice,
    /// Add a line to the steps' /etc/hosts (can be repeated)
    #[arg(long, value_name = "HOST:IP", value_parser = host_line)]
    pub add_host: Vec<(String, IpAddr)>,
    /// Limit the steps' processes: `nofile=1024:2048`, -1 for no limit (can be repeated)
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    pub ulimit: Vec<Ulimit>,
    /// Most memory that a step may use
    #[arg(long, short, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// Run steps in cgroups below this one
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,
    /// Size of the steps' /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub shm_size: Option<u64>,
    /// Export the image: `type=oci|docker|tar|local,dest=PATH`, or name it:
    /// `type=image,name=NAME[,push=true]` (can be repeated)
    #[arg(long, short, value_name = "OUTPUT", value_parser = BuildOutput::parse)]
    pub output: Vec<BuildOutput>,
    /// Push the image to the registries of its names
    #[arg(long)]
    pub push: bool,
    /// Keep the image in the store, which is always done
    #[arg(long)]
    pub load: bool,
    /// Check the Dockerfile by BuildKit's rules, and build nothing
    #[arg(long)]
    pub check: bool,
    /// Ask the Dockerfile something else than to be built: `check`, `outline`, `targets` or
    /// `subrequests.describe`; with `,format=json` for scripts
    #[arg(long, alias = "print", value_name = "CALL", value_parser = Call::parse, conflicts_with = "check")]
    pub call: Option<Call>,
    /// Write the image's id to a file; `cairn run` and others take it for a name
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
}

/// What one `--annotation` asks for: the same at one level or several.
#[derive(Debug, Clone)]
pub struct AnnotationFlag(Vec<Annotation>);

impl AnnotationFlag {
    fn parse(text: &str) -> Result<Self, String> {
        annotation(text).map(Self)
    }
}

/// What steps can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NetworkChoice {
    /// The host's network
    #[default]
    #[value(aliases = ["host", "bridge", "private", "slirp4netns", "pasta"])]
    Default,
    /// Nothing but themselves
    None,
}

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One Dockerfile with this context.
    Context(String),
    /// These images of the stack; all if there are none.
    Images(Vec<String>),
}

impl BuildArgs {
    /// Decides what the arguments ask for.
    pub fn wanted(&self) -> Result<Wanted, CommandError> {
        let has_file = !self.lone.file.is_empty();
        let (contexts, images): (Vec<&String>, Vec<&String>) = match has_file {
            true => (self.targets.iter().collect(), Vec::new()),
            false => self.targets.iter().partition(|target| is_context(target)),
        };
        match (contexts.as_slice(), images.as_slice()) {
            ([context], []) => Ok(Wanted::Context((*context).clone())),
            ([], _) if has_file => Err(CommandError::usage(
                "`cairn build --file` requires 1 argument: the context, which is the directory that \
                 the Dockerfile copies from",
            )
            .hint("for the directory you are in, add `.`")),
            // With a flag of docker's, a directory's plain name is what it is for docker.
            ([], [directory]) if self.first_flag().is_some() && is_directory(directory) => {
                Ok(Wanted::Context((*directory).clone()))
            }
            ([], _) if self.stack.overlay.len() > 1 => Err(CommandError::usage(
                "a stack is built in one environment: `--env` can be said once",
            )),
            ([], images) => match self.first_flag() {
                None => Ok(Wanted::Images(images.iter().copied().cloned().collect())),
                Some(flag) => Err(not_for_a_stack(flag, images)),
            },
            ([_, second, ..], _) => Err(CommandError::usage(format!(
                "a Dockerfile has one context, `{second}` is a second one"
            ))),
            ([context], [image, ..]) => Err(CommandError::usage(format!(
                "`{context}` is a context and `{image}` an image of the stack: build one at a time"
            ))
            .hint(format!("if `{image}` is a directory, write `./{image}`"))),
        }
    }
}

impl BuildArgs {
    /// A flag for a lone Dockerfile that was given, if one was.
    fn first_flag(&self) -> Option<&'static str> {
        self.lone
            .first_flag()
            .or_else(|| self.attests.first_flag())
            .or_else(|| self.borrowed.first_flag())
            .or_else(|| self.devices.first_flag())
    }
}

fn is_directory(word: &str) -> bool {
    std::path::Path::new(word).is_dir()
}

fn not_for_a_stack(flag: &str, images: &[&String]) -> CommandError {
    let error = CommandError::usage(format!(
        "`{flag}` is for a lone Dockerfile, and no context was given"
    ));
    match images {
        [] => error.hint("name the context; for the directory you are in, add `.`"),
        [image, ..] => error.hint(format!(
            "if `{image}` is a directory, write `./{image}`; an image of the stack is described \
             in `cairn.toml`"
        )),
    }
}

impl LoneArgs {
    /// Every `--annotation`.
    pub fn annotations(&self) -> impl Iterator<Item = &Annotation> {
        self.annotation.iter().flat_map(|flag| &flag.0)
    }

    /// A flag that was given, if one was.
    fn first_flag(&self) -> Option<&'static str> {
        [
            (!self.file.is_empty(), "--file"),
            (!self.tag.is_empty(), "--tag"),
            (self.target.is_some(), "--target"),
            (!self.no_cache_filter.is_empty(), "--no-cache-filter"),
            (!self.build_arg.is_empty(), "--build-arg"),
            (!self.label.is_empty(), "--label"),
            (!self.annotation.is_empty(), "--annotation"),
            (!self.build_context.is_empty(), "--build-context"),
            (!self.output.is_empty(), "--output"),
            (self.push, "--push"),
            (self.load, "--load"),
            (self.check, "--check"),
            (self.call.is_some(), "--call"),
            (self.iidfile.is_some(), "--iidfile"),
            (self.metadata_file.is_some(), "--metadata-file"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

/// Whether a word means a context rather than an image.
fn is_context(word: &str) -> bool {
    matches!(word, "." | ".." | "-") || word.contains('/') || is_remote(word)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BuildArgs,
    }

    fn wanted(line: &str) -> Result<Wanted, String> {
        let words = std::iter::once("build").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).unwrap();
        line.args
            .wanted()
            .map_err(|error| [error.messages, error.hints].concat().join("; "))
    }

    fn images(names: &[&str]) -> Result<Wanted, String> {
        Ok(Wanted::Images(
            names.iter().map(|n| (*n).to_owned()).collect(),
        ))
    }

    fn context(path: &str) -> Result<Wanted, String> {
        Ok(Wanted::Context(path.to_owned()))
    }

    #[test]
    fn slashes_and_dots_make_contexts() {
        assert_eq!(wanted(""), images(&[]));
        assert_eq!(wanted("base model:cloud"), images(&["base", "model:cloud"]));
        assert_eq!(wanted("."), context("."));
        assert_eq!(wanted("-t x .."), context(".."));
        assert_eq!(wanted("images/base"), context("images/base"));
        assert_eq!(wanted("-"), context("-"));
        assert_eq!(wanted("git@host:app"), context("git@host:app"));
        assert_eq!(wanted("-f other base"), context("base"));
    }

    #[test]
    fn mixtures_are_explained() {
        let refused = |line: &str| wanted(line).unwrap_err();
        assert!(refused(". base").contains("./base"));
        assert!(refused("./a ./b").contains("second"));
        assert!(refused("-f Dockerfile").contains("add `.`"));
        assert!(refused("-t app").contains("`--tag` is for a lone Dockerfile"));
        assert!(refused("-t app base").contains("./base"));
        assert!(refused("--squash app").contains("`--squash` is for a lone Dockerfile"));
        assert!(refused("-f Dockerfile").contains("requires 1 argument"));
        assert_eq!(wanted("-f A -f B ."), context("."));
        assert!(refused("--env a --env b").contains("one environment"));
        assert_eq!(wanted("-t app src"), context("src"), "a directory of ours");
    }

    #[test]
    fn attestations_are_of_a_lone_dockerfile() {
        assert_eq!(
            wanted("--provenance=false --sbom 0 base"),
            images(&["base"])
        );
        assert_eq!(
            wanted("--provenance=true --provenance false ."),
            context(".")
        );
        assert_eq!(wanted("--attest=type=sbom ."), context("."));
        let told = wanted("--sbom=true base").unwrap_err();
        assert!(told.contains("`--sbom` is for a lone Dockerfile"), "{told}");
    }

    #[test]
    fn dockers_flags_are_taken() {
        let line = Line::try_parse_from([
            "build",
            "-f",
            "D",
            "-t",
            "a:1",
            "-t",
            "b",
            "--target",
            "t",
            "--build-arg",
            "A=1",
            "--build-arg",
            "B",
            "--label",
            "l=v",
            "--build-context",
            "x=docker-image://y",
            "--secret",
            "id=s,env=S",
            "--ssh",
            "default",
            "--network",
            "host",
            "--add-host",
            "h:1.2.3.4",
            "-o",
            "type=oci,dest=o",
            "--iidfile",
            "i",
            "--metadata-file",
            "m",
            "--no-cache",
            "--platform",
            "linux/arm64",
            "--progress",
            "plain",
            "-q",
            ".",
        ])
        .unwrap();
        let lone = line.args.lone;
        assert_eq!(lone.tag, ["a:1", "b"]);
        assert_eq!(lone.build_arg[1], ("B".into(), None));
        assert_eq!(lone.network, NetworkChoice::Default);
        assert!(line.args.options.no_cache && line.args.quiet);
    }
}
