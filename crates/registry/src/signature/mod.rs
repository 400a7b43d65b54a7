//! Signatures of images: made with a key, kept beside the image, checked against public keys.
//!
//! ```text
//! PEM file             --key------> a key pair, or a public key          key, pem
//! digest, repository   --payload--> the text that is signed              payload
//! payload, signature   --attach---> `sha256-<hex>.sig` beside the image  attach
//! registry, public key --verify---> what a registry has of a digest      attach, evidence
//! ```
//!
//! The form is the one that cosign describes and that skopeo and podman check by their policies: a
//! manifest under the tag `sha256-<hex>.sig`, each of whose layers is a payload with the signature
//! in its annotations. It refers to the image as well, so that registries with the referrers API
//! list it. The other form is a sigstore bundle (`bundle`), an artifact that refers to the image, as
//! cosign 3 makes it. Keys are on the curve P-256, or Ed25519; certificates and transparency logs are
//! not read.

mod attach;
mod attach_bundle;
mod bundle;
mod evidence;
mod key;
mod payload;
mod pem;

pub use attach::Form;
pub use evidence::Evidence;
pub use key::{KeyError, PublicKey, SigningKey};
