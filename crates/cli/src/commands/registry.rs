//! `cairn registry`: what a repository of a registry has, and what of it goes.

use cairn_attest::statement::PREDICATE_ANNOTATION;
use cairn_oci::{Descriptor, Digest, Index, Manifest, Reference};
use cairn_registry::{RegistryClient, Watch};
use cairn_sandbox::{Cancel, interrupt};
use clap::{Args, Subcommand};

use super::load::reference;
use super::options::JsonOption;
use super::retention::{self, RegistryGcArgs};
use super::signatures::{self, SignArgs, VerifyArgs};
use crate::error::{CommandError, Kind};
use crate::means::fetch_options;
use crate::quantity;
use crate::registries;
use crate::sanitize;
use crate::session::Session;
use crate::style::Tone;
use crate::table::{Align, Cell, Table};

/// What BuildKit, and Cairn, mark the manifests of attestations with.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// List what registries have, and remove it
///
/// Asks the registry itself; the store is needed by `gc`, `sign` and `verify` only.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn registry tags ghcr.io/lab/model
  cairn registry referrers ghcr.io/lab/model:1
  cairn registry gc --dry-run
  cairn registry rm ghcr.io/lab/model:test-7")]
pub struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum RegistryCommand {
    /// List the tags of a repository
    Tags(TagsArgs),
    /// List what refers to an image: signatures, reports, what is attested of it
    Referrers(ReferrersArgs),
    /// Remove what was published and is needed by nothing, by the `[retention]` of the spec
    Gc(RegistryGcArgs),
    /// Sign an image with a private key
    Sign(SignArgs),
    /// Say whether one of some public keys has signed an image
    Verify(VerifyArgs),
    /// Remove a tag, or what a digest names with all its tags
    Rm(RmArgs),
}

#[derive(Debug, Clone, Args)]
struct TagsArgs {
    /// The repository
    #[arg(value_name = "NAME")]
    repository: String,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Clone, Args)]
struct ReferrersArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Only what is of this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Clone, Args)]
struct RmArgs {
    /// Names with a tag or a digest
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub fn run(args: &RegistryArgs, session: &Session) -> Result<(), CommandError> {
    match &args.command {
        RegistryCommand::Tags(args) => {
            ask(session, |client, watch| tags(args, client, session, watch))
        }
        RegistryCommand::Referrers(args) => ask(session, |client, watch| {
            referrers(args, client, session, watch)
        }),
        RegistryCommand::Gc(args) => retention::run(args, session),
        RegistryCommand::Sign(args) => signatures::sign(args, session),
        RegistryCommand::Verify(args) => signatures::verify(args, session),
        RegistryCommand::Rm(args) => ask(session, |client, watch| {
            remove(args, client, session, watch)
        }),
    }
}

/// Asks registries, until Ctrl-C. A store is opened before.
pub fn ask(
    session: &Session,
    work: impl FnOnce(&RegistryClient, Watch<'_>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let client = registries::client(&session.settings.environment, fetch_options(session))?;
    let cancel = Cancel::new();
    interrupt::cancel_on_signals(&cancel)?;
    let watch = Watch {
        is_stopped: &|| cancel.is_cancelled(),
        moved: &|_| {},
    };
    work(&client, watch)
}

fn tags(
    args: &TagsArgs,
    client: &RegistryClient,
    session: &Session,
    watch: Watch<'_>,
) -> Result<(), CommandError> {
    let repository = reference(&args.repository)?;
    let Some(tags) = client.tags_if_there(&repository, watch)? else {
        let text = format!("there is no repository {}", repository.name());
        return Err(CommandError::new(Kind::Work, text));
    };
    if args.json.json {
        return Ok(session.printer.json(&tags)?);
    }
    if tags.is_empty() {
        let text = format!("{} has no tags", repository.name());
        session.printer.note(&text);
    }
    let lines: String = tags
        .iter()
        .map(|tag| sanitize::name(tag).into_owned() + "\n")
        .collect();
    Ok(session.printer.data(&lines)?)
}

fn referrers(
    args: &ReferrersArgs,
    client: &RegistryClient,
    session: &Session,
    watch: Watch<'_>,
) -> Result<(), CommandError> {
    let image = reference(&args.image)?;
    let subject = match image.digest() {
        Some(digest) => digest.clone(),
        None => meant(client, &image, watch)?,
    };
    let mut found = client.referrers(&image, &subject, args.artifact_type.as_deref(), watch)?;
    if args.artifact_type.is_none() {
        found.extend(attested(client, &image, &subject, watch)?);
    }
    if args.json.json {
        return Ok(session.printer.json(&found)?);
    }
    if found.is_empty() {
        let text = format!("nothing refers to {}@{subject}", image.name());
        session.printer.note(&text);
        return Ok(());
    }
    Ok(session.printer.lines(&table(&found).lines())?)
}

/// What is attested of the images of an index: its statements, each with its kind. They lie in the index
/// itself, and a registry without the API for referrers names them nowhere else.
fn attested(
    client: &RegistryClient,
    image: &Reference,
    digest: &Digest,
    watch: Watch<'_>,
) -> Result<Vec<Descriptor>, CommandError> {
    let of = |digest: &Digest| client.document(&image.with_digest(digest.clone()), watch);
    let mut found = Vec::new();
    let root = match of(digest) {
        // What others refer to need not be there.
        Err(error) if error.is_missing() => return Ok(found),
        root => root?,
    };
    if !root.descriptor.media_type.is_index() {
        return Ok(found);
    }
    let Ok(index) = Index::from_json_bytes(&root.bytes) else {
        return Ok(found);
    };
    let beside = index.manifests.iter();
    for beside in beside.filter(|it| it.annotations.contains_key(REFERENCE_TYPE)) {
        let manifest = of(&beside.digest)?;
        let Ok(manifest) = Manifest::from_json_bytes(&manifest.bytes) else {
            continue;
        };
        found.extend(manifest.layers.into_iter().map(|mut statement| {
            statement.artifact_type = statement.annotations.get(PREDICATE_ANNOTATION).cloned();
            statement
        }));
    }
    Ok(found)
}

fn table(found: &[Descriptor]) -> Table {
    let mut table = Table::new(&[
        ("TYPE", Align::Left),
        ("SIZE", Align::Right),
        ("DIGEST", Align::Left),
    ]);
    for one in found {
        let kind = one.artifact_type.as_deref();
        let kind = kind.unwrap_or(one.media_type.as_str());
        table.row([
            Cell::new(Tone::Strong, sanitize::name(kind)),
            quantity::bytes(one.size).into(),
            one.digest.to_string().into(),
        ]);
    }
    table
}

fn remove(
    args: &RmArgs,
    client: &RegistryClient,
    session: &Session,
    watch: Watch<'_>,
) -> Result<(), CommandError> {
    let mut names = Vec::new();
    for text in &args.names {
        let last = text.rsplit('/').next().unwrap_or(text);
        if !last.contains([':', '@']) {
            let text = format!("`{text}` has neither tag nor digest: it is not clear what goes");
            return Err(CommandError::usage(text)
                .hint("`cairn registry tags NAME` lists the tags of a repository"));
        }
        names.push(reference(text)?);
    }
    // When one is not there, none goes.
    for name in &names {
        meant(client, name, watch)?;
    }
    for name in &names {
        let removed = match name.digest() {
            Some(digest) => client.remove_manifest(name, digest, watch),
            None => client.remove_tag(name, watch),
        };
        removed.map_err(|error| {
            let told = CommandError::from(error);
            match name.digest() {
                Some(_) => told,
                None => told.hint(
                    "some registries remove no tags, but what a digest names with all its tags",
                ),
            }
        })?;
        session.printer.data(&format!("{name}\n"))?;
    }
    Ok(())
}

/// The digest that a name means now.
fn meant(
    client: &RegistryClient,
    name: &Reference,
    watch: Watch<'_>,
) -> Result<Digest, CommandError> {
    match client.look_up(name, watch)? {
        Some(found) => Ok(found.digest),
        None => {
            let text = format!("the registry has no `{}`", name.familiar());
            Err(CommandError::new(Kind::Usage, text))
        }
    }
}
