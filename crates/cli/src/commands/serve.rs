//! `cairn serve`: the store as a registry on this machine.

use std::net::SocketAddr;

use cairn_build::image::shelf::StoreShelf;
use cairn_oci::Compression;
use cairn_registry::serve::Server;
use cairn_sandbox::{Cancel, interrupt};
use clap::Args;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Offer the images of the store as a registry on this machine, until Ctrl-C
///
/// Prints the address. Docker, podman, skopeo, apptainer, Kubernetes and other stores of Cairn can
/// pull from it; nothing can be pushed. Everybody on this machine can read what it offers, and
/// `cairn gc` waits until it ends.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn serve --registry
  podman pull --tls-verify=false 127.0.0.1:5000/app:latest")]
pub struct ServeArgs {
    /// Serve the images of the store, read-only
    #[arg(long, required = true)]
    registry: bool,
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:5000")]
    address: SocketAddr,
    /// Compress layers so that were made here: gzip, zstd or none
    #[arg(long, value_name = "FORM", default_value_t)]
    compression: Compression,
}

pub fn run(args: &ServeArgs, session: &Session) -> Result<(), CommandError> {
    let server = Server::bind(args.address).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::InvalidInput => Kind::Usage,
            _ => Kind::Environment,
        };
        CommandError::from_error(kind, &error)
            .while_doing(format!("cannot listen on {}", args.address))
    })?;
    let store = session.open_existing_store()?;
    let cancel = Cancel::new();
    interrupt::cancel_on_signals(&cancel)?;
    session.printer.data(&format!("{}\n", server.address()))?;
    let shelf = StoreShelf {
        store,
        compression: args.compression,
    };
    let is_stopped = || cancel.is_cancelled();
    server.run(&shelf, &is_stopped, &|text| session.printer.warning(text));
    Ok(())
}
