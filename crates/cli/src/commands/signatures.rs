//! `cairn registry sign` and `verify`: signatures of images by keys.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_build::image::trust::{Trust, TrustRule};
use cairn_diagnostic::Diagnostic;
use cairn_oci::{Digest, Reference};
use cairn_registry::signature::{Evidence, Form, PublicKey, SigningKey};
use cairn_registry::{RegistryClient, Watch};
use cairn_spec::Stack;
use cairn_store::Store;
use clap::{Args, ValueEnum};

use super::load::reference;
use super::registry::ask;
use crate::error::{CommandError, Kind};
use crate::progress::count;
use crate::session::Session;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out lab.key
  openssl pkey -in lab.key -pubout -out lab.pub
  cairn registry sign ghcr.io/lab/model:1 --key lab.key

The signature is kept as cosign 2, skopeo and podman look for it: under the tag `sha256-<hex>.sig`. With
`--form bundle` it is a sigstore bundle that refers to the image, as cosign 3 makes it, without a
certificate and without an entry in a transparency log.")]
pub struct SignArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The private key: PEM, on P-256 or Ed25519, without a password
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How the signature is kept beside the image
    #[arg(long, value_enum, default_value = "tag")]
    form: SignatureForm,
}

/// How signatures are kept beside images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SignatureForm {
    /// Under the tag `sha256-<hex>.sig`: cosign 2, skopeo, podman
    #[default]
    Tag,
    /// As a sigstore bundle: cosign 3
    Bundle,
}

impl From<SignatureForm> for Form {
    fn from(form: SignatureForm) -> Self {
        match form {
            SignatureForm::Tag => Self::Tag,
            SignatureForm::Bundle => Self::Bundle,
        }
    }
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn registry verify ghcr.io/lab/model:1 --key lab.pub
  cairn registry verify ghcr.io/lab/model@sha256:... --key lab.pub --key old.pub")]
pub struct VerifyArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// A public key, one of which must have signed the image: PEM, as `openssl pkey -pubout` and
    /// cosign write it (can be repeated)
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// Go by what the store has of its signatures; the image is named by its digest then
    #[arg(long)]
    offline: bool,
}

/// Signs what a name means now.
pub fn sign(args: &SignArgs, session: &Session) -> Result<(), CommandError> {
    let key = signing_key(&args.key)?;
    let store = session.open_store()?;
    ask(session, |client, watch| {
        sign_by(args, &key, &store, client, session, watch)
    })
}

fn sign_by(
    args: &SignArgs,
    key: &SigningKey,
    store: &Store,
    client: &RegistryClient,
    session: &Session,
    watch: Watch<'_>,
) -> Result<(), CommandError> {
    let image = reference(&args.image)?;
    let Some(subject) = client.look_up(&image, watch)? else {
        return Err(no_image(&image));
    };
    let is_new = client.sign(store, &image, &subject, (key, args.form.into()), watch)?;
    let name = key.public().name();
    session.printer.note(&match is_new {
        true => format!("signed by the key {name}"),
        false => format!("the key {name} has signed it before"),
    });
    let line = format!("{}@{}\n", image.name(), subject.digest);
    Ok(session.printer.data(&line)?)
}

/// Says whether one of the keys has signed what a name means now.
pub fn verify(args: &VerifyArgs, session: &Session) -> Result<(), CommandError> {
    let keys = args.key.iter().map(|path| public_key(path));
    let keys: Vec<PublicKey> = keys.collect::<Result<_, _>>()?;
    let store = session.open_store()?;
    ask(session, |client, watch| {
        verify_by(args, &keys, &store, client, session, watch)
    })
}

fn verify_by(
    args: &VerifyArgs,
    keys: &[PublicKey],
    store: &Store,
    client: &RegistryClient,
    session: &Session,
    watch: Watch<'_>,
) -> Result<(), CommandError> {
    let image = reference(&args.image)?;
    let (digest, evidence) = match (args.offline, image.digest()) {
        (true, None) => {
            let text = format!(
                "without a registry nobody knows what `{}` means",
                args.image
            );
            return Err(
                CommandError::usage(text).hint("name the image by its digest: NAME@sha256:...")
            );
        }
        (true, Some(digest)) => (digest.clone(), Evidence::kept(store, digest)?),
        (false, _) => {
            let Some(found) = client.look_up(&image, watch)? else {
                return Err(no_image(&image));
            };
            let evidence = client.signatures(store, &image, &found.digest, watch)?;
            (found.digest, evidence)
        }
    };
    let Some(signer) = evidence.signer(&digest, keys) else {
        return Err(unsigned(&image, &digest, keys, &evidence, args.offline));
    };
    if !args.offline {
        evidence.keep(store, &digest)?;
    }
    session
        .printer
        .note(&format!("signed by the key {}", signer.name()));
    Ok(session
        .printer
        .data(&format!("{}@{digest}\n", image.name()))?)
}

/// Says that none of the keys has signed an image, as far as it is known.
pub fn unsigned(
    image: &Reference,
    digest: &Digest,
    keys: &[PublicKey],
    evidence: &Evidence,
    is_offline: bool,
) -> CommandError {
    let names: Vec<String> = keys.iter().map(PublicKey::name).collect();
    let text = format!(
        "{}@{digest} is not signed by the key {}: {}",
        image.name(),
        names.join(" or "),
        match (evidence.len(), is_offline) {
            (0, true) => "the store knows no signature of it".to_owned(),
            (0, false) => "it has no signature".to_owned(),
            (number, _) => format!("it has {} by others", count(number, "signature")),
        }
    );
    CommandError::new(Kind::Work, text)
}

/// The rules of a stack in a folder, with their keys.
pub fn trust(folder: &Path, stack: &Stack) -> Result<Trust, CommandError> {
    let rules = stack.verify.iter().map(|rule| {
        let keys = rule.keys.iter().map(|path| {
            let key = read_public_key(&folder.join(&path.value));
            key.map_err(|told| {
                let told = stack.sources.point(Diagnostic::error(told), path.span);
                CommandError::from_findings(Kind::Usage, vec![told])
            })
        });
        let (concerned, keys) = (rule.clone(), keys.collect::<Result<_, _>>()?);
        Ok::<_, CommandError>(TrustRule {
            pattern: rule.images.value.clone(),
            concerns: Box::new(move |name| concerned.concerns(name)),
            keys,
        })
    });
    let rules = rules.collect::<Result<_, _>>()?;
    Ok(Trust { rules })
}

/// Reads a private key.
pub fn signing_key(path: &Path) -> Result<SigningKey, CommandError> {
    let key = text(path).and_then(|text| {
        SigningKey::parse(&text).map_err(|error| unusable(path, &error.to_string()))
    });
    key.map_err(CommandError::usage)
}

/// Reads a public key.
pub fn public_key(path: &Path) -> Result<PublicKey, CommandError> {
    read_public_key(path).map_err(CommandError::usage)
}

fn read_public_key(path: &Path) -> Result<PublicKey, String> {
    PublicKey::parse(&text(path)?).map_err(|error| unusable(path, &error.to_string()))
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, reason: &str) -> String {
    format!("the key {} cannot be used: {reason}", path.display())
}

fn no_image(image: &Reference) -> CommandError {
    let text = format!("the registry has no `{}`", image.familiar());
    CommandError::new(Kind::Usage, text)
}
