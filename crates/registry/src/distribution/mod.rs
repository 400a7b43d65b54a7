//! The client's side of the OCI distribution spec: images between registries and the store.
//!
//! ```text
//! Reference --endpoints--> mirrors, then the registry itself     client
//! endpoint  --send------>  scheme, token, one repeat after 401    host, token, challenge
//! 401       --login----->  auth.json, config.json, helpers        credentials, credential_helper
//! answer    --document-->  manifest or index, verified            manifest
//! repository --tags----->  names, page by page                   tag_list
//! digest    --referrers->  what says something of it              referrers, list_page
//! blob      --stream---->  store and unpacker at once             blob, pull
//! store     --push------>  blobs, manifests by digest, then tags  upload, place, push
//! ```
//!
//! Nothing here reads the environment: where credentials, certificates and mirrors are is told by
//! [`RegistryOptions`].

mod blob;
mod certificates;
mod challenge;
mod client;
mod credential_helper;
mod credentials;
mod error;
mod host;
mod list_page;
mod manifest;
mod mirrors;
mod options;
mod pieces;
mod place;
mod places;
mod pull;
mod push;
mod referrers;
mod tag_list;
mod token;
mod upload;

pub use client::RegistryClient;
pub use credentials::CredentialSources;
pub use error::RegistryError;
pub(crate) use host::is_loopback;
pub use manifest::Document;
pub use options::{Mirror, RegistryOptions, Watch};
pub use places::Places;
pub use pull::{Described, Pulled};
pub use push::Pushed;
pub use upload::Sent;
