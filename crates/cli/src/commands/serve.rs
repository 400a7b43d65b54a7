//! `cairn serve`: the store as a registry on this machine.

use std::net::SocketAddr;

use cairn_build::image::shelf::StoreShelf;
use cairn_oci::Compression;
use cairn_registry::serve::{Server, Stock};
use cairn_sandbox::{Cancel, interrupt};
use clap::Args;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Offer the images of the store as a registry on this machine, until Ctrl-C
///
/// Prints the address. Docker, podman, skopeo, apptainer, Kubernetes and other stores of Cairn can
/// pull from it. Everybody on this machine can read what it offers, and `cairn gc` waits until it
/// ends. With `--allow-push`, everybody on this machine can also push to it, and delete what was
/// pushed; it is kept in the store, beside its images. Images of the store itself stay as they are.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cairn serve --registry
  cairn serve --registry --allow-push --address 127.0.0.1:5001
  podman pull --tls-verify=false 127.0.0.1:5000/app:latest")]
pub struct ServeArgs {
    /// Serve the images of the store
    #[arg(long, required = true)]
    registry: bool,
    /// Take what is pushed, and delete what was pushed where a client asks for it
    #[arg(long)]
    allow_push: bool,
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
    let store = match args.allow_push {
        true => session.open_store()?,
        false => session.open_existing_store()?,
    };
    let cancel = Cancel::new();
    interrupt::cancel_on_signals(&cancel)?;
    session.printer.data(&format!("{}\n", server.address()))?;
    let shelf = StoreShelf::new(store, args.compression);
    let stock = args.allow_push.then_some(&shelf as &dyn Stock);
    let is_stopped = || cancel.is_cancelled();
    server.run(&shelf, stock, &is_stopped, &|text| {
        session.printer.warning(text);
    });
    Ok(shelf.keep_pending()?)
}
