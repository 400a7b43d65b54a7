//! `cairn pull`: images from registries into the store.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cairn_build::image::pull::pull;
use cairn_build::image::trust::{Trust, Untrusted};
use cairn_build::resolve::whole;
use cairn_oci::{Platform, Reference};
use cairn_registry::signature::PublicKey;
use cairn_registry::{RegistryClient, Watch};
use cairn_sandbox::{Cancel, interrupt};
use cairn_store::Store;
use clap::Args;

use super::load::reference;
use super::options::StackOption;
use super::signatures::{public_key, trust, unsigned};
use crate::error::{CommandError, Kind};
use crate::means::fetch_options;
use crate::progress::count;
use crate::registries;
use crate::session::Session;

/// Pull images from registries into the store
///
/// Prints each image's repository with the digest that its name means now. What the store has
/// already is not transferred again. In the directory of a stack, its `[verify]` is heeded.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn pull busybox                        docker.io/library/busybox:latest
  cairn pull ghcr.io/lab/base:1
  cairn pull quay.io/lab/base@sha256:...    exactly this one
  cairn pull ghcr.io/lab/base:1 --key lab.pub

Logins are those of `podman login` and `docker login`, with their credential helpers.
CAIRN_MIRRORS names other places to ask first, CAIRN_INSECURE_REGISTRIES registries without TLS.")]
pub struct PullArgs {
    /// The images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Take the image for this platform [default: this machine's, or the only one]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Take only what the owner of this public key has signed: PEM, as for `cairn registry verify`
    /// (can be repeated: one of them must have)
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    stack: StackOption,
}

pub fn run(args: &PullArgs, session: &Session) -> Result<(), CommandError> {
    let images = args
        .images
        .iter()
        .map(|image| reference(image))
        .collect::<Result<Vec<Reference>, _>>()?;
    let platform = session.platform(args.platform.as_deref())?;
    let keys = args.key.iter().map(|path| public_key(path));
    let keys: Vec<PublicKey> = keys.collect::<Result<_, _>>()?;
    let rules = rules(&args.stack, session, &platform)?;
    let client = registries::client(&session.settings.environment, fetch_options(session))?;
    let store = session.open_store()?;
    let cancel = Cancel::new();
    interrupt::cancel_on_signals(&cancel)?;
    for image in &images {
        let (began, moved) = (Instant::now(), AtomicU64::new(0));
        let watch = Watch {
            is_stopped: &|| cancel.is_cancelled(),
            moved: &|bytes| {
                moved.fetch_add(bytes, Ordering::Relaxed);
            },
        };
        session
            .printer
            .note(&format!("pulling {}", image.familiar()));
        let is_required = args.platform.is_some();
        let trusted = signed(&store, &client, image, &keys, watch)?;
        let trusted = ruled(&store, &client, &trusted, &rules, watch)?;
        let pulled = pull(&store, &client, &trusted, &platform, is_required, watch);
        if pulled.is_ok() {
            for text in client.mirror_troubles() {
                session.printer.warning(&text);
            }
        }
        let record = pulled?;
        // Nothing is synced: what a power cut takes is known to be missing, and pulled again.
        record.save(&store, &[image.to_string()])?;
        session.printer.note(&format!(
            "{} for {}, {:.1} MB in {:.1} s",
            count(record.layers.len(), "layer"),
            record.platform,
            moved.load(Ordering::Relaxed) as f64 / 1e6,
            began.elapsed().as_secs_f64()
        ));
        if let Some(digest) = record.pulled.as_ref().and_then(Reference::digest) {
            session
                .printer
                .data(&format!("{}@{digest}\n", image.name()))?;
        }
    }
    Ok(())
}

/// The rules of the stack that the command is run in, if it is run in one.
fn rules(
    stack: &StackOption,
    session: &Session,
    platform: &Platform,
) -> Result<Trust, CommandError> {
    if !stack.is_there() {
        return Ok(Trust::default());
    }
    let spec = stack.read(session, platform).map_err(|error| {
        let text =
            "it may say in `[verify]` whose signatures count; `--stack DIR` names another stack";
        CommandError::from(error).hint(text)
    })?;
    trust(&stack.stack, &spec)
}

/// As [`signed`], by the rules of a stack.
fn ruled(
    store: &Store,
    client: &RegistryClient,
    image: &Reference,
    rules: &Trust,
    watch: Watch<'_>,
) -> Result<Reference, CommandError> {
    if !rules.concerns(image) {
        return Ok(image.clone());
    }
    let digest = match image.digest() {
        Some(digest) => digest.clone(),
        None => client.document(image, watch)?.descriptor.digest,
    };
    match rules.check(store, Some(client), image, Some(&digest), watch) {
        Ok(()) => Ok(image.with_digest(digest)),
        Err(Untrusted::Unknown(error)) => Err(error.into()),
        Err(Untrusted::Store(error)) => Err(error.into()),
        Err(refused) => {
            let name = image.familiar();
            let text = format!("`{name}` is not pulled: {}", whole(&refused));
            Err(CommandError::new(Kind::Work, text).hint(refused.advice()))
        }
    }
}

/// What is to be pulled: the digest that one of the keys has signed, if it must be signed. Nothing
/// of an image that is not is downloaded.
fn signed(
    store: &Store,
    client: &RegistryClient,
    image: &Reference,
    keys: &[PublicKey],
    watch: Watch<'_>,
) -> Result<Reference, CommandError> {
    if keys.is_empty() {
        return Ok(image.clone());
    }
    let digest = match image.digest() {
        Some(digest) => digest.clone(),
        None => client.document(image, watch)?.descriptor.digest,
    };
    let evidence = client.signatures(store, image, &digest, watch)?;
    if evidence.signer(&digest, keys).is_none() {
        return Err(unsigned(image, &digest, keys, &evidence, false));
    }
    evidence.keep(store, &digest)?;
    Ok(image.with_digest(digest))
}
