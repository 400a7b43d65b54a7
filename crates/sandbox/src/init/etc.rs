//! The files of `/etc` that belong to the host or the run, not to the image.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::attach_found;
use super::pseudo::file;
use super::root::Target;
use super::scratch::Scratch;
use crate::error::{Failure, Step};
use crate::mount::clone_path;
use crate::sandbox::{Resolver, Sandbox};

const HOSTS: &str = "/etc/hosts";
const RESOLVER: &str = "/etc/resolv.conf";
const HOSTNAME: &str = "/etc/hostname";

pub(crate) fn targets(sandbox: &Sandbox) -> Vec<Target> {
    let mut targets = vec![file(HOSTS), file(RESOLVER)];
    if sandbox.hostname.is_some() {
        targets.push(file(HOSTNAME));
    }
    targets
}

/// Mounts them. They can be written, as in Docker's containers; what is written is gone
/// afterwards, as it is there.
pub(crate) fn mount_files(
    root: BorrowedFd<'_>,
    sandbox: &Sandbox,
    scratch: &mut Scratch,
) -> Result<(), Failure> {
    let name = sandbox.hostname.as_deref();
    let mut place = |path: &str, content: &str| {
        let source = scratch.file(content.as_bytes())?;
        let mount =
            clone_path(&source).map_err(|errno| Failure::new(Step::EtcFiles, path, errno))?;
        attach_found(root, &file(path), &mount, Step::EtcFiles)
    };
    place(HOSTS, &hosts(name, &sandbox.hosts))?;
    place(RESOLVER, &resolver(&sandbox.resolver))?;
    match name {
        Some(name) => place(HOSTNAME, &format!("{name}\n")),
        None => Ok(()),
    }
}

/// The text of `/etc/hosts`: what BuildKit writes.
fn hosts(name: Option<&str>, further: &[(String, IpAddr)]) -> String {
    let own = name.map(|name| format!(" {name}")).unwrap_or_default();
    let mut text =
        format!("127.0.0.1\tlocalhost{own}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in further {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// Without a file on the host the C library asks the local machine; so does an empty one.
fn resolver(resolver: &Resolver) -> String {
    match resolver {
        Resolver::Text(text) => text.clone(),
        Resolver::Host => std::fs::read_to_string(Path::new(RESOLVER)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_buildkit_writes() {
        let further = [("db".to_owned(), "10.0.0.7".parse().unwrap())];
        assert_eq!(
            hosts(Some("buildkitsandbox"), &further),
            "127.0.0.1\tlocalhost buildkitsandbox\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             10.0.0.7\tdb\n"
        );
        assert!(hosts(None, &[]).starts_with("127.0.0.1\tlocalhost\n"));
    }
}
